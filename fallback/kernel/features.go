package kernel

import (
	"fmt"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/cpu"
)

// Which assembly runs here. Tests switch it off to compare with plain Go in one process; users who
// measure do so with XPIPE_KERNELS.
var (
	hasAVX2 = cpu.X86.HasAVX2 && cpu.X86.HasFMA
	// cpu also asks the system whether it saves the wide registers.
	hasAVX512 = hasAVX2 && (simulated || cpu.X86.HasAVX512F && cpu.X86.HasAVX512DQ &&
		cpu.X86.HasAVX512BW && cpu.X86.HasAVX512VL && cpu.X86.HasBMI2)
	hasVNNI = simulated || cpu.X86.HasAVX512VNNI
)

// Instructions is the environment variable that bounds the instructions in use: avx512, avx2, or go
// for no assembly.
const Instructions = "XPIPE_KERNELS"

var badLimit = limit(os.Getenv(Instructions))

func limit(most string) error {
	switch most {
	case "", "avx512":
	case "avx2":
		hasAVX512 = false
	case "go":
		hasAVX2, hasAVX512 = false, false
	default:
		return fmt.Errorf("%s is %q: it may be avx512, avx2 or go", Instructions, most)
	}
	return nil
}

// Check returns an error if the environment asks for instructions that do not exist.
func Check() error { return badLimit }

// avx2 says whether to use the assembly for AVX2.
func avx2() bool { return asmBuilt && hasAVX2 }

// avx512 says whether to use the assembly for AVX-512, after it was tried once.
func avx512() bool {
	return asmBuilt && hasAVX512 && (avx512State.Load() == stateRight || avx512Tried())
}

// avx512VNNI says whether to use that of AVX-512 VNNI, sums of four products of bytes.
func avx512VNNI() bool { return hasVNNI && avx512() && vnniAgrees() }

var vnniAgrees = sync.OnceValue(q4BytesAgree)

var (
	avx512Once  sync.Once
	avx512State atomic.Int32
)

const (
	stateRight = 1 + iota
	stateWrong
)

// avx512Tried compares the assembly for AVX-512 with plain Go, once in a process. Not everyone who
// changes it has a processor that runs it.
func avx512Tried() bool {
	avx512Once.Do(func() {
		if avx512Agrees() {
			avx512State.Store(stateRight)
		} else {
			avx512State.Store(stateWrong)
		}
	})
	return avx512State.Load() == stateRight
}

// Features names the processor features in use, for people to read.
func Features() []string {
	switch {
	case !avx2():
		return nil
	case avx512():
		return []string{"avx2", "fma", "avx512"}
	case hasAVX512:
		return []string{"avx2", "fma", "not avx512, whose results are wrong on this processor"}
	}
	return []string{"avx2", "fma"}
}
