package api

import (
	"bytes"
	"image"
	"image/color"
	"image/draw"
	"image/png"
	"io"
	"math"

	"github.com/crossattn/xpipe/pipeline"
	"golang.org/x/image/font"
	"golang.org/x/image/math/fixed"
	"golang.org/x/image/vector"
)

// placeColors are the colours of places, in turn: Okabe and Ito's, which colour-blind people tell apart.
var placeColors = []color.RGBA{
	{213, 94, 0, 255}, {0, 114, 178, 255}, {0, 158, 115, 255}, {204, 121, 167, 255},
	{230, 159, 0, 255}, {86, 180, 233, 255}, {240, 228, 66, 255},
}

// DrawPlaces draws places over a picture, in its pixels: boxes, quads and outlines with their labels,
// each in a colour. Outlines are filled, half transparent. What lies outside is cut off.
func DrawPlaces(img image.Image, places []pipeline.Place) (*image.RGBA, error) {
	b := img.Bounds()
	out := image.NewRGBA(image.Rect(0, 0, b.Dx(), b.Dy()))
	draw.Draw(out, out.Bounds(), img, b.Min, draw.Src)
	longer := float64(max(b.Dx(), b.Dy()))
	pen := max(1, longer/300)
	face, err := newFace(max(10, longer/40))
	if err != nil {
		return nil, err
	}
	for i, place := range places {
		tint := placeColors[i%len(placeColors)]
		for _, outline := range place.Polygons {
			fillPolygon(out, outline, color.RGBA{tint.R / 2, tint.G / 2, tint.B / 2, 128})
			strokePolygon(out, outline, pen, tint)
		}
		if at := place.Box; len(at) == 4 {
			strokePolygon(out, []float64{at[0], at[1], at[2], at[1], at[2], at[3], at[0], at[3]}, pen, tint)
		}
		strokePolygon(out, place.Quad, pen, tint)
	}
	for i, place := range places { // over all lines
		writeLabel(out, face, place, placeColors[i%len(placeColors)])
	}
	return out, nil
}

// WritePlaces writes what DrawPlaces draws as a PNG file. name is the picture's, made says what found
// the places; the file has both as its texts.
func WritePlaces(w io.Writer, img image.Image, places []pipeline.Place, name, made string) error {
	drawn, err := DrawPlaces(img, places)
	if err != nil {
		return err
	}
	return writePNG(w, drawn, [][2]string{{"Source", name}, {"Comment", made}, {"Software", "xpipe"}})
}

// fillPolygon fills an outline x, y, x, y, ...
func fillPolygon(dst draw.Image, outline []float64, fill color.Color) {
	if len(outline) < 6 {
		return
	}
	r := newRasterizer(dst)
	for i := 0; i+1 < len(outline); i += 2 {
		lineTo(r, i == 0, outline[i], outline[i+1])
	}
	r.ClosePath()
	r.Draw(dst, dst.Bounds(), image.NewUniform(fill), image.Point{})
}

// strokePolygon draws the closed outline x, y, x, y, ... with a pen of some width.
func strokePolygon(dst draw.Image, outline []float64, pen float64, ink color.Color) {
	n := len(outline) / 2
	if n == 0 {
		return
	}
	r := newRasterizer(dst)
	for i := range n {
		x1, y1 := outline[2*i], outline[2*i+1]
		j := (i + 1) % n
		x2, y2 := outline[2*j], outline[2*j+1]
		length := math.Hypot(x2-x1, y2-y1)
		if length == 0 {
			x2, length = x2+pen, pen
		}
		// A rectangle around the line, half a pen longer at both ends, so that corners meet.
		dx, dy := (x2-x1)/length*pen/2, (y2-y1)/length*pen/2
		lineTo(r, true, x1-dx-dy, y1-dy+dx)
		lineTo(r, false, x2+dx-dy, y2+dy+dx)
		lineTo(r, false, x2+dx+dy, y2+dy-dx)
		lineTo(r, false, x1-dx+dy, y1-dy-dx)
		r.ClosePath()
	}
	r.Draw(dst, dst.Bounds(), image.NewUniform(ink), image.Point{})
}

func newRasterizer(dst draw.Image) *vector.Rasterizer {
	return vector.NewRasterizer(dst.Bounds().Dx(), dst.Bounds().Dy())
}

func lineTo(r *vector.Rasterizer, first bool, x, y float64) {
	if first {
		r.MoveTo(float32(x), float32(y))
	} else {
		r.LineTo(float32(x), float32(y))
	}
}

// writeLabel writes a place's label at its upper left corner, on its colour.
func writeLabel(dst draw.Image, face font.Face, place pipeline.Place, ink color.RGBA) {
	label := Visible(place.Label)
	at, ok := corner(place)
	if label == "" || !ok {
		return
	}
	m := face.Metrics()
	height, width := (m.Ascent + m.Descent).Ceil(), font.MeasureString(face, label).Ceil()
	const margin = 3
	box := image.Rect(0, 0, width+2*margin, height).Add(at.Sub(image.Pt(0, height)))
	// Inside the picture, as far as it goes.
	b := dst.Bounds()
	box = box.Add(image.Pt(max(0, min(0, b.Max.X-box.Max.X)+box.Min.X)-box.Min.X, max(0, -box.Min.Y)))
	draw.Draw(dst, box, image.NewUniform(ink), image.Point{}, draw.Over)
	text := image.White
	if 299*int(ink.R)+587*int(ink.G)+114*int(ink.B) > 140*1000 { // bright to the eye (Rec. 601)
		text = image.Black
	}
	d := font.Drawer{Dst: dst, Src: text, Face: face, Dot: fixed.P(box.Min.X+margin, box.Min.Y+m.Ascent.Ceil())}
	d.DrawString(label)
}

// corner is the upper left corner of all that a place has.
func corner(place pipeline.Place) (image.Point, bool) {
	all := append(append([]float64{}, place.Box...), place.Quad...)
	for _, outline := range place.Polygons {
		all = append(all, outline...)
	}
	if len(all) < 2 {
		return image.Point{}, false
	}
	x, y := all[0], all[1]
	for i := 0; i+1 < len(all); i += 2 {
		x, y = min(x, all[i]), min(y, all[i+1])
	}
	return image.Pt(int(x), int(y)), true
}

// writePNG writes a picture with texts by their keywords.
func writePNG(w io.Writer, img image.Image, texts [][2]string) error {
	var file bytes.Buffer
	if err := png.Encode(&file, img); err != nil {
		return err
	}
	_, err := w.Write(withPNGText(file.Bytes(), texts))
	return err
}
