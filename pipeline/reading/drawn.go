package reading

import (
	"slices"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/vision"
)

// What is drawn on a page beside its text is found by its darkness alone: ink is what is clearly darker
// than the paper around it. Thin, straight and long ink is a ruling line; of what is left, but for text,
// large pieces are figures.

// drawn finds the ruling lines and figures of a page that stands upright and level, around text in
// boxes, whose lines are usually so many pixels high. Boxes are in units of the page's width and height.
func drawn(img *vision.RGB, text []document.Box, usual float64) (rules, figures []document.Box) {
	if img == nil || img.Width < 16 || img.Height < 16 {
		return nil, nil
	}
	w, h := img.Width, img.Height
	ink := inked(img)
	units := func(b rect) document.Box {
		return document.Box{X0: float64(b.x0) / float64(w), Y0: float64(b.y0) / float64(h),
			X1: float64(b.x1) / float64(w), Y1: float64(b.y1) / float64(h)}
	}
	boxes := make([]rect, len(text))
	for i, b := range text {
		boxes[i] = rect{int(b.X0 * float64(w)), int(b.Y0 * float64(h)), int(b.X1*float64(w)) + 1, int(b.Y1*float64(h)) + 1}
	}
	thin := max(int(usual/4), 4)
	least := max(int(1.2*usual), 12)
	level := bars(ink, w, h, least, thin)
	upright := bars(transposed(ink, w, h), h, w, least, thin)
	for i, r := range upright {
		upright[i] = rect{r.y0, r.x0, r.y1, r.x1}
	}
	keep := func(r rect) bool {
		for _, b := range boxes {
			if r.within(b) {
				return false
			}
		}
		return true
	}
	for _, r := range slices.Concat(level, upright) {
		if keep(r) {
			rules = append(rules, units(r))
		}
	}
	for _, r := range pieces(ink, w, h, boxes, slices.Concat(level, upright), usual) {
		figures = append(figures, units(r))
	}
	return rules, figures
}

// rect is a rectangle of whole pixels; x1 and y1 are beyond it.
type rect struct{ x0, y0, x1, y1 int }

func (r rect) union(o rect) rect {
	return rect{min(r.x0, o.x0), min(r.y0, o.y0), max(r.x1, o.x1), max(r.y1, o.y1)}
}

// within reports whether a thin bar is part of a line of text, as long strokes of letters and dashes
// are: in the line's box, but for lines along the box's edges, which are a cell's.
func (r rect) within(b rect) bool {
	const slack = 2
	if r.x0 < b.x0-slack || r.x1 > b.x1+slack || r.y0 < b.y0-slack-(b.y1-b.y0)/4 || r.y1 > b.y1+slack+(b.y1-b.y0)/4 {
		return false
	}
	y := (r.y0 + r.y1) / 2
	edge := (b.y1 - b.y0) / 8
	return r.y1-r.y0 > r.x1-r.x0 || y >= b.y0+edge && y < b.y1-edge
}

// Ink is darker than the paper by so many levels; tiles say how bright that is where light is uneven.
const (
	darker = 24
	tiles  = 8
)

// inked marks the pixels that are ink: one byte each, 0 or 1.
func inked(img *vision.RGB) []uint8 {
	w, h := img.Width, img.Height
	light := make([]uint8, w*h)
	var all [256]int
	var parts [tiles * tiles][256]int
	for y := range h {
		row := img.Pix[y*img.Stride:]
		for x := range w {
			p := row[4*x:]
			v := uint8((299*int(p[0]) + 587*int(p[1]) + 114*int(p[2])) / 1000)
			light[y*w+x] = v
			all[v]++
			parts[y*tiles/h*tiles+x*tiles/w][v]++
		}
	}
	// The paper is as bright as the brighter pixels of a tile, unless a picture covers that.
	page := bright(&all)
	var paper [tiles * tiles]float64
	for i := range parts {
		paper[i] = max(bright(&parts[i]), 0.6*page)
	}
	ink := make([]uint8, w*h)
	limits := make([]float64, w)
	for y := range h {
		v := (float64(y)+0.5)*tiles/float64(h) - 0.5
		for x := range w {
			if x%4 == 0 { // light changes slowly
				limits[x] = between(&paper, (float64(x)+0.5)*tiles/float64(w)-0.5, v) - darker
			} else {
				limits[x] = limits[x-1]
			}
			if float64(light[y*w+x]) < limits[x] {
				ink[y*w+x] = 1
			}
		}
	}
	return ink
}

// bright returns the level below which four fifths of the pixels are.
func bright(levels *[256]int) float64 {
	total := 0
	for _, n := range levels {
		total += n
	}
	above := 0
	for v := 255; v > 0; v-- {
		if above += levels[v]; above*5 >= total {
			return float64(v)
		}
	}
	return 0
}

// between interpolates between the middles of tiles.
func between(paper *[tiles * tiles]float64, x, y float64) float64 {
	x, y = min(max(x, 0), tiles-1), min(max(y, 0), tiles-1)
	x0, y0 := min(int(x), tiles-2), min(int(y), tiles-2)
	dx, dy := x-float64(x0), y-float64(y0)
	at := func(x, y int) float64 { return paper[y*tiles+x] }
	return (at(x0, y0)*(1-dx)+at(x0+1, y0)*dx)*(1-dy) + (at(x0, y0+1)*(1-dx)+at(x0+1, y0+1)*dx)*dy
}

func transposed(mask []uint8, w, h int) []uint8 {
	out := make([]uint8, len(mask))
	for y := range h {
		for x, v := range mask[y*w : y*w+w] {
			if v != 0 {
				out[x*h+y] = 1
			}
		}
	}
	return out
}

// bars finds level bars of ink, at least so long and at most so thick.
func bars(ink []uint8, w, h, least, thick int) (found []rect) {
	type run struct {
		x0, x1 int
		bar    int
	}
	type bar struct {
		rect
		area int
	}
	const most = 20_000 // of a page: what has more is no drawing
	var all []bar
	var before, now []run
	for y := range h {
		now = now[:0]
		row := ink[y*w : y*w+w]
		for x := 0; x < w; {
			if row[x] == 0 {
				x++
				continue
			}
			from := x
			for x < w && (row[x] != 0 || x+1 < w && row[x+1] != 0) { // a gap of a pixel is none
				x++
			}
			if x-from >= least {
				now = append(now, run{from, x, -1})
			}
		}
		for i := range now {
			r := &now[i]
			for _, b := range before {
				both := min(r.x1, b.x1) - max(r.x0, b.x0)
				if both > 0 && 2*both >= min(r.x1-r.x0, b.x1-b.x0) {
					r.bar = b.bar
					break
				}
			}
			if r.bar < 0 {
				if len(all) == most {
					return nil
				}
				r.bar = len(all)
				all = append(all, bar{rect: rect{r.x0, y, r.x1, y + 1}})
			}
			b := &all[r.bar]
			b.rect = b.union(rect{r.x0, y, r.x1, y + 1})
			b.area += r.x1 - r.x0
		}
		before, now = now, before
	}
	for _, b := range all {
		// A bar that runs askew is higher than it is thick.
		if b.area <= thick*(b.x1-b.x0) && b.y1-b.y0 <= 2*thick {
			found = append(found, b.rect)
		}
	}
	return found
}

// pieces finds large connected pieces of ink that are neither text nor ruling lines, on a coarse grid:
// what lies a cell apart is connected.
func pieces(ink []uint8, w, h int, text, rules []rect, usual float64) (found []rect) {
	cell := max(int(usual/3), 4)
	gw, gh := (w+cell-1)/cell, (h+cell-1)/cell
	const (
		empty = iota
		lined // ink, all of it of ruling lines
		inky
	)
	grid := make([]uint8, gw*gh)
	for y := range h {
		for x, v := range ink[y*w : y*w+w] {
			if v != 0 {
				grid[y/cell*gw+x/cell] = inky
			}
		}
	}
	put := func(r rect, v uint8) {
		for y := max(r.y0/cell, 0); y <= min((r.y1-1)/cell, gh-1); y++ {
			for x := max(r.x0/cell, 0); x <= min((r.x1-1)/cell, gw-1); x++ {
				if grid[y*gw+x] != empty {
					grid[y*gw+x] = v
				}
			}
		}
	}
	for _, r := range rules {
		put(r, lined)
	}
	for _, r := range text {
		put(r, empty)
	}
	seen := make([]bool, gw*gh)
	for start, v := range grid {
		if v == empty || seen[start] {
			continue
		}
		box, own := rect{gw, gh, 0, 0}, 0
		stack := []int{start}
		seen[start] = true
		for len(stack) > 0 {
			at := stack[len(stack)-1]
			stack = stack[:len(stack)-1]
			x, y := at%gw, at/gw
			box = box.union(rect{x, y, x + 1, y + 1})
			if grid[at] == inky {
				own++
			}
			for ny := max(y-2, 0); ny <= min(y+2, gh-1); ny++ {
				for nx := max(x-2, 0); nx <= min(x+2, gw-1); nx++ {
					if k := ny*gw + nx; grid[k] != empty && !seen[k] {
						seen[k] = true
						stack = append(stack, k)
					}
				}
			}
		}
		// At least three lines of text high and wide, and not lines alone.
		wide, high := box.x1-box.x0, box.y1-box.y0
		if least := int(3 * usual); wide*cell < least || high*cell < least || own < 12 || own*50 < wide*high {
			continue
		}
		found = append(found, rect{box.x0 * cell, box.y0 * cell, min(box.x1*cell, w), min(box.y1*cell, h)})
	}
	return found
}
