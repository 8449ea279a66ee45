package api

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"testing"

	"github.com/crossattn/xpipe/pipeline"
)

// Places are drawn where they are, whatever the picture's own origin is, and those outside are no harm.
func TestDrawPlaces(t *testing.T) {
	t.Parallel()
	grey := color.RGBA{200, 200, 200, 255}
	img := image.NewRGBA(image.Rect(50, 60, 350, 260)) // 300 by 200
	draw.Draw(img, img.Bounds(), image.NewUniform(grey), image.Point{}, draw.Src)
	places := []pipeline.Place{
		{Label: "", Box: []float64{20, 40, 120, 140}},
		{Label: "a cat \x1b[31m", Quad: []float64{200, 100, 260, 110, 255, 150, 195, 140}},
		{Label: "", Polygons: [][]float64{{140, 150, 180, 150, 160, 190}, {1, 2}, {}}},
		{Label: "beyond all", Box: []float64{-1e9, -50, 1e9, 5000}}, {}, {Label: "nowhere"},
	}
	out, err := DrawPlaces(img, places[:3])
	if err != nil {
		t.Fatal(err)
	}
	if out.Bounds() != image.Rect(0, 0, 300, 200) {
		t.Fatal(out.Bounds())
	}
	for _, at := range []image.Point{{20, 90}, {120, 90}, {70, 40}, {70, 140}} {
		if out.RGBAAt(at.X, at.Y) == grey && out.RGBAAt(at.X-1, at.Y) == grey && out.RGBAAt(at.X, at.Y-1) == grey {
			t.Errorf("no line at %v", at)
		}
	}
	for _, at := range []image.Point{{70, 90}, {15, 35}, {290, 10}, {230, 125}} {
		if got := out.RGBAAt(at.X, at.Y); got != grey {
			t.Errorf("%v is drawn on: %v", at, got)
		}
	}
	if got := out.RGBAAt(160, 160); got == grey || got.A != 255 { // inside the outline
		t.Errorf("the outline is not filled: %v", got)
	}
	if got := out.RGBAAt(197, 95); got == grey { // the label above the quad
		t.Error("no label")
	}
	if _, err := DrawPlaces(img, places); err != nil {
		t.Error(err)
	}
	var file bytes.Buffer
	if err := WritePlaces(&file, img, places, "a.png", "made by"); err != nil {
		t.Fatal(err)
	}
	back, err := png.Decode(bytes.NewReader(file.Bytes()))
	if err != nil || back.Bounds() != out.Bounds() || !bytes.Contains(file.Bytes(), []byte("made by")) {
		t.Errorf("%v, %v", back, err)
	}
	if _, err := DrawPlaces(image.NewRGBA(image.Rect(0, 0, 1, 1)), places); err != nil {
		t.Error(err)
	}
}
