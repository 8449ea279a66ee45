package vision

import "image"

// Region is a rectangle in parts of a picture's width and height: left, top, right, bottom, each 0
// to 1, as LXMERT takes the boxes of regions.
type Region [4]float32

// Grid returns the cells of a picture of width by height pixels that is cut into rows by cols cells
// of equal size, give or take a pixel: row by row from the top left, in pixels from there. Cells
// without a pixel are left out. They are regions for models such as LXMERT when there is no
// detector.
func Grid(width, height, rows, cols int) []image.Rectangle {
	if width <= 0 || height <= 0 {
		return nil
	}
	var cells []image.Rectangle
	for r := range rows {
		for c := range cols {
			cell := image.Rect(c*width/cols, r*height/rows, (c+1)*width/cols, (r+1)*height/rows)
			if !cell.Empty() {
				cells = append(cells, cell)
			}
		}
	}
	return cells
}
