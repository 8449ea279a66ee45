//go:build amd64 && !noasm

package kernel

// asmBuilt says whether this build has assembly.
const asmBuilt = true
