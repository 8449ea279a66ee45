//go:build !slow

package sweep

// Whole says that sweeps are run whole.
const Whole = false
