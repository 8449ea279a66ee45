package kernel

import "golang.org/x/sys/cpu"

// hasAVX2 says whether the assembly for AVX2 with FMA runs here. Tests switch it
// off to compare with plain Go in one process.
var hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA

// Features names the processor features in use, for people to read.
func Features() []string {
	if asmBuilt && hasAVX2 {
		return []string{"avx2", "fma"}
	}
	return nil
}
