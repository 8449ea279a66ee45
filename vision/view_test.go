package vision

import (
	"bytes"
	"context"
	"errors"
	"image"
	"image/color"
	"image/png"
	"math"
	"slices"
	"testing"
)

// No picture is an error, not a panic, whatever it is used for.
func TestNoPicture(t *testing.T) {
	t.Parallel()
	p, err := ParseConfig([]byte(`{"image_processor_type":"BlipImageProcessor"}`))
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	for _, img := range []image.Image{nil, (*RGB)(nil), (*image.Gray)(nil)} {
		_, preprocess := p.Preprocess(ctx, img)
		_, picture := p.Picture(p.Turn(img))
		_, resize := Resize(img, 2, 2, Bilinear)
		_, thumbnail := Thumbnail(img, 2, 2)
		_, fit := Fit(img, 2, 2)
		_, overlay := Overlay(img, []float32{1}, 1, 1, 1, 1)
		_, objects := PlainObjects(ctx, img, 2)
		for i, err := range []error{preprocess, picture, resize, thumbnail, fit, overlay, objects} {
			if !errors.Is(err, ErrImage) {
				t.Errorf("%T, %d: %v", img, i, err)
			}
		}
	}
}

func TestThumbnail(t *testing.T) {
	t.Parallel()
	small, err := Thumbnail(testPicture(1, 300, 100, 2), 60, 60)
	if err != nil || small.Bounds().Dx() != 60 || small.Bounds().Dy() != 20 {
		t.Errorf("%v, %v", small.Bounds(), err)
	}
	for _, want := range [][4]int{{300, 100, 60, 20}, {6, 12, 30, 60}, {12, 6, 60, 30}, {1, 200, 1, 60}} {
		m, err := Fit(testPicture(1, want[0], want[1], 2), 60, 60)
		if err != nil || m.Bounds().Dx() != want[2] || m.Bounds().Dy() != want[3] {
			t.Errorf("%v: %v, %v", want, m.Bounds(), err)
		}
	}
	for _, size := range []int{0, -1} {
		if _, err := Thumbnail(NewRGB(3, 3), size, 5); !errors.Is(err, ErrImage) {
			t.Errorf("size %d: %v", size, err)
		}
	}
	if _, err := Thumbnail(NewRGB(0, 0), 5, 5); !errors.Is(err, ErrImage) {
		t.Errorf("empty: %v", err)
	}
}

func TestOverlay(t *testing.T) {
	t.Parallel()
	m, err := Overlay(NewRGB(64, 64), []float32{0, 0, 0, 1}, 2, 2, 0, 1)
	if err != nil {
		t.Fatal(err)
	}
	corner := func(x, y int) [3]uint8 { return [3]uint8(m.row(y)[4*x:][:3]) }
	if corner(0, 0) != [3]uint8{0, 0, 0} || corner(63, 63) != [3]uint8{252, 255, 164} {
		t.Errorf("corners are %v and %v, not the picture and the end of the scale", corner(0, 0), corner(63, 63))
	}
	if m, err = Overlay(NewRGB(64, 64), []float32{0, 0, 0, 1}, 2, 2, 2, 1); err != nil || corner(63, 63) != [3]uint8{94, 28, 42} {
		t.Errorf("half of the scale on black is %v (%v)", corner(63, 63), err)
	}
	white := NewRGB(30, 30).On(color.RGBA{})
	for i := range white.Pix {
		white.Pix[i] = 255
	}
	if m, err = Overlay(white, []float32{0, 0, 0, 0, 0, 0, 0, 0, 1}, 3, 3, 0, 0.65); err != nil ||
		corner(4, 4) != [3]uint8{255, 255, 255} || corner(25, 25) == corner(4, 4) {
		t.Errorf("white is %v where the weight is 0 (%v)", corner(4, 4), err)
	}
	same, err := Overlay(testPicture(1, 9, 9, 0), []float32{1, 2}, 1, 2, 0, 0)
	if err != nil || !slices.Equal(same.Pix, testPicture(1, 9, 9, 0).Pix) {
		t.Errorf("strength 0 changes the picture (%v)", err)
	}
	nan := float32(math.NaN())
	for _, c := range []struct {
		weights    []float32
		rows, cols int
		strength   float64
	}{{nil, 0, 0, 1}, {[]float32{1}, 1, 2, 1}, {[]float32{nan}, 1, 1, 1}, {[]float32{1}, 1, 1, 2}} {
		if _, err := Overlay(NewRGB(4, 4), c.weights, c.rows, c.cols, 0, c.strength); !errors.Is(err, ErrImage) {
			t.Errorf("%v: %v", c, err)
		}
	}
	if _, err := Overlay(NewRGB(4, 4), []float32{1}, 1, 1, math.NaN(), 1); !errors.Is(err, ErrImage) {
		t.Errorf("a scale up to NaN: %v", err)
	}
	last := -1.0
	for i := range 101 { // brighter all the way
		c := HeatColor(float64(i) / 100)
		light := 0.2126*float64(c.R) + 0.7152*float64(c.G) + 0.0722*float64(c.B)
		if light < last {
			t.Errorf("the scale gets darker at %d %%", i)
		}
		last = light
	}
}

// Maps are enlarged through their weights, never below 0, and round.
func TestEnlargeMap(t *testing.T) {
	t.Parallel()
	spot := make([]float32, 25)
	spot[12], spot[3] = 1, 0.5
	large, err := EnlargeMap(spot, 5, 5, 45, 45)
	if err != nil {
		t.Fatal(err)
	}
	at := func(x, y int) float64 { return float64(large[(22+y)*45+22+x]) }
	for i, w := range spot {
		if got := at((i%5-2)*9, (i/5-2)*9); math.Abs(got-float64(w)) > 1e-7 {
			t.Errorf("cell %d has %v in its middle, not %v", i, got, w)
		}
	}
	if least := slices.Min(large); least < 0 {
		t.Errorf("the least is %v", least)
	}
	// 5 pixels away, straight down and on a diagonal (3, 4).
	if a, b := at(0, 5), at(3, 4); math.Abs(a-b) > 0.06 {
		t.Errorf("%v downwards and %v across", a, b)
	}
	one, err := EnlargeMap([]float32{3}, 1, 1, 2, 2)
	if err != nil || slices.ContainsFunc(one, func(v float32) bool { return v != 3 }) {
		t.Errorf("one cell: %v, %v", one, err)
	}
}

// Transparent pictures are laid on a colour, and stay as they are without one.
func TestBackground(t *testing.T) {
	t.Parallel()
	img := image.NewNRGBA(image.Rect(0, 0, 3, 1))
	put(img.Pix, 10, 20, 30, 255)
	put(img.Pix[4:], 10, 20, 30, 0)
	put(img.Pix[8:], 100, 100, 100, 51)
	var file bytes.Buffer
	if err := png.Encode(&file, img); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		opts []Option
		want []uint8
	}{
		{nil, []uint8{10, 20, 30, 255, 10, 20, 30, 255, 100, 100, 100, 255}},
		{[]Option{WithBackground(color.RGBA{255, 255, 255, 255})},
			[]uint8{10, 20, 30, 255, 255, 255, 255, 255, 224, 224, 224, 255}},
		{[]Option{WithBackground(color.RGBA{R: 200})},
			[]uint8{10, 20, 30, 255, 200, 0, 0, 255, 180, 20, 20, 255}},
	} {
		m, err := Decode(bytes.NewReader(file.Bytes()), c.opts...)
		if err != nil || !slices.Equal(m.Pix, c.want) || (m.Alpha == nil) != (c.opts != nil) {
			t.Errorf("%v, want %v (%v)", m, c.want, err)
		}
	}
}

func TestGrid(t *testing.T) {
	t.Parallel()
	cells := Grid(10, 7, 2, 3)
	want := []image.Rectangle{
		image.Rect(0, 0, 3, 3), image.Rect(3, 0, 6, 3), image.Rect(6, 0, 10, 3),
		image.Rect(0, 3, 3, 7), image.Rect(3, 3, 6, 7), image.Rect(6, 3, 10, 7),
	}
	if !slices.Equal(cells, want) {
		t.Errorf("%v, want %v", cells, want)
	}
	for _, c := range [][5]int{ // width, height, rows, columns, cells
		{1, 1, 3, 3, 1}, {2, 5, 3, 3, 6}, {4, 2, 8, 1, 2}, {0, 4, 1, 1, 0}, {4, -1, 1, 1, 0}, {4, 4, 0, 1, 0}, {4, 4, 1, -1, 0},
	} {
		cells := Grid(c[0], c[1], c[2], c[3])
		area := 0
		for _, cell := range cells {
			area += cell.Dx() * cell.Dy()
		}
		if len(cells) != c[4] || len(cells) > 0 && area != c[0]*c[1] {
			t.Errorf("%v: %v", c, cells)
		}
	}
}

// TestFromImage converts pictures of the standard library's types.
func TestFromImage(t *testing.T) {
	t.Parallel()
	r := image.Rect(-3, 5, 4, 9)
	at := func(x, y int) (uint8, uint8, uint8) { return uint8(20 * (x + 3)), uint8(30 * (y - 5)), uint8(x * y) }
	rgba, nrgba, deep := image.NewRGBA(r), image.NewNRGBA(r), image.NewNRGBA64(r)
	for y := r.Min.Y; y < r.Max.Y; y++ {
		for x := r.Min.X; x < r.Max.X; x++ {
			a, b, c := at(x, y)
			put(rgba.Pix[rgba.PixOffset(x, y):], a, b, c, 255)
			put(nrgba.Pix[nrgba.PixOffset(x, y):], a, b, c, 7)
			o := deep.PixOffset(x, y)
			copy(deep.Pix[o:], []uint8{a, 9, b, 9, c, 9, 255, 255})
		}
	}
	sub := image.Rect(-1, 6, 3, 8)
	for _, img := range []image.Image{rgba.SubImage(sub), nrgba.SubImage(sub), deep.SubImage(sub), struct{ image.Image }{rgba.SubImage(sub)}} {
		m := FromImage(img)
		for y := range m.Height {
			for x := range m.Width {
				a, b, c := at(sub.Min.X+x, sub.Min.Y+y)
				if [4]uint8(m.row(y)[4*x:][:4]) != [4]uint8{a, b, c, 255} {
					t.Fatalf("%T: pixel (%d,%d) is %v", img, x, y, m.row(y)[4*x:][:4])
				}
			}
		}
		if _, clear := img.(*image.NRGBA); clear != (m.Alpha != nil) {
			t.Errorf("%T: alpha is %v", img, m.Alpha)
		}
	}
}
