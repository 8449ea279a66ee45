package attend

import (
	"fmt"
	"image"
	"image/color"
	imagedraw "image/draw"

	"github.com/crossattn/xpipe/vision"
)

// overlayStrength is the opacity of a map's colour where the weight is greatest, from 0 to 1.
const overlayStrength = 0.7

// Overlay draws a map over the picture, scaled to fit into width by height pixels: vision.HeatColor
// colours weights from 0 to most, or to the map's greatest where most is 0. Parts that the model
// did not see are dimmed. Regions are drawn as their boxes, with the greatest weight where they
// overlap. Without a picture the error wraps vision.ErrImage.
func (a *Attention) Overlay(m Map, width, height int, most float64) (*image.RGBA, error) {
	if a.Image == nil {
		return nil, fmt.Errorf("%w: there is no picture to lay the map on", vision.ErrImage)
	}
	if a.Boxes != nil {
		m = a.drawBoxes(m)
	}
	small, err := vision.Fit(a.Image, width, height)
	if err != nil {
		return nil, err
	}
	b := small.Bounds()
	out := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	imagedraw.Draw(out, out.Bounds(), small, b.Min, imagedraw.Src)
	at := func(v float32, size int) int { return int(float64(v)*float64(size) + 0.5) }
	whole := image.Rect(at(a.Seen[0], b.Dx()), at(a.Seen[1], b.Dy()),
		at(a.Seen[2], b.Dx()), at(a.Seen[3], b.Dy()))
	if whole.Empty() {
		return out, nil
	}
	seen := image.NewRGBA(whole) // as the model's picture, padding included
	imagedraw.Draw(seen, whole, image.Black, image.Point{}, imagedraw.Src)
	imagedraw.Draw(seen, whole, out, whole.Min, imagedraw.Src)
	heat, err := vision.Overlay(seen, m.Weights, m.Rows, m.Cols, most, overlayStrength)
	if err != nil {
		return nil, err
	}
	dim := image.NewUniform(color.RGBA{A: 160})
	imagedraw.Draw(out, out.Bounds(), dim, image.Point{}, imagedraw.Over)
	imagedraw.Draw(out, whole, heat.Image(), image.Point{}, imagedraw.Src)
	return out, nil
}

// drawBoxes turns the weights of regions into a fine map of the picture.
func (a *Attention) drawBoxes(m Map) Map {
	const fine = 96
	drawn := Map{Rows: fine, Cols: fine, Weights: make([]float32, fine*fine), Share: m.Share}
	for i, box := range a.Boxes {
		for r := range fine {
			for c := range fine {
				x, y := (float32(c)+0.5)/fine, (float32(r)+0.5)/fine
				if x >= box[0] && x < box[2] && y >= box[1] && y < box[3] {
					at := &drawn.Weights[r*fine+c]
					*at = max(*at, m.Weights[i])
				}
			}
		}
	}
	return drawn
}

// Greatest returns the largest weight of the words' maps, to draw them all on one scale.
func (a *Attention) Greatest(words []Word, picks ...Pick) (float64, error) {
	greatest := 0.0
	for _, w := range words {
		m, err := a.WordMap(w, picks...)
		if err != nil {
			return 0, err
		}
		for _, v := range m.Weights {
			greatest = max(greatest, float64(v))
		}
	}
	return greatest, nil
}
