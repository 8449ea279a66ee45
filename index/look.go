package index

import "github.com/crossattn/xpipe/vision"

// A picture's look is 64 bits that stay nearly the same when it is scaled, compressed again or made
// lighter: for a grid of 9 by 8 fields, whether each is lighter than the one to its right (dHash).

const (
	lookRows = 8
	lookCols = 9
	// lookSamples bounds the pixels of a field that count, along each side.
	lookSamples = 24
)

func lookOf(m *vision.RGB) (look uint64) {
	if m.Width == 0 || m.Height == 0 {
		return 0
	}
	for row := range lookRows {
		before := 0.0
		for col := range lookCols {
			light := lightOf(m, row, col)
			if col > 0 {
				look <<= 1
				if before > light {
					look |= 1
				}
			}
			before = light
		}
	}
	return look
}

// lightOf is the mean luminance of a field.
func lightOf(m *vision.RGB, row, col int) float64 {
	x0, x1 := col*m.Width/lookCols, max((col+1)*m.Width/lookCols, col*m.Width/lookCols+1)
	y0, y1 := row*m.Height/lookRows, max((row+1)*m.Height/lookRows, row*m.Height/lookRows+1)
	dx, dy := max(1, (x1-x0)/lookSamples), max(1, (y1-y0)/lookSamples)
	sum, n := 0, 0
	for y := min(y0+dy/2, m.Height-1); y < min(y1, m.Height); y += dy {
		line := m.Pix[y*m.Stride:]
		for x := min(x0+dx/2, m.Width-1); x < min(x1, m.Width); x += dx {
			p := line[4*x : 4*x+3]
			sum += 299*int(p[0]) + 587*int(p[1]) + 114*int(p[2])
			n++
		}
	}
	return float64(sum) / float64(max(n, 1))
}
