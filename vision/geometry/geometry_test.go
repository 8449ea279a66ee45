package geometry

import (
	"bytes"
	"compress/zlib"
	"encoding/base64"
	"encoding/json"
	"io"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/vision"
)

// rectangle is what OpenCV says of one: its corners in any order, and its shorter side.
type rectangle struct {
	corners [4][2]float64
	shorter float64
}

func (r *rectangle) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&r.corners, &r.shorter})
}

// packed are bytes in base64 and zlib.
type packed []byte

func (p *packed) UnmarshalJSON(data []byte) error {
	var text string
	if err := json.Unmarshal(data, &text); err != nil {
		return err
	}
	r, err := zlib.NewReader(base64.NewDecoder(base64.StdEncoding, bytes.NewReader([]byte(text))))
	if err == nil {
		*p, err = io.ReadAll(r)
	}
	return err
}

// shape is a quadrilateral: what it covers of a map, and what grows of it.
type shape struct {
	Quad                     [4][2]float64
	Covered                  packed
	Left, Top, Columns, Rows int
	Distance                 float64
	Grown                    []int
	Rect                     rectangle
}

// reference is testdata/ocr/geometry.json, which geometry.py there wrote.
type reference struct {
	Contours []struct {
		W, H     int
		Mask     packed
		Contours [][]int
		Rects    []rectangle
	}
	Quads    []shape
	Pictures []struct {
		W, H    int
		Pixels  packed
		Size    [2]int
		Resized packed
	}
	Crops []struct {
		W, H   int
		Pixels packed
		Quad   [4][2]float64
		Size   [2]int
		Crop   packed
	}
}

// leaves says whether a quad reaches over the edge of a map.
func (c *shape) leaves(w, h float64) bool {
	return slices.ContainsFunc(c.Quad[:], func(p [2]float64) bool {
		return p[0] < 0 || p[1] < 0 || p[0] >= w || p[1] >= h
	})
}

func load(t *testing.T) *reference {
	t.Helper()
	data, err := os.ReadFile("../../testdata/ocr/geometry.json")
	if err != nil {
		t.Fatal(err)
	}
	var r reference
	if err := json.Unmarshal(data, &r); err != nil {
		t.Fatal(err)
	}
	return &r
}

func quadOf(c [4][2]float64) Quad {
	var q Quad
	for i, p := range c {
		q[i] = Point{p[0], p[1]}
	}
	return q
}

func flat(pixels []Pixel) []int {
	var out []int
	for _, p := range pixels {
		out = append(out, p.X, p.Y)
	}
	return out
}

// same compares a rectangle with OpenCV's, whose corners are in an order of their own.
func (r rectangle) same(got Rect, within float64) bool {
	for _, v := range got.corners {
		if !slices.ContainsFunc(r.corners[:], func(c [2]float64) bool {
			return math.Abs(float64(v.x)-c[0]) <= within && math.Abs(float64(v.y)-c[1]) <= within
		}) {
			return false
		}
	}
	return math.Abs(got.Shorter()-r.shorter) <= within
}

func TestContoursEqualOpenCV(t *testing.T) {
	t.Parallel()
	rects := 0
	for i, c := range load(t).Contours {
		found := Contours(c.Mask, c.W, 1000)
		if len(found) != len(c.Contours) {
			t.Errorf("mask %d: %d contours, OpenCV finds %d", i, len(found), len(c.Contours))
			continue
		}
		for j, want := range c.Contours {
			if got := flat(found[j]); !slices.Equal(got, want) {
				t.Fatalf("mask %d, contour %d: %v, OpenCV's is %v", i, j, got, want)
			}
			got := MinAreaRect(found[j])
			if !c.Rects[j].same(got, 1e-4) {
				t.Errorf("mask %d, contour %d %v: rectangle %+v, OpenCV's is %v", i, j, want, got, c.Rects[j])
			}
			rects++
		}
	}
	t.Logf("%d rectangles", rects)
}

func TestContoursAreBounded(t *testing.T) {
	t.Parallel()
	mask := make([]uint8, 32*32)
	for i := 0; i < len(mask); i += 2 {
		mask[i] = uint8(i / 32 % 2)
	}
	if n := len(Contours(slices.Clone(mask), 32, 1000)); n != 256 {
		t.Errorf("%d single pixels, want 256", n)
	}
	if got := Contours(mask, 32, 3); len(got) != 3 || got[0][0] != (Pixel{30, 31}) {
		t.Errorf("the last three are %v", got)
	}
}

func TestQuadsEqualOpenCVAndClipper(t *testing.T) {
	t.Parallel()
	for i, c := range load(t).Quads {
		q := quadOf(c.Quad)
		const w, h = 160, 120 // of the map
		// Each pixel's share of the mean says whether it is covered.
		var covered []byte
		count := 0
		for _, v := range c.Covered {
			count += int(v)
		}
		values := make([]float32, w*h)
		for y := range c.Rows {
			for x := range c.Columns {
				at := (c.Top+y)*w + c.Left + x
				values[at] = 1
				covered = append(covered, byte(math.Round(Mean(values, w, q)*float64(count))))
				values[at] = 0
			}
		}
		// Of lines that leave the map OpenCV draws other steps: up to a pixel of each row and column.
		others, allowed := 0, 0
		for j := range covered {
			if covered[j] != c.Covered[j] {
				others++
			}
		}
		if c.leaves(w, h) {
			allowed = c.Rows + c.Columns
		}
		if others > allowed {
			t.Errorf("quad %d %v covers %d other pixels", i, q, others)
		}
		if d := q.Area() * 1.6 / q.Length(); math.Abs(d-c.Distance) > 1e-9 {
			t.Errorf("quad %d grows by %v, want %v", i, d, c.Distance)
		}
		grown := Grow(q, c.Distance)
		if got := MinAreaRect(grown); !c.Rect.same(got, 1e-4) {
			t.Errorf("quad %d: grown %v, rectangle %v, OpenCV's is %v of %v", i, grown, got, c.Rect, c.Grown)
		}
	}
}

func picture(pixels []byte, w, h int) *vision.RGB {
	m := vision.NewRGB(w, h)
	for i := range w * h {
		copy(m.Pix[4*i:], pixels[3*i:3*i+3])
	}
	return m
}

// differences counts values that differ from the reference's, and the largest difference.
func differences(m *vision.RGB, want []byte) (n, most int) {
	for i := range m.Width * m.Height {
		for c := range 3 {
			d := int(m.Pix[4*i+c]) - int(want[3*i+c])
			if d != 0 {
				n++
			}
			most = max(most, d, -d)
		}
	}
	return n, most
}

func TestResizeEqualsOpenCV(t *testing.T) {
	t.Parallel()
	values, differ := 0, 0
	for i, c := range load(t).Pictures {
		got := Resize(picture(c.Pixels, c.W, c.H), c.Size[0], c.Size[1])
		n, most := differences(got, c.Resized)
		if most > 1 {
			t.Errorf("picture %d, %dx%d to %v: off by %d", i, c.W, c.H, c.Size, most)
		}
		values += len(c.Resized)
		differ += n
	}
	if t.Logf("%d of %d values differ by 1", differ, values); differ > values/1000 {
		t.Errorf("%d of %d values differ from OpenCV's", differ, values)
	}
}

func TestCropEqualsOpenCV(t *testing.T) {
	t.Parallel()
	values, differ := 0, 0
	for i, c := range load(t).Crops {
		q := quadOf(c.Quad)
		if w, h := q.Sides(); w != c.Size[0] || h != c.Size[1] {
			t.Errorf("crop %d: %dx%d, want %v", i, w, h, c.Size)
			continue
		}
		got := Crop(picture(c.Pixels, c.W, c.H), q, c.Size[0], c.Size[1])
		n, most := differences(got, c.Crop)
		if most > 1 {
			t.Errorf("crop %d, %v: off by %d", i, q, most)
		}
		values += len(c.Crop)
		differ += n
	}
	if t.Logf("%d of %d values differ by 1", differ, values); differ > values/200 {
		t.Errorf("%d of %d values differ from OpenCV's", differ, values)
	}
}
