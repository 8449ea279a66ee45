//go:build !amd64 || noasm

package kernel

// asmBuilt says whether this build has assembly. Here it has none: the functions of the files
// *_noasm.go, which _gen writes beside the assembly, are never called.
const asmBuilt = false

const noAssembly = "kernel: no assembly in this build"

// instead stands for the function of that name of the assembly for AVX-512.
func instead(string, ...any) float32 { panic(noAssembly) }
