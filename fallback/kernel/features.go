package kernel

import "golang.org/x/sys/cpu"

// hasAVX2 says whether the assembly for AVX2 with FMA runs here. Tests switch it
// off to compare with plain Go in one process.
var hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// avx2 says whether to use the assembly for AVX2.
func avx2() bool { return asmBuilt && hasAVX2 }

// Features names the processor features in use, for people to read.
func Features() []string {
	if avx2() {
		return []string{"avx2", "fma"}
	}
	return nil
}
