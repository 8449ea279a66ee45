//go:build amd64 && !noasm && simulate

package kernel

import "testing"

// TestSimulated makes sure that with the tag the other tests do run the assembly for AVX-512, and
// that the check at first use finds what is wrong.
func TestSimulated(t *testing.T) {
	if !hasAVX2 {
		t.Fatal("the simulation covers AVX-512 only: it needs a processor with AVX2")
	}
	if !avx512() {
		t.Fatal("the assembly for AVX-512 disagrees with plain Go")
	}
	for _, name := range []string{"gemm12x32", "gemmHalf7x32", "gemm1x32", "fromHalfAVX512", "expAVX512", "erfAVX512", "dotsAVX512", "q4Dots32AVX512", "q2Dots16AVX512", "q8Dots32AVX512", "tableDots16AVX512", "q4PanelAVX512"} {
		right := functions[name]
		functions[name] = &function{steps: right.steps[len(right.steps)-1:]} // its RET alone
		if avx512Agrees() {
			t.Errorf("%s does nothing, and the check agrees", name)
		}
		functions[name] = right
	}
	if !dotsAMX() || !dotsVNNI() {
		t.Fatal("the assembly for VNNI or AMX disagrees with plain Go")
	}
	for name, agrees := range map[string]func() bool{
		"dotTile1x32AVX512": dots512Agree, "dotTile12x32AVX512": dots512Agree,
		"packDotsAVX512": dots512Agree, "dotTile1x16AVXVNNI": dotsVNNIAgree,
		"dotTile32x32AMX": dotsAMXAgree, "dotTile6x16AVXVNNI": dotsVNNIAgree, "packDotsAVXVNNI": dotsVNNIAgree,
	} {
		right := functions[name]
		functions[name] = &function{steps: right.steps[len(right.steps)-1:]}
		if agrees() {
			t.Errorf("%s does nothing, and the check agrees", name)
		}
		functions[name] = right
	}
	if !dotsBF16() || !tilesBF16() {
		t.Fatal("the assembly for bfloat16 disagrees with plain Go")
	}
	for name, agrees := range map[string]func() bool{
		"gemmPairs1x32": pairsAgree, "gemmPairs12x32": pairsAgree, "gemmDots1x32": dotsBF16Agree,
		"gemmDots7x32": dotsBF16Agree, "sumTilesAMX": tilesBF16Agree, "finishTilesAVX512": tilesBF16Agree,
	} {
		right := functions[name]
		functions[name] = &function{steps: right.steps[len(right.steps)-1:]}
		if agrees() {
			t.Errorf("%s does nothing, and the check agrees", name)
		}
		functions[name] = right
	}
	if !bytesQ4() {
		t.Fatal("the assembly for VNNI disagrees with plain Go")
	}
	for _, name := range []string{"q4BytesAVX512", "q4Tile1AVX512", "q4Tile5AVX512", "q4Tile6AVX512"} {
		right := functions[name]
		functions[name] = &function{steps: right.steps[len(right.steps)-1:]}
		if q4BytesAgree() {
			t.Errorf("%s does nothing, and the check agrees", name)
		}
		functions[name] = right
	}
}
