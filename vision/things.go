package vision

import (
	"cmp"
	"context"
	"image"
	"math"
	"slices"
)

// How Things looks, in pixels of a picture whose longer side is thingsSide, and
// grey levels.
const (
	thingsSide   = 320
	borderWidth  = 2    // of the frame that the ground is learnt from
	leastStep    = 16.  // from the ground that counts as a thing
	noisySteps   = 5.   // the same in standard deviations of the frame
	mostNoise    = 12.  // standard deviation beyond which the ground is not plain
	joinedGap    = 2    // nearer parts are one thing
	fragmentGap  = 5    // parts nearer to a thing are its own if they are small
	fragmentPart = 0.75 // small: of the thing's longer side
	leastThing   = 12   // longer side
	leastPart    = 0.3  // of the largest thing's longer side
)

// Things finds what stands on a plain or gently graded ground: the boxes, in
// pixels of img, of at most `most` things, from top to bottom. The ground is a
// plane through the colours of the picture's frame, fitted so that things which
// touch the frame have no say; what differs from it and hangs together is a thing.
//
// It is no detector: on a photograph, whose ground is not plain, it finds nothing
// or patches of colour. Nothing found is no error. Work and memory do not grow
// with the picture beyond one reading of it, and ctx ends it.
func Things(ctx context.Context, img image.Image, most int) ([]image.Rectangle, error) {
	b := img.Bounds()
	if b.Empty() {
		return nil, imageErrorf("a picture of %dx%d pixels", b.Dx(), b.Dy())
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	scale := max(1, float64(max(b.Dx(), b.Dy()))/thingsSide)
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
	boxes := things(components(mask, small.Width, small.Height), most)
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	sx, sy := float64(b.Dx())/float64(small.Width), float64(b.Dy())/float64(small.Height)
	for i, r := range boxes {
		boxes[i] = image.Rect(int(float64(r.Min.X)*sx), int(float64(r.Min.Y)*sy),
			int(math.Ceil(float64(r.Max.X)*sx)), int(math.Ceil(float64(r.Max.Y)*sy))).Add(b.Min).Intersect(b)
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
	return max(math.Abs(float64(px[0])-c[0]), math.Abs(float64(px[1])-c[1]), math.Abs(float64(px[2])-c[2]))
}

// framePixel is a pixel of the frame and its distance from the fit so far.
type framePixel struct {
	x, y, off float64
	px        []uint8
}

// foreground marks the pixels that are not the ground, or returns nil where there
// is no plain ground.
func foreground(m *RGB) []bool {
	// Places are in [-1,1], so that the sums below are of one size.
	px := func(x int) float64 { return 2*float64(x)/float64(max(1, m.Width-1)) - 1 }
	py := func(y int) float64 { return 2*float64(y)/float64(max(1, m.Height-1)) - 1 }
	var frame []framePixel
	for y := range m.Height {
		row := m.row(y)
		for x := range m.Width {
			if min(x, y, m.Width-1-x, m.Height-1-y) < borderWidth {
				frame = append(frame, framePixel{x: px(x), y: py(y), px: row[4*x : 4*x+3]})
			}
		}
	}
	ground, middle := fitGround(frame)
	deviation := 1.4826 * middle // of a normal distribution with this median distance
	if deviation > mostNoise {
		return nil
	}
	step := max(leastStep, noisySteps*deviation)
	mask, seen := make([]bool, m.Width*m.Height), 0
	for y := range m.Height {
		row := m.row(y)
		for x := range m.Width {
			if ground.differs(row[4*x:4*x+3], px(x), py(y)) > step {
				mask[y*m.Width+x] = true
				seen++
			}
		}
	}
	if seen == 0 {
		return nil
	}
	return mask
}

// fitGround fits a plane to the frame by least squares, five times over, each time
// to the half and more of the samples that the last fit suits best. It returns the
// median distance too.
func fitGround(frame []framePixel) (p plane, middle float64) {
	for k := range p { // the median colour is where it starts
		values := make([]uint8, len(frame))
		for i, s := range frame {
			values[i] = s.px[k]
		}
		slices.Sort(values)
		p[k][0] = float64(values[len(values)/2])
	}
	off := make([]float64, len(frame))
	for round := 0; ; round++ {
		for i := range frame {
			frame[i].off = p.differs(frame[i].px, frame[i].x, frame[i].y)
			off[i] = frame[i].off
		}
		slices.Sort(off)
		middle = off[len(off)/2]
		if round == 5 {
			return p, middle
		}
		near := max(6, 2*middle)
		var moments [3][3]float64
		var sums [3][3]float64
		for _, s := range frame {
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

// solve3 solves a x = b by Cramer's rule. ok is false where a is singular, as it is
// for a picture of one row.
func solve3(a [3][3]float64, b [3]float64) (x [3]float64, ok bool) {
	det := func(m [3][3]float64) float64 {
		return m[0][0]*(m[1][1]*m[2][2]-m[1][2]*m[2][1]) - m[0][1]*(m[1][0]*m[2][2]-m[1][2]*m[2][0]) + m[0][2]*(m[1][0]*m[2][1]-m[1][1]*m[2][0])
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

// belongsTo reports whether a part is a fragment of a larger one: mostly inside its
// box, or small and near.
func (p part) belongsTo(w part) bool {
	in := p.box.Intersect(w.box)
	return 2*in.Dx()*in.Dy() > p.box.Dx()*p.box.Dy() ||
		float64(p.longer()) < fragmentPart*float64(w.longer()) && p.box.Inset(-fragmentGap).Overlaps(w.box)
}

// things are the parts that stand for themselves: fragments are joined to what they
// belong to, specks are dropped.
func things(parts []part, most int) []image.Rectangle {
	for joined := true; joined; { // what has grown may reach more
		slices.SortStableFunc(parts, func(a, b part) int { return cmp.Compare(b.longer(), a.longer()) })
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
		return float64(p.longer()) < max(leastThing, least)
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

// CropSquare cuts out a box of a picture with a margin, of its longer side, on
// every side: a square about the box's middle, moved where it would reach over the
// picture's edge, and cut where it is larger than the picture.
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
