//go:build amd64 && !noasm

package resample

import (
	"bytes"
	"image"
	"math/rand/v2"
	"testing"
)

// picture returns w by h pixels of noise whose rows lie slack bytes apart from each other; the
// slack is filled with 0xa5.
func picture(rng *rand.Rand, w, h, slack int) Pixels {
	stride := 4*w + slack
	p := Pixels{bytes.Repeat([]byte{0xa5}, stride*h), stride, w, h}
	for y := range h {
		for i, row := 0, p.row(y); i < len(row); i++ {
			row[i] = uint8(rng.Uint32())
			if i%4 == 3 {
				row[i] = 255
			}
		}
	}
	return p
}

func compare(t *testing.T, rng *rand.Rand, f Filter, sw, sh, w, h, slack int, win image.Rectangle) {
	t.Helper()
	src := picture(rng, sw, sh, slack)
	got := picture(rng, win.Dx(), win.Dy(), slack)
	want := Pixels{bytes.Clone(got.Pix), got.Stride, got.Width, got.Height}
	Resize(got, src, w, h, f, win)
	old := useAVX2
	useAVX2 = false
	Resize(want, src, w, h, f, win)
	useAVX2 = old
	if !bytes.Equal(got.Pix, want.Pix) {
		t.Fatalf("filter %d, %dx%d to %dx%d, window %v, slack %d: the kernels differ",
			f, sw, sh, w, h, win, slack)
	}
}

// TestKernels compares the vector passes with the reference on random shapes: tails, single rows,
// windows, rows that do not touch.
func TestKernels(t *testing.T) {
	if !useAVX2 {
		t.Skip("this processor has no AVX2: there is nothing to compare")
	}
	rng := rand.New(rand.NewPCG(5, 6))
	side := func() int {
		if rng.IntN(5) == 0 {
			return 1 + rng.IntN(6)
		}
		return 1 + rng.IntN(150)
	}
	for range 4000 {
		w, h := side(), side()
		x, y := rng.IntN(w), rng.IntN(h)
		win := image.Rect(x, y, x+1+rng.IntN(w-x), y+1+rng.IntN(h-y))
		if rng.IntN(2) == 0 {
			win = image.Rect(0, 0, w, h)
		}
		compare(t, rng, Filter(rng.IntN(6)), side(), side(), w, h, 4*rng.IntN(3), win)
	}
}

// TestWindow compares windows with the part of the whole result.
func TestWindow(t *testing.T) {
	rng := rand.New(rand.NewPCG(7, 8))
	for range 500 {
		sw, sh, w, h := 1+rng.IntN(80), 1+rng.IntN(80), 1+rng.IntN(80), 1+rng.IntN(80)
		f := Filter(rng.IntN(6))
		src := picture(rng, sw, sh, 0)
		all := picture(rng, w, h, 0)
		Resize(all, src, w, h, f, image.Rect(0, 0, w, h))
		x, y := rng.IntN(w), rng.IntN(h)
		win := image.Rect(x, y, x+1+rng.IntN(w-x), y+1+rng.IntN(h-y))
		part := picture(rng, win.Dx(), win.Dy(), 0)
		Resize(part, src, w, h, f, win)
		for i := range part.Height {
			if !bytes.Equal(part.row(i), all.row(win.Min.Y + i)[4*win.Min.X:4*win.Max.X]) {
				t.Fatalf("filter %d, %dx%d to %dx%d: row %d of window %v differs",
					f, sw, sh, w, h, i, win)
			}
		}
	}
}

func FuzzResize(f *testing.F) {
	f.Add(uint64(1), uint16(30), uint16(20), uint16(7), uint16(90), uint8(3))
	f.Fuzz(func(t *testing.T, seed uint64, sw, sh, w, h uint16, filter uint8) {
		a, b, c, d := 1+int(sw%400), 1+int(sh%400), 1+int(w%400), 1+int(h%400)
		rng := rand.New(rand.NewPCG(seed, 1))
		x, y := rng.IntN(c), rng.IntN(d)
		compare(t, rng, Filter(filter%6), a, b, c, d, 0, image.Rect(x, y, x+1+rng.IntN(c-x), y+1+rng.IntN(d-y)))
	})
}
