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
	hasVNNI    = hasAVX512 && (simulated || cpu.X86.HasAVX512VNNI)
	hasAMX     = hasVNNI && (simulated || cpu.X86.HasAMXTile && cpu.X86.HasAMXInt8)
	hasBF16    = hasVNNI && (simulated || cpu.X86.HasAVX512BF16)
	hasAMXBF16 = hasBF16 && (simulated || cpu.X86.HasAMXTile && cpu.X86.HasAMXBF16)
	hasAVXVNNI = hasAVX2 && (simulated || cpu.X86.HasAVXVNNI)
)

// Instructions is the environment variable that bounds the instructions in use. Each of its values
// takes in those after it: amx, bf16 (AVX512-BF16), vnni (AVX-512 VNNI), avx512, avxvnni (256 bits
// wide), avx2, and go for no assembly.
const Instructions = "XPIPE_KERNELS"

var badLimit = limit(os.Getenv(Instructions))

func limit(most string) error {
	switch most {
	case "", "amx":
		return nil
	case "go":
		hasAVX2, hasAVXVNNI, hasAVX512, hasVNNI = false, false, false, false
	case "avx2":
		hasAVXVNNI, hasAVX512, hasVNNI = false, false, false
	case "avxvnni":
		hasAVX512, hasVNNI = false, false
	case "avx512":
		hasVNNI = false
	case "vnni":
	case "bf16":
		hasAMX, hasAMXBF16 = false, false
		return nil
	default:
		return fmt.Errorf("%s is %q: it may be amx, bf16, vnni, avx512, avxvnni, avx2 or go",
			Instructions, most)
	}
	hasAMX, hasAMXBF16, hasBF16 = false, false, false
	return nil
}

// Check returns an error if the environment asks for instructions that do not exist.
func Check() error { return badLimit }

// avx2 says whether to use the assembly for AVX2.
func avx2() bool { return asmBuilt && hasAVX2 }

// avx512, and those below, say whether to use some assembly, after it was tried once.
func avx512() bool { return asmBuilt && hasAVX2 && hasAVX512 && trial512.right(avx512Agrees) }

// dots512 says whether to use AVX-512 VNNI.
func dots512() bool { return asmBuilt && hasAVX2 && hasVNNI && trialVNNI.right(dots512Agree) }

// dotsAMX says whether to use the tiles of AMX, if the system allows it.
func dotsAMX() bool {
	return dots512() && hasAMX && allowTiles() && trialAMX.right(dotsAMXAgree)
}

// dotsBF16 says whether to use AVX512-BF16.
func dotsBF16() bool { return avx512() && hasBF16 && trialBF16.right(dotsBF16Agree) }

// tilesBF16 says whether products of bfloat16 use the tiles of AMX, if the system allows it.
func tilesBF16() bool {
	return dotsBF16() && hasAMXBF16 && allowTiles() && trialAMXBF16.right(tilesBF16Agree)
}

// dotsVNNI says whether to use AVX-VNNI, 256 bits wide.
func dotsVNNI() bool { return asmBuilt && hasAVX2 && hasAVXVNNI && trialAVXVNNI.right(dotsVNNIAgree) }

// bytesQ4 says whether products with 4-bit weights use AVX-512 VNNI.
func bytesQ4() bool { return asmBuilt && hasAVX2 && hasVNNI && trialQ4.right(q4BytesAgree) }

// hasDots says whether products of bytes use one of them.
func hasDots() bool { return dots512() || dotsVNNI() }

var trial512, trialVNNI, trialAMX, trialBF16, trialAMXBF16, trialAVXVNNI, trialQ4 trial

// trial is the comparison of some assembly with plain Go, once in a process. Not everyone who
// changes it has a processor that runs it.
type trial struct {
	once  sync.Once
	state atomic.Int32
}

const (
	stateRight = 1 + iota
	stateWrong
)

func (t *trial) right(agrees func() bool) bool {
	return t.state.Load() == stateRight || t.try(agrees)
}

func (t *trial) try(agrees func() bool) bool {
	t.once.Do(func() {
		if agrees() {
			t.state.Store(stateRight)
		} else {
			t.state.Store(stateWrong)
		}
	})
	return t.state.Load() == stateRight
}

// Narrow says in a few words how products of bfloat16 and of 8 bits are computed here.
func Narrow() (bf16, int8 string) {
	switch {
	case tilesBF16():
		bf16 = "on AMX"
	case dotsBF16():
		bf16 = "on AVX512-BF16"
	default:
		bf16 = "widened to float32 as it is read"
	}
	switch {
	case dotsAMX():
		int8 = "on AMX"
	case dots512():
		int8 = "on AVX-512 VNNI"
	case dotsVNNI():
		int8 = "on AVX-VNNI"
	default:
		int8 = "widened to 16 bits"
	}
	return bf16, int8
}

// Features names the processor features in use, for people to read.
func Features() []string {
	if !avx2() {
		return nil
	}
	names := []string{"avx2", "fma"}
	for _, f := range []struct {
		name      string
		has, used bool
	}{
		{"avx512", hasAVX512, avx512()}, {"avx512vnni", hasVNNI, dots512()},
		{"amx", hasAMX && allowTiles(), dotsAMX()},
		{"avx512bf16", hasBF16, dotsBF16()},
		{"amxbf16", hasAMXBF16 && allowTiles(), tilesBF16()},
		{"avxvnni", hasAVXVNNI, dotsVNNI()},
	} {
		switch {
		case f.used:
			names = append(names, f.name)
		case f.has:
			names = append(names, "not "+f.name+", whose results are wrong on this processor")
		}
	}
	return names
}

// ChannelBlock returns how many channels ONNX Runtime lays side by side on this processor
// (MlasNchwcGetBlockSize).
func ChannelBlock() int {
	if cpu.X86.HasAVX512F || cpu.ARM64.HasASIMD {
		return 16
	}
	return 8
}
