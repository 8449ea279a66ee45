package reading

import (
	"context"
	"math"
	"slices"

	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
	"github.com/crossattn/xpipe/vision/geometry"
)

// strip is the picture of a line, cut out of its page, and what is read on it.
type strip struct {
	region
	picture *vision.RGB
	upended bool // it was turned by 90 degrees: it runs down the page
	turned  bool // it was turned by 180 degrees
	reading      // of it
}

// newStrip cuts a line out of a page, and lays one that stands down.
func newStrip(page *vision.RGB, r region) *strip {
	w, h := r.quad.Sides()
	s := &strip{region: r, picture: geometry.Crop(page, r.quad, w, h)}
	if s.picture == nil { // without area; it reads as nothing
		s.picture = vision.NewRGB(max(w, 1), max(h, 1))
	}
	if float64(h)/float64(w) >= 1.5 {
		s.picture, s.upended = geometry.TurnLeft(s.picture), true
	}
	return s
}

// ratio is the width of a strip by its height.
func (s *strip) ratio() float64 { return float64(s.picture.Width) / float64(s.picture.Height) }

// lineHeight is that of the strips that graphs get, in pixels.
const lineHeight = 48

// width returns that of the strip at lineHeight.
func (s *strip) width() int { return int(math.Ceil(lineHeight * s.ratio())) }

// put writes a picture as one of a batch of three planes, w wide, with zeros to its right. It is
// squeezed where it is wider.
func put(dst []float32, w int, img *vision.RGB, wide int) {
	seen := geometry.Resize(img, min(wide, w), lineHeight)
	for y := range lineHeight {
		planes(dst[y*w:], lineHeight*w, seen.Pix[y*seen.Stride:][:4*seen.Width], &lineValues)
	}
}

// Lines of these ratios tell their direction: shorter ones say too little, and longer ones have to
// be cut to what the classifier sees without squeezing.
const (
	leastTelling = 2
	mostTelling  = 15
	directWidth  = 192 // pixels that the classifier sees
	voters       = 32  // lines that are asked, at most
)

// turn turns the strips by 180 degrees where the page stands on its head: lines vote by their
// widths, those that run across the page and those that run down it each for themselves. One line's
// answer alone would turn long lines and narrow cells that stand upright.
func (r *Reader) turn(ctx context.Context, strips []*strip) error {
	if r.Direct == nil {
		return nil
	}
	for _, upended := range []bool{false, true} {
		var group []*strip
		for _, s := range strips {
			if s.upended == upended {
				group = append(group, s)
			}
		}
		turned, err := r.onHead(ctx, group)
		if err != nil {
			return err
		}
		for _, s := range group {
			if turned {
				s.picture, s.turned = geometry.TurnOver(s.picture), true
			}
		}
	}
	return nil
}

// onHead reports whether most of the strips, by their widths, stand on their head.
func (r *Reader) onHead(ctx context.Context, strips []*strip) (bool, error) {
	var telling []*strip
	for _, s := range strips {
		if s.ratio() >= leastTelling {
			telling = append(telling, s)
		}
	}
	if len(telling) > voters { // evenly over the page
		some := make([]*strip, voters)
		for i := range some {
			some[i] = telling[i*len(telling)/voters]
		}
		telling = some
	}
	var all, turned float64
	for batch := range slices.Chunk(telling, batchSize) {
		pixels := make([]float32, len(batch)*3*lineHeight*directWidth)
		for i, s := range batch {
			img, wide := s.picture, s.width()
			if s.ratio() > mostTelling {
				// The first part, as wide as the classifier sees.
				w := max(img.Height*directWidth/lineHeight, 1)
				img = &vision.RGB{Pix: img.Pix, Stride: img.Stride, Width: w, Height: img.Height}
				wide = directWidth
			}
			put(pixels[i*3*lineHeight*directWidth:], directWidth, img, wide)
		}
		in, err := tensor.New([]int{len(batch), 3, lineHeight, directWidth}, pixels)
		if err != nil {
			return false, err
		}
		out, err := r.Direct(ctx, in)
		if err != nil {
			return false, err
		}
		if err := graph.CheckOutput("the directions", out, len(batch), 2); err != nil {
			return false, err
		}
		for i, p := range tensor.Data[float32](out) {
			if i%2 == 0 {
				continue
			}
			w := float64(min(batch[i/2].picture.Width, mostTelling*batch[i/2].picture.Height))
			all += w
			if p > 0.5 {
				turned += w
			}
		}
	}
	return turned > all/2, nil
}

// pageTurn returns by how many degrees clockwise a page has to be turned, as most of its strips do,
// by their widths.
func pageTurn(strips []*strip) int {
	var votes [4]int
	for _, s := range strips {
		votes[s.toUpright()/90] += s.picture.Width
	}
	most := 0
	for i, v := range votes {
		if v > votes[most] {
			most = i
		}
	}
	return 90 * most
}

// toUpright returns by how many degrees clockwise the page has to be turned for the strip to stand
// upright.
func (s *strip) toUpright() (turn int) {
	if s.upended {
		turn = 270 // its picture was turned left
	}
	if s.turned {
		turn += 180
	}
	return turn % 360
}

// angle returns how far the strip's text is turned on the page, in degrees clockwise.
func (s *strip) angle() int { return (360 - s.toUpright()) % 360 }

// part returns the quadrilateral of a part of a strip, from and to in units of its width, on the page.
func (s *strip) part(from, to float64) geometry.Quad {
	if s.turned {
		from, to = 1-to, 1-from
	}
	between := func(a, b geometry.Point, t float64) geometry.Point {
		return geometry.Point{X: a.X + (b.X-a.X)*t, Y: a.Y + (b.Y-a.Y)*t}
	}
	q := s.quad
	if s.upended {
		return geometry.Quad{
			between(q[0], q[3], from), between(q[1], q[2], from), between(q[1], q[2], to), between(q[0], q[3], to),
		}
	}
	return geometry.Quad{
		between(q[0], q[1], from), between(q[0], q[1], to), between(q[3], q[2], to), between(q[3], q[2], from),
	}
}
