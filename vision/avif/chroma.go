package avif

import "math"

// The decoder repeats the thinned-out chroma of a picture, of which Pillow's libavif interpolates the
// samples in between (libyuv's bilinear filter). As every pixel came from whole numbers by a formula
// that is known, these can be found again; then the pixels are made as Pillow's are.

// matrix is libyuv's way from YCbCr to RGB, in 64ths (YuvConstants of row_common.cc).
type matrix struct{ yg, yb, ub, ug, vg, vr int }

// matrices are BT.601, BT.709 and BT.2020, each of full and of limited range. Which one a file has
// is seen by which one its pixels can have come from.
var matrices = []matrix{
	{16320, 32, 113, 22, 46, 90},
	{18997, -1160, 128, 25, 52, 102},
	{16320, 32, 119, 12, 30, 101},
	{18997, -1160, 128, 14, 34, 115},
	{16320, 32, 120, 11, 37, 94},
	{19003, -1160, 128, 12, 42, 107},
}

// rgb is a colour of a pixel. y, u and v are 0 to 255 each.
type rgb [3]int

func (m *matrix) forward(y, u, v int) rgb {
	y1 := y*0x101*m.yg>>16 + m.yb
	u, v = u-128, v-128
	clamp := func(v int) int { return min(max(v>>6, 0), 255) }
	return rgb{clamp(y1 + v*m.vr), clamp(y1 - u*m.ug - v*m.vg), clamp(y1 + u*m.ub)}
}

// inverse returns the numbers that forward most likely had, of a colour that was not clamped.
func (m *matrix) inverse(c rgb) (y, u, v int) {
	r, g, b := float64(c[0]), float64(c[1]), float64(c[2])
	ug, vg := float64(m.ug)/float64(m.ub), float64(m.vg)/float64(m.vr)
	luma := (g + ug*b + vg*r) / (1 + ug + vg)
	whole := func(v float64) int { return int(min(max(math.Round(v), 0), 255)) }
	return m.luma(luma), whole((b-luma)*64/float64(m.ub) + 128),
		whole((r-luma)*64/float64(m.vr) + 128)
}

// luma is y of the grey of a level.
func (m *matrix) luma(level float64) int {
	y := (level*64 - float64(m.yb-32)) / (float64(m.yg) * 0x101 / 65536)
	return int(min(max(math.Round(y), 0), 255))
}

// bestLuma returns the y with which u and v come nearest to a colour, and how far off that is.
func (m *matrix) bestLuma(c rgb, u, v int) (best, off int) {
	guess, off := 0, math.MaxInt
	// A channel that is not clamped tells the level.
	shift := rgb{(v - 128) * m.vr, -(u-128)*m.ug - (v-128)*m.vg, (u - 128) * m.ub}
	for i, level := range c {
		if level > 0 && level < 255 || i == 2 {
			guess = m.luma(float64(level) - float64(shift[i])/64)
			break
		}
	}
	for y := max(guess-2, 0); y <= min(guess+2, 255); y++ {
		if d := m.forward(y, u, v).distance(c); d < off {
			best, off = y, d
		}
	}
	return best, off
}

func (c rgb) distance(o rgb) (n int) {
	for i := range c {
		n += max(c[i]-o[i], o[i]-c[i])
	}
	return n
}

// clamped reports whether a channel may have been cut off.
func (c rgb) clamped() bool {
	return min(c[0], c[1], c[2]) == 0 || max(c[0], c[1], c[2]) == 255
}

// planes are a picture in YCbCr, the chroma of every sx-th column and sy-th row.
type planes struct {
	w, h, cw, ch, sx, sy int
	y, u, v              []uint8
}

// planesOf finds the planes that px, R G B A, came from; nil if it did not come from any this way.
func (m *matrix) planesOf(px []byte, w, h, sx, sy int) *planes {
	p := &planes{w: w, h: h, cw: (w + sx - 1) / sx, ch: (h + sy - 1) / sy, sx: sx, sy: sy}
	p.y = make([]uint8, w*h)
	p.u, p.v = make([]uint8, p.cw*p.ch), make([]uint8, p.cw*p.ch)
	at := func(x, y int) rgb {
		b := px[4*(y*w+x):]
		return rgb{int(b[0]), int(b[1]), int(b[2])}
	}
	for cy := range p.ch {
		for cx := range p.cw {
			var block []rgb
			for y := cy * sy; y < min(cy*sy+sy, h); y++ {
				for x := cx * sx; x < min(cx*sx+sx, w); x++ {
					block = append(block, at(x, y))
				}
			}
			u, v, ok := m.chroma(block)
			if !ok {
				return nil
			}
			p.u[cy*p.cw+cx], p.v[cy*p.cw+cx] = uint8(u), uint8(v)
			i := 0
			for y := cy * sy; y < min(cy*sy+sy, h); y++ {
				for x := cx * sx; x < min(cx*sx+sx, w); x++ {
					luma, off := m.bestLuma(block[i], u, v)
					if off > 0 && !block[i].clamped() {
						return nil
					}
					p.y[y*w+x] = uint8(luma)
					i++
				}
			}
		}
	}
	return p
}

// chroma finds the u and v that the pixels of a block share. Where all of them are cut off, more than
// one may do: then it takes what is nearest to grey.
func (m *matrix) chroma(block []rgb) (u, v int, ok bool) {
	for _, c := range block {
		if !c.clamped() {
			y, u, v := m.inverse(c)
			return u, v, m.forward(y, u, v) == c
		}
	}
	off := func(u, v int) (sum int) {
		for _, c := range block {
			_, d := m.bestLuma(c, u, v)
			sum += d
		}
		return sum
	}
	bestU, bestV := 128, 128
	best := off(bestU, bestV)
	if best == 0 {
		return bestU, bestV, true
	}
	try := func(u, v int) {
		if u < 0 || u > 255 || v < 0 || v > 255 {
			return
		}
		if d := off(u, v); d < best {
			best, bestU, bestV = d, u, v
		}
	}
	for _, c := range block {
		_, u, v := m.inverse(c)
		try(u, v)
	}
	for step := 16; step > 0 && best > 0; step /= 2 {
		for moved := true; moved && best > 0; {
			u, v, was := bestU, bestV, best
			for _, d := range [8][2]int{{1, 0}, {-1, 0}, {0, 1}, {0, -1}, {1, 1}, {1, -1}, {-1, 1}, {-1, -1}} {
				try(u+d[0]*step, v+d[1]*step)
			}
			moved = best < was
		}
	}
	return bestU, bestV, true
}

// upsampled is the chroma of a plane at a pixel: the nearest sample counts three times in each
// direction; there is none beyond the edges, and none but the nearest at the right one.
func (p *planes) upsampled(plane []uint8, x, y int) int {
	nx, ny := x/p.sx, y/p.sy
	ax, ay := nx, ny
	if p.sx == 2 && x < p.w-1 {
		ax = min(max(nx-1+x%2*2, 0), p.cw-1)
	}
	at := func(x, y int) int { return int(plane[y*p.cw+x]) }
	if p.sy == 1 {
		return (3*at(nx, ny) + at(ax, ny) + 2) >> 2
	}
	ay = min(max(ny-1+y%2*2, 0), p.ch-1)
	return (9*at(nx, ny) + 3*at(ax, ny) + 3*at(nx, ay) + at(ax, ay) + 8) >> 4
}

// interpolate makes the pixels again, with interpolated chroma. They stay as they are where it cannot
// be told what they came from.
func interpolate(px []byte, w, h, sx, sy int) {
	for i := range matrices {
		m := &matrices[i]
		p := m.planesOf(px, w, h, sx, sy)
		if p == nil {
			continue
		}
		for y := range h {
			for x := range w {
				c := m.forward(int(p.y[y*w+x]), p.upsampled(p.u, x, y), p.upsampled(p.v, x, y))
				for k, v := range c {
					px[4*(y*w+x)+k] = uint8(v)
				}
			}
		}
		return
	}
}

// stretchGreys makes the greys of a picture without chroma again, whose range is limited: Pillow has
// libavif round them otherwise (avifLimitedToFullY).
func stretchGreys(px []byte) {
	var table [256]uint8
	for y := 16; y <= 235; y++ {
		table[matrices[1].forward(y, 128, 128)[0]] = uint8(((y-16)*255 + 219/2) / 219)
	}
	for i, v := range px {
		px[i] = table[v]
	}
}
