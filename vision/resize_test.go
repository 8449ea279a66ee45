package vision

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/internal/sweep"
)

// testPicture is picture() of testdata/vision/resample_reference.py.
func testPicture(seed uint64, w, h, kind int) *RGB {
	var px []byte
	if n := w * h * 3; kind != 2 {
		px = make([]byte, (n+7)/8*8)
	}
	for i := range len(px) / 8 {
		z := seed + uint64(i+1)*0x9E3779B97F4A7C15
		z = (z ^ z>>30) * 0xBF58476D1CE4E5B9
		z = (z ^ z>>27) * 0x94D049BB133111EB
		binary.LittleEndian.PutUint64(px[8*i:], z^z>>31)
	}
	m := NewRGB(w, h)
	for i := range w * h {
		to := m.Pix[4*i : 4*i+3]
		switch kind {
		case 0:
			copy(to, px[3*i:])
		case 1:
			for c, v := range px[3*i : 3*i+3] {
				to[c] = 255 * (v >> 7)
			}
		case 2:
			for c := range to {
				to[c] = byte(i%w*7 + i/w*3 + c*50)
			}
		}
	}
	return m
}

type resizeCase struct {
	f            Filter
	w, h, ow, oh int
	seed         uint64
	kind         int
	gap          int // Pillow's reducing_gap; 0 for none
}

// resizeCases draws sizes: most small, some extreme, some sides of 1 or equal.
func resizeCases(f Filter, n int) []resizeCase {
	rng := rand.New(rand.NewPCG(13, uint64(f)))
	side := func() int {
		switch rng.IntN(10) {
		case 0:
			return 1
		case 1:
			return 1 + rng.IntN(4)
		case 2:
			return 1 + rng.IntN(1500)
		}
		return 1 + rng.IntN(200)
	}
	cases := make([]resizeCase, n)
	for i := range cases {
		c := resizeCase{f: f, w: side(), h: side(), ow: side(), oh: side(), seed: rng.Uint64() >> 1, kind: rng.IntN(3)}
		if rng.IntN(12) == 0 {
			c.ow = c.w
		}
		if rng.IntN(12) == 0 {
			c.oh = c.h
		}
		if rng.IntN(20) == 0 {
			c.w, c.h = 5000+rng.IntN(3000), 1+rng.IntN(3)
		} else if rng.IntN(20) == 0 {
			c.h, c.w = 5000+rng.IntN(3000), 1+rng.IntN(3)
		}
		cases[i] = c
	}
	return cases
}

// TestResizeEqualsPillow compares 500 random sizes and pictures per filter with Pillow, bit for bit,
// and as many with a reducing gap, most of them made much smaller. One reference process does all,
// as starting one takes longer than its share of the work.
func TestResizeEqualsPillow(t *testing.T) {
	t.Parallel()
	each := sweep.Count(t, 60, 500)
	var groups [][]resizeCase
	for f := Nearest; f <= Hamming; f++ {
		groups = append(groups, resizeCases(f, each))
	}
	thumbnails := resizeCases(Bicubic, each)
	for i := range thumbnails {
		c := &thumbnails[i]
		c.gap = 2
		if i%4 > 0 {
			c.ow, c.oh = 1+c.ow%(1+c.w/3), 1+c.oh%(1+c.h/3)
		}
	}
	groups = append(groups, thumbnails)
	var in bytes.Buffer
	for _, c := range slices.Concat(groups...) {
		fmt.Fprintln(&in, int(c.f), c.w, c.h, c.ow, c.oh, c.seed, c.kind, c.gap)
	}
	out := pillow("resample_reference.py", in.Bytes()).Output(t)
	for _, cases := range groups {
		bad := 0
		for _, c := range cases {
			n := c.ow * c.oh * 3
			if len(out) < n {
				t.Fatalf("the reference stopped at %+v", c)
			}
			want := out[:n]
			out = out[n:]
			src := testPicture(c.seed, c.w, c.h, c.kind)
			got, err := Resize(src, c.ow, c.oh, c.f)
			if err != nil {
				t.Fatalf("%+v: %v", c, err)
			}
			if c.gap > 0 {
				shrinkInto(got, src)
			}
			if worst, n := difference(got, want); n > 0 && bad < 5 {
				bad++
				t.Errorf("%+v: %d samples differ, by up to %d", c, n, worst)
			}
		}
	}
}

// difference counts the samples of m that are not those of packed RGB bytes.
func difference(m *RGB, want []byte) (worst, n int) {
	for i := range len(want) / 3 {
		got, want := m.Pix[4*i:4*i+3], want[3*i:3*i+3]
		for c, v := range want {
			if d := int(got[c]) - int(v); d != 0 {
				n++
				worst = max(worst, d, -d)
			}
		}
	}
	return worst, n
}
