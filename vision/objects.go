package vision

import (
	"cmp"
	"context"
	"image"
	"math"
	"slices"
)

// Thresholds of PlainObjects, tuned on drawn scenes. Lengths are in pixels of the picture at
// workingSide, differences of colour in levels of 255.
const (
	workingSide  = 320  // longer side of the picture that is searched
	borderWidth  = 2    // of the border that the background is fitted to
	leastStep    = 16.  // a pixel differs from the background beyond this many levels
	noisySteps   = 5.   // and beyond this many standard deviations of the border
	mostNoise    = 12.  // standard deviation beyond which the background is not plain
	joinedGap    = 2    // pixels at most this far apart are connected
	fragmentGap  = 5    // a small part at most this far from an object belongs to it
	fragmentPart = 0.75 // small: its longer side, in parts of the object's
	leastObject  = 12   // longer side of the smallest object
	leastPart    = 0.3  // the same in parts of the largest object's
)

// PlainObjects finds the objects on a plain or gently graded background: it returns the boxes, in
// pixels of img, of at most `most` of them, the largest ones, from top to bottom. The background is
// a plane through the colours of the picture's border, fitted robustly, so that objects that touch
// the border do not bias it; connected regions that differ from the fit are objects.
//
// It is not a general detector: on a photograph, whose background is not plain, it finds nothing,
// or patches of colour. Finding nothing is not an error. Beyond one reading of the picture, work
// and memory do not grow with its size. The error wraps ErrImage for an empty picture, or
// ctx.Err().
func PlainObjects(ctx context.Context, img image.Image, most int) ([]image.Rectangle, error) {
	b := boundsOf(img)
	if b.Empty() {
		return nil, imageErrorf("a picture of %dx%d pixels", b.Dx(), b.Dy())
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	scale := max(1, float64(max(b.Dx(), b.Dy()))/workingSide)
	small := FromImage(img)
	if scale > 1 {
		var err error
		w, h := max(1, int(float64(b.Dx())/scale)), max(1, int(float64(b.Dy())/scale))
		if small, err = Resize(small, w, h, Bilinear); err != nil {
			return nil, err
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	mask := foreground(small)
	if mask == nil {
		return nil, nil
	}
	boxes := objects(components(mask, small.Width, small.Height), most)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sx, sy := float64(b.Dx())/float64(small.Width), float64(b.Dy())/float64(small.Height)
	for i, r := range boxes {
		box := image.Rect(
			int(float64(r.Min.X)*sx), int(float64(r.Min.Y)*sy),
			int(math.Ceil(float64(r.Max.X)*sx)), int(math.Ceil(float64(r.Max.Y)*sy)))
		boxes[i] = box.Add(b.Min).Intersect(b)
	}
	return boxes, nil
}

// plane is a colour that changes evenly over a picture: a + bx + cy a channel.
type plane [3][3]float64

func (p *plane) at(x, y float64) (c [3]float64) {
	for k := range c {
		c[k] = p[k][0] + p[k][1]*x + p[k][2]*y
	}
	return c
}

// differs is how far a pixel is from the plane, in its worst channel.
func (p *plane) differs(px []uint8, x, y float64) float64 {
	c := p.at(x, y)
	off := func(k int) float64 { return math.Abs(float64(px[k]) - c[k]) }
	return max(off(0), off(1), off(2))
}

// borderPixel is a pixel of the border and its distance from the fit so far.
type borderPixel struct {
	x, y, off float64
	px        []uint8
}

// foreground marks the pixels that differ from the background, or returns nil where there are none
// or the background is not plain.
func foreground(m *RGB) []bool {
	// Coordinates in [-1,1] keep the sums of the fit of one magnitude.
	px := func(x int) float64 { return 2*float64(x)/float64(max(1, m.Width-1)) - 1 }
	py := func(y int) float64 { return 2*float64(y)/float64(max(1, m.Height-1)) - 1 }
	var border []borderPixel
	for y := range m.Height {
		row := m.row(y)
		for x := range m.Width {
			if min(x, y, m.Width-1-x, m.Height-1-y) < borderWidth {
				border = append(border, borderPixel{x: px(x), y: py(y), px: row[4*x : 4*x+3]})
			}
		}
	}
	background, middle := fitBackground(border)
	deviation := 1.4826 * middle // of a normal distribution with this median distance
	if deviation > mostNoise {
		return nil
	}
	step := max(leastStep, noisySteps*deviation)
	mask, marked := make([]bool, m.Width*m.Height), 0
	for y := range m.Height {
		row := m.row(y)
		for x := range m.Width {
			if background.differs(row[4*x:4*x+3], px(x), py(y)) > step {
				mask[y*m.Width+x] = true
				marked++
			}
		}
	}
	if marked == 0 {
		return nil
	}
	return mask
}

// fitBackground fits a plane to the border by least squares, five times over, each time to those
// samples, at least half, that are near the last fit. It also returns the median distance from the
// fit.
func fitBackground(border []borderPixel) (p plane, middle float64) {
	for k := range p { // start from the median colour
		values := make([]uint8, len(border))
		for i, s := range border {
			values[i] = s.px[k]
		}
		slices.Sort(values)
		p[k][0] = float64(values[len(values)/2])
	}
	off := make([]float64, len(border))
	for round := 0; ; round++ {
		for i := range border {
			border[i].off = p.differs(border[i].px, border[i].x, border[i].y)
			off[i] = border[i].off
		}
		slices.Sort(off)
		middle = off[len(off)/2]
		if round == 5 {
			return p, middle
		}
		near := max(6, 2*middle)
		var moments [3][3]float64
		var sums [3][3]float64
		for _, s := range border {
			if s.off > near {
				continue
			}
			at := [3]float64{1, s.x, s.y}
			for i := range at {
				for j := range at {
					moments[i][j] += at[i] * at[j]
				}
				for k := range sums {
					sums[k][i] += at[i] * float64(s.px[k])
				}
			}
		}
		for k := range p {
			if solved, ok := solve3(moments, sums[k]); ok {
				p[k] = solved
			}
		}
	}
}

// solve3 solves a x = b by Cramer's rule. ok is false where a is singular, as it is for a picture
// of one row.
func solve3(a [3][3]float64, b [3]float64) (x [3]float64, ok bool) {
	det := func(m [3][3]float64) float64 {
		return m[0][0]*(m[1][1]*m[2][2]-m[1][2]*m[2][1]) -
			m[0][1]*(m[1][0]*m[2][2]-m[1][2]*m[2][0]) +
			m[0][2]*(m[1][0]*m[2][1]-m[1][1]*m[2][0])
	}
	d := det(a)
	if math.Abs(d) < 1e-6 {
		return x, false
	}
	for k := range x {
		m := a
		for i := range m {
			m[i][k] = b[i]
		}
		x[k] = det(m) / d
	}
	return x, true
}

// part is a connected piece of the foreground.
type part struct {
	box  image.Rectangle
	area int
}

func (p part) longer() int { return max(p.box.Dx(), p.box.Dy()) }

// components joins foreground pixels that are at most joinedGap apart.
func components(mask []bool, w, h int) []part {
	seen := make([]bool, len(mask))
	var parts []part
	var stack []int
	for start, on := range mask {
		if !on || seen[start] {
			continue
		}
		p := part{box: image.Rect(start%w, start/w, start%w+1, start/w+1)}
		stack = append(stack[:0], start)
		seen[start] = true
		for len(stack) > 0 {
			at := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			x, y := at%w, at/w
			p.area++
			p.box = p.box.Union(image.Rect(x, y, x+1, y+1))
			for ny := max(0, y-joinedGap); ny <= min(h-1, y+joinedGap); ny++ {
				for nx := max(0, x-joinedGap); nx <= min(w-1, x+joinedGap); nx++ {
					if n := ny*w + nx; mask[n] && !seen[n] {
						seen[n] = true
						stack = append(stack, n)
					}
				}
			}
		}
		parts = append(parts, p)
	}
	return parts
}

// belongsTo reports whether a part is a fragment of a larger one: most of its box lies inside that
// one's, or it is small and near.
func (p part) belongsTo(w part) bool {
	in := p.box.Intersect(w.box)
	return 2*in.Dx()*in.Dy() > p.box.Dx()*p.box.Dy() ||
		float64(p.longer()) < fragmentPart*float64(w.longer()) &&
			p.box.Inset(-fragmentGap).Overlaps(w.box)
}

// objects joins fragments to the parts that they belong to, drops specks, and returns the boxes of
// the rest.
func objects(parts []part, most int) []image.Rectangle {
	for joined := true; joined; { // what has grown may reach more
		slices.SortStableFunc(parts, func(a, b part) int {
			return cmp.Compare(b.longer(), a.longer())
		})
		var whole []part
		for _, p := range parts {
			if at := slices.IndexFunc(whole, p.belongsTo); at >= 0 {
				whole[at].box = whole[at].box.Union(p.box)
				whole[at].area += p.area
			} else {
				whole = append(whole, p)
			}
		}
		joined = len(whole) < len(parts)
		parts = whole
	}
	if len(parts) == 0 {
		return nil
	}
	least := leastPart * float64(parts[0].longer())
	whole := slices.DeleteFunc(parts, func(p part) bool {
		return float64(p.longer()) < max(leastObject, least)
	})
	slices.SortStableFunc(whole, func(a, b part) int { return cmp.Compare(b.area, a.area) })
	var boxes []image.Rectangle
	for _, p := range whole[:min(len(whole), max(0, most))] {
		boxes = append(boxes, p.box)
	}
	slices.SortFunc(boxes, func(a, b image.Rectangle) int {
		return cmp.Or(cmp.Compare(a.Min.Y, b.Min.Y), cmp.Compare(a.Min.X, b.Min.X))
	})
	return boxes
}

// CropSquare cuts out a box of a picture with a margin, of its longer side, on every side: a square
// about the box's middle, moved where it would reach over the picture's edge, and cut where it is
// larger than the picture.
func CropSquare(m *RGB, box image.Rectangle, margin float64) (*RGB, error) {
	box = box.Intersect(m.Bounds())
	if box.Empty() {
		return nil, imageErrorf("a box without a pixel in a picture of %dx%d", m.Width, m.Height)
	}
	side := int(math.RoundToEven(float64(max(box.Dx(), box.Dy())) * (1 + 2*margin)))
	place := func(lo, hi, size int) (int, int) {
		start := max(0, min((lo+hi-side)>>1, size-side)) // >> rounds down, below zero too
		return start, min(size, start+side)
	}
	var r image.Rectangle
	r.Min.X, r.Max.X = place(box.Min.X, box.Max.X, m.Width)
	r.Min.Y, r.Max.Y = place(box.Min.Y, box.Max.Y, m.Height)
	return m.crop(r), nil
}
