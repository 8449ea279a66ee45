package main

import (
	"context"
	"image"
	"image/color"
	"image/draw"
	"math"
	"math/rand/v2"

	"github.com/crossattn/xpipe/pipeline"
)

// scene is a picture with a named object on a plain ground.
type scene struct {
	img     *image.RGBA
	ground  color.RGBA
	box     image.Rectangle
	caption string
	others  []string // for a model that matches: what it might be, the caption first
}

const side = 160 // pixels

var (
	colors = map[string]color.RGBA{
		"red": {220, 20, 30, 255}, "green": {20, 150, 40, 255},
		"blue": {20, 30, 220, 255}, "black": {10, 10, 10, 255},
		"gray": {128, 128, 128, 255}, "teal": {0, 128, 128, 255},
		"brown": {150, 75, 20, 255}, "yellow": {245, 225, 30, 255},
	}
	colorNames = []string{"black", "blue", "brown", "gray", "green", "red", "teal", "yellow"}
	shapes     = []string{"circle", "rectangle", "triangle"}
)

// captions are those of all scenes.
func captions() []string {
	var all []string
	for _, c := range colorNames {
		for _, shape := range shapes {
			all = append(all, "a "+c+" "+shape)
		}
	}
	return all
}

// newScene draws a scene as easy-VQA does: an object of a third to half of the side, anywhere. Its
// twins in Python are what the models were trained on: the easy-VQA pictures of easy_vqa and
// augmented_shape in tools/train/xpipe_train/pictures.py, with the same shapes and colours, and the
// scenes of several things of scenes.py beside it.
func newScene(r *rand.Rand) *scene {
	s := &scene{img: image.NewRGBA(image.Rect(0, 0, side, side))}
	name, shape := colorNames[r.IntN(len(colorNames))], shapes[r.IntN(len(shapes))]
	s.caption = "a " + name + " " + shape
	s.ground = lightGround(r)
	w, h := side*(33+r.IntN(18))/100, side*(33+r.IntN(18))/100
	if shape == "circle" {
		h = w
	}
	x, y := r.IntN(side-w), r.IntN(side-h)
	s.box = image.Rect(x, y, x+w, y+h)
	inside := func(u, v float64) bool { // of the box, each 0 to 1
		switch shape {
		case "circle":
			return math.Hypot(u-0.5, v-0.5) <= 0.5
		case "triangle":
			return math.Abs(u-0.5) <= v/2
		}
		return true
	}
	const fine = 4 // samples a pixel and axis, against jagged edges
	for py := range side {
		for px := range side {
			n := 0
			for i := range fine * fine {
				u := (float64(px) + (float64(i%fine)+0.5)/fine - float64(x)) / float64(w)
				v := (float64(py) + (float64(i/fine)+0.5)/fine - float64(y)) / float64(h)
				if u >= 0 && u <= 1 && v >= 0 && v <= 1 && inside(u, v) {
					n++
				}
			}
			mix := func(a, b uint8) uint8 {
				return uint8((int(a)*n + int(b)*(fine*fine-n)) / (fine * fine))
			}
			c, g := colors[name], s.ground
			s.img.SetRGBA(px, py, color.RGBA{mix(c.R, g.R), mix(c.G, g.G), mix(c.B, g.B), 255})
		}
	}
	return s
}

// lightGround is a ground on which every colour shows.
func lightGround(r *rand.Rand) color.RGBA {
	light := func() uint8 { return uint8(225 + r.IntN(31)) }
	return color.RGBA{light(), light(), light(), 255}
}

// cell is the rectangle of a map's cell in the picture.
func (s *scene) cell(m pipeline.Map, i int) image.Rectangle {
	r, c, w, h := i/m.Cols, i%m.Cols, s.img.Rect.Dx(), s.img.Rect.Dy()
	return image.Rect(c*w/m.Cols, r*h/m.Rows, (c+1)*w/m.Cols, (r+1)*h/m.Rows)
}

// holds says whether the middle of a cell lies in the object's box.
func (s *scene) holds(m pipeline.Map, i int) bool {
	b := s.cell(m, i)
	return b.Min.Add(b.Max).Div(2).In(s.box)
}

// area is the mean probability of the object's word while cells are painted over in order, or
// uncovered, from none to all, a tenth at a time.
func (s *scene) area(
	ctx context.Context, p *pipeline.Pipeline, m pipeline.Map, order []int, insert bool,
) (float64, error) {
	const steps = 10
	canvas := image.NewRGBA(s.img.Rect)
	ground := image.NewUniform(s.ground)
	draw.Draw(canvas, canvas.Rect, s.img, image.Point{}, draw.Src)
	if insert {
		draw.Draw(canvas, canvas.Rect, ground, image.Point{}, draw.Src)
	}
	area, done := 0.0, 0
	for step := range steps + 1 {
		for ; done < step*len(order)/steps; done++ {
			b := s.cell(m, order[done])
			if insert {
				draw.Draw(canvas, b, s.img, b.Min, draw.Src)
			} else {
				draw.Draw(canvas, b, ground, image.Point{}, draw.Src)
			}
		}
		v, err := s.look(ctx, p, canvas)
		if err != nil {
			return 0, err
		}
		weight := 1.0 / steps
		if step == 0 || step == steps { // trapezoids
			weight /= 2
		}
		area += weight * v.probability
	}
	return area, nil
}
