package vision

// Seen returns the part of a picture of width by height pixels that the model
// sees: all of it where it is stretched, the middle where a crop cuts the edges
// off. Where a crop pads, it reaches beyond 0 to 1.
func (p *Preprocessor) Seen(width, height int) Region {
	if width <= 0 || height <= 0 {
		return Region{0, 0, 1, 1}
	}
	l := p.layout(width, height)
	w, h := float32(max(l.w, 1)), float32(max(l.h, 1))
	x, y := float32(l.win.Min.X-l.offset.X), float32(l.win.Min.Y-l.offset.Y)
	return Region{x / w, y / h, (x + float32(l.out.X)) / w, (y + float32(l.out.Y)) / h}
}
