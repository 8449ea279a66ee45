//go:build !slow

package server

// slow has tests run whole.
const slow = false
