package vision

import (
	"context"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"testing"
)

// ground paints a picture whose colour goes evenly from one corner to the other.
func ground(w, h int, from, to color.RGBA) *image.RGBA {
	img := image.NewRGBA(image.Rect(0, 0, w, h))
	for y := range h {
		for x := range w {
			t := float64(x+y) / float64(max(1, w+h-2))
			mix := func(a, b uint8) uint8 { return uint8(float64(a) + (float64(b)-float64(a))*t + 0.5) }
			img.SetRGBA(x, y, color.RGBA{mix(from.R, to.R), mix(from.G, to.G), mix(from.B, to.B), 255})
		}
	}
	return img
}

func paint(img draw.Image, c color.Color, boxes ...image.Rectangle) {
	for _, b := range boxes {
		draw.Draw(img, b, image.NewUniform(c), image.Point{}, draw.Src)
	}
}

// disc paints a disc that fills a box.
func disc(img draw.Image, c color.Color, box image.Rectangle) {
	for y := box.Min.Y; y < box.Max.Y; y++ {
		for x := box.Min.X; x < box.Max.X; x++ {
			dx, dy := 2*x+1-box.Min.X-box.Max.X, 2*y+1-box.Min.Y-box.Max.Y
			if dx*dx*box.Dy()*box.Dy()+dy*dy*box.Dx()*box.Dx() <= box.Dx()*box.Dx()*box.Dy()*box.Dy() {
				img.Set(x, y, c)
			}
		}
	}
}

func TestPlainObjects(t *testing.T) {
	t.Parallel()
	white, grey, red := color.RGBA{255, 255, 255, 255}, color.RGBA{120, 120, 120, 255}, color.RGBA{200, 30, 30, 255}
	cases := []struct {
		name string
		img  func() image.Image
		want []image.Rectangle
	}{
		{"two on white", func() image.Image {
			m := ground(320, 320, white, white)
			paint(m, red, image.Rect(20, 30, 90, 110))
			disc(m, grey, image.Rect(200, 150, 280, 230))
			return m
		}, []image.Rectangle{image.Rect(20, 30, 90, 110), image.Rect(200, 150, 280, 230)}},
		{"on a graded background", func() image.Image {
			m := ground(320, 240, color.RGBA{30, 60, 120, 255}, color.RGBA{110, 110, 150, 255})
			paint(m, red, image.Rect(100, 80, 170, 140))
			return m
		}, []image.Rectangle{image.Rect(100, 80, 170, 140)}},
		{"one touches the border", func() image.Image {
			m := ground(300, 300, white, grey)
			paint(m, color.Black, image.Rect(0, 100, 80, 200), image.Rect(150, 20, 220, 90))
			return m
		}, []image.Rectangle{image.Rect(150, 20, 220, 90), image.Rect(0, 100, 80, 200)}},
		{"a fragment belongs to its object, a speck to none", func() image.Image {
			m := ground(320, 320, white, white)
			paint(m, red, image.Rect(50, 50, 130, 130), image.Rect(134, 60, 150, 80))
			paint(m, red, image.Rect(250, 250, 256, 256))
			return m
		}, []image.Rectangle{image.Rect(50, 50, 150, 130)}},
		{"bounds that do not start at zero", func() image.Image {
			m := image.NewRGBA(image.Rect(-40, 1000, 160, 1200))
			paint(m, white, m.Rect)
			paint(m, red, image.Rect(0, 1050, 60, 1110))
			return m
		}, []image.Rectangle{image.Rect(0, 1050, 60, 1110)}},
		{"nothing", func() image.Image { return ground(320, 200, white, grey) }, nil},
		{"one pixel", func() image.Image { return ground(1, 1, red, red) }, nil},
		{"one row", func() image.Image { return ground(5000, 1, red, red) }, nil},
		{"one column", func() image.Image { return ground(1, 3000, red, red) }, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			got, err := PlainObjects(t.Context(), c.img(), 35)
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(c.want) {
				t.Fatalf("%v, want %v", got, c.want)
			}
			for i := range got {
				if got[i] != c.want[i] {
					t.Errorf("box %d is %v, want %v", i, got[i], c.want[i])
				}
			}
		})
	}
}

// A large picture is looked at small: the boxes are right to its coarser pixels.
func TestPlainObjectsLarge(t *testing.T) {
	t.Parallel()
	m := ground(1600, 800, color.RGBA{240, 240, 240, 255}, color.RGBA{220, 230, 240, 255})
	want := image.Rect(403, 201, 808, 599)
	disc(m, color.Black, want)
	got, err := PlainObjects(t.Context(), m, 35)
	if err != nil || len(got) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	const coarse = 1600/320 + 1
	for _, d := range []int{got[0].Min.X - want.Min.X, got[0].Min.Y - want.Min.Y, got[0].Max.X - want.Max.X, got[0].Max.Y - want.Max.Y} {
		if d < -coarse || d > coarse {
			t.Errorf("%v, want %v to %d pixels", got[0], want, coarse)
		}
	}
}

func TestPlainObjectsBounded(t *testing.T) {
	t.Parallel()
	m := ground(320, 320, color.RGBA{255, 255, 255, 255}, color.RGBA{255, 255, 255, 255})
	for i := range 64 {
		x, y := 6+i%8*39, 6+i/8*39
		paint(m, color.Black, image.Rect(x, y, x+20+i%3, y+20))
	}
	for _, most := range []int{-1, 0, 1, 35, 100} {
		got, err := PlainObjects(t.Context(), m, most)
		if want := min(64, max(0, most)); err != nil || len(got) != want {
			t.Errorf("%d objects, want %d (%v)", len(got), want, err)
		}
	}
	if _, err := PlainObjects(t.Context(), image.NewRGBA(image.Rectangle{}), 5); !errors.Is(err, ErrImage) {
		t.Errorf("an empty picture: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := PlainObjects(ctx, m, 5); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}
}

func TestCropSquare(t *testing.T) {
	t.Parallel()
	m := NewRGB(100, 60)
	for _, c := range []struct {
		box  image.Rectangle
		w, h int
	}{
		{image.Rect(40, 20, 60, 30), 24, 24},
		{image.Rect(0, 0, 10, 10), 12, 12},
		{image.Rect(90, 50, 100, 60), 12, 12},
		{image.Rect(0, 0, 100, 60), 100, 60},
		{image.Rect(10, 0, 70, 60), 72, 60},
		{image.Rect(99, 59, 300, 300), 1, 1},
	} {
		got, err := CropSquare(m, c.box, 0.1)
		if err != nil || got.Width != c.w || got.Height != c.h {
			t.Errorf("%v: %v by %v, %v", c.box, got.Width, got.Height, err)
		}
	}
	if _, err := CropSquare(m, image.Rect(100, 0, 120, 20), 0.1); !errors.Is(err, ErrImage) {
		t.Errorf("outside: %v", err)
	}
}
