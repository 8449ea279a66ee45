//go:build !linux

package serving

// forgetProgram has nothing to do where the system does not tell what is mapped.
func forgetProgram() {}
