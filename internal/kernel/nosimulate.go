//go:build !amd64 || noasm || !simulate

package kernel

// simulated says whether the assembly for AVX-512 is interpreted, as in builds with the tag
// simulate: see simulate.go.
const simulated = false
