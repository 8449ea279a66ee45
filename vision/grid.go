package vision

import "image"

// Region is a rectangle in parts of a picture's width and height: left, top,
// right, bottom, each 0 to 1, as LXMERT takes the boxes of regions.
type Region [4]float32

// Grid cuts a picture into rows*cols cells of equal size, give or take a pixel,
// row by row from the top left, and says where each lies. Encoded one by one,
// the cells are regions for models such as LXMERT when no detector is at hand.
// The error wraps ErrImage: a cell must have a pixel.
func Grid(img image.Image, rows, cols int) (cells []*RGB, boxes []Region, err error) {
	m := FromImage(img)
	if rows <= 0 || cols <= 0 || rows > m.Height || cols > m.Width {
		return nil, nil, imageErrorf("a picture of %dx%d pixels cannot be cut into %d rows and %d columns", m.Width, m.Height, rows, cols)
	}
	for r := range rows {
		for c := range cols {
			cell := image.Rect(c*m.Width/cols, r*m.Height/rows, (c+1)*m.Width/cols, (r+1)*m.Height/rows)
			cells = append(cells, m.crop(cell))
			w, h := float32(m.Width), float32(m.Height)
			boxes = append(boxes, Region{float32(cell.Min.X) / w, float32(cell.Min.Y) / h, float32(cell.Max.X) / w, float32(cell.Max.Y) / h})
		}
	}
	return cells, boxes, nil
}
