//go:build amd64 && !noasm

package jpeg

import (
	"bytes"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// withoutAVX2 runs f on the reference kernels.
func withoutAVX2(f func()) {
	old := useAVX2
	useAVX2 = false
	defer func() { useAVX2 = old }()
	f()
}

func needAVX2(t testing.TB) {
	if !useAVX2 {
		t.Skip("this processor has no AVX2: there is nothing to compare")
	}
}

const guard = 0xa5

// guarded returns n bytes with a guard on both sides, and a check of it.
func guarded(t *testing.T, n int) (mid []uint8, check func()) {
	all := bytes.Repeat([]byte{guard}, n+128)
	return all[64 : 64+n : 64+n], func() {
		t.Helper()
		for i, v := range all {
			if (i < 64 || i >= 64+n) && v != guard {
				t.Fatalf("byte %d of %d was overwritten", i-64, n)
			}
		}
	}
}

func randomBytes(rng *rand.Rand, n int) []uint8 {
	b := make([]uint8, n)
	for i := range b {
		switch rng.IntN(4) {
		case 0:
			b[i] = 0
		case 1:
			b[i] = 255
		default:
			b[i] = uint8(rng.Uint32())
		}
	}
	return b
}

func TestInverseDCTKernel(t *testing.T) {
	needAVX2(t)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range 20000 {
		var coef block
		var quant quantTable
		for k := range 64 {
			quant[k] = int16(1 + rng.IntN(255))
			switch i % 4 {
			case 0: // as pictures have them
				if rng.IntN(k+1) < 3 {
					coef[k] = int16(rng.IntN(200) - 100)
				}
			case 1:
				coef[k] = int16(rng.IntN(2048) - 1024)
			case 2: // anything that a damaged file can hold
				coef[k], quant[k] = int16(rng.Uint32()), int16(rng.Uint32())
			case 3:
				if k == i/4%64 {
					coef[k] = int16(rng.Uint32())
				}
			}
		}
		stride := 8 + rng.IntN(20)
		n := 7*stride + 8
		got, check := guarded(t, n)
		want := slices.Clone(got)
		inverseDCT(got, stride, &coef, &quant)
		check()
		inverseDCTGeneric(want, stride, &coef, &quant)
		if !slices.Equal(got, want) {
			t.Fatalf("block %v, table %v:\n%v, want\n%v", coef, quant, got, want)
		}
		if i%4 == 3 && i/4%64 == 0 && quant[0] > 0 && quant[0] < 8 && coef[0] > -1024 && coef[0] < 1024 {
			flat(want, stride, coef[0]*quant[0])
			if !slices.Equal(got, want) {
				t.Fatalf("a block of mean %d is not flat", coef[0]*quant[0])
			}
		}
	}
}

// TestFlat compares the short cut for blocks of one value with the transform.
func TestFlat(t *testing.T) {
	quant := quantTable{1}
	for dc := -2048; dc < 2048; dc++ {
		got, want := make([]uint8, 64), make([]uint8, 64)
		flat(got, 8, int16(dc))
		inverseDCTGeneric(want, 8, &block{int16(dc)}, &quant)
		if !slices.Equal(got, want) {
			t.Fatalf("mean %d: %d, want %d", dc, got[0], want[0])
		}
	}
}

func TestRowKernels(t *testing.T) {
	needAVX2(t)
	rng := rand.New(rand.NewPCG(3, 4))
	for i := range 3000 {
		n := 1 + i%200
		offset := rng.IntN(16)
		a, b, c := randomBytes(rng, n+offset)[offset:], randomBytes(rng, n+offset)[offset:], randomBytes(rng, n+offset)[offset:]

		got, check := guarded(t, 4*n)
		want := make([]uint8, 4*n)
		yccRow(got, a, b, c)
		check()
		yccRowGeneric(want, a, b, c)
		if !slices.Equal(got, want) {
			t.Fatalf("yccRow of %d samples differs", n)
		}

		sum, sumWant := make([]uint16, n+2), make([]uint16, n+2)
		sum[0], sum[n+1], sumWant[0], sumWant[n+1] = 7, 9, 7, 9
		mix(sum[1:n+1], a, b)
		mixGeneric(sumWant[1:n+1], a, b)
		if !slices.Equal(sum, sumWant) {
			t.Fatalf("mix of %d samples differs", n)
		}

		got, check = guarded(t, 2*n)
		want = make([]uint8, 2*n)
		even, odd, shift := uint16(8), uint16(7), uint(4)
		if i%2 == 0 {
			even, odd, shift = 1, 2, 2
			for j := range sum {
				sum[j] >>= 2
			}
		}
		spread(got, sum, even, odd, shift)
		check()
		spreadGeneric(want, sum, even, odd, shift)
		if !slices.Equal(got, want) {
			t.Fatalf("spread of %d samples differs", n)
		}
	}
}

// FuzzDecode looks for panics, and compares both sets of kernels on every file that decodes.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("../../../testdata/vision/images/*.jpg")
	if err != nil || len(files) == 0 {
		f.Fatal("no seeds", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		h, err := ReadHeader(data)
		if err != nil || h.Width*h.Height > 1<<18 {
			return
		}
		p, err := Decode(data)
		if err != nil {
			return
		}
		withoutAVX2(func() {
			want, err := Decode(data)
			if err != nil || !bytes.Equal(p.Pix, want.Pix) {
				t.Errorf("the kernels differ (%v)", err)
			}
		})
	})
}
