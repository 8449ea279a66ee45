package api

import (
	"bytes"
	"image/color"
	"image/png"
	"testing"

	"github.com/crossattn/xpipe/vision"
)

// The sheet has the picture, the overlay of each word beside it, and the colours of the scale from
// end to end.
func TestAttentionSheet(t *testing.T) {
	t.Parallel()
	v := view(t, "blip2-mini", "a red", picture(t, "red-circle.png"))
	var file bytes.Buffer
	if err := v.WritePNG(&file); err != nil {
		t.Fatal(err)
	}
	sheet, err := png.Decode(&file)
	if err != nil {
		t.Fatal(err)
	}
	same := func(x, y int, want color.Color) bool {
		r, g, b, _ := sheet.At(x, y).RGBA()
		wr, wg, wb, _ := want.RGBA()
		return r == wr && g == wg && b == wb
	}
	top := sheetGap + sheetText + sheetGap
	for i, word := range v.Words() {
		m, err := v.WordMap(word)
		if err != nil {
			t.Fatal(err)
		}
		heat, err := v.Overlay(m, sheetTile, sheetTile, v.Most)
		if err != nil {
			t.Fatal(err)
		}
		left := sheetGap + (i+1)*(heat.Bounds().Dx()+sheetGap)
		for y := range heat.Bounds().Dy() {
			for x := range heat.Bounds().Dx() {
				if !same(left+x, top+y, heat.At(x, y)) {
					t.Fatalf("%q: pixel %d,%d is %v, not %v", word.Text, x, y, sheet.At(left+x, top+y), heat.At(x, y))
				}
			}
		}
	}
	y := sheet.Bounds().Max.Y - sheetGap - sheetText - sheetScaleH/2
	for x := range 256 {
		if !same(sheetGap+x, y, vision.HeatColor(float64(x)/255)) {
			t.Fatalf("the scale has %v at %d", sheet.At(sheetGap+x, y), x)
		}
	}
}
