package attend

import (
	"fmt"
	"math"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
)

// cell is what a token of the picture stands for: a cell of a grid over the picture, or nothing
// (Rows 0): a class token, a token of the whole.
type cell struct {
	row, col   int
	rows, cols int
}

// spread lays weight over the cells of a rows*cols map that the place covers, by area, and returns
// what it has laid: 0 for no place.
func (p cell) spread(m []float64, rows, cols int, weight float64) float64 {
	if p.rows == 0 {
		return 0
	}
	overlap := func(cell, cells, at, parts int) float64 { // of cell at/parts with cell/cells, in parts of the first
		low, high := float64(at)/float64(parts), float64(at+1)/float64(parts)
		l, h := float64(cell)/float64(cells), float64(cell+1)/float64(cells)
		return max(0, min(high, h)-max(low, l)) * float64(parts)
	}
	for r := p.row * rows / p.rows; r < rows && r*p.rows < (p.row+1)*rows; r++ {
		for c := p.col * cols / p.cols; c < cols && c*p.cols < (p.col+1)*cols; c++ {
			m[r*cols+c] += weight * overlap(r, rows, p.row, p.rows) * overlap(c, cols, p.col, p.cols)
		}
	}
	return weight
}

// Patches is what xpipe.json says of the tokens of a picture.
type Patches struct {
	Before int      `json:"before"` // tokens before the grids that have no place
	Grids  [][2]int `json:"grids"`  // rows and columns of each; what follows has no place
	Passed int      `json:"passed"` // of the last tokens, which pass a Q-Former beside its queries
}

// PatchesOf returns nil where xpipe.json says nothing.
func PatchesOf(bundle *models.Bundle) (*Patches, error) {
	var manifest struct {
		Patches *Patches `json:"patches"`
	}
	err := bundle.JSON(models.ManifestName, &manifest)
	return manifest.Patches, err
}

// SetGrids finds out what the n tokens of a picture stand for: xpipe.json may say so under
// "patches"; else they are a square grid, with or without a class token before it.
func (a *Attention) SetGrids(bundle *models.Bundle, n int) error {
	p, err := PatchesOf(bundle)
	if err != nil {
		return err
	}
	before, grids := 0, [][2]int(nil)
	if p != nil && len(p.Grids) > 0 {
		before, grids = p.Before, p.Grids
	} else if side := int(math.Sqrt(float64(n))); side*side == n {
		grids = [][2]int{{side, side}}
	} else if side = int(math.Sqrt(float64(n - 1))); side*side == n-1 {
		before, grids = 1, [][2]int{{side, side}}
	}
	a.columns = make([]cell, n)
	at := before
	for _, g := range grids {
		rows, cols := g[0], g[1]
		if before < 0 || before > n || rows <= 0 || cols <= 0 || rows > n || cols > n || at+rows*cols > n {
			return fmt.Errorf("%w: %s: patches of %v do not fit %d tokens of a picture",
				graph.ErrBundle, models.ManifestName, grids, n)
		}
		for i := range rows * cols {
			a.columns[at+i] = cell{i / cols, i % cols, rows, cols}
		}
		at += rows * cols
		a.rows, a.cols = max(a.rows, rows), max(a.cols, cols)
	}
	if len(grids) == 0 {
		return fmt.Errorf(`%w: %d tokens of a picture are no square grid; %s can say what they stand for: "patches": {"before": 1, "grids": [[16, 16]]}`,
			graph.ErrBundle, n, models.ManifestName)
	}
	return nil
}

// SetBoxes makes each region a column of its own.
func (a *Attention) SetBoxes(r *vision.Regions) {
	boxes := tensor.Data[float32](r.Boxes)
	n := r.Boxes.Dim(0)
	a.rows, a.cols = 1, n
	for i := range n {
		a.Boxes = append(a.Boxes, vision.Region(boxes[4*i:4*i+4]))
		a.columns = append(a.columns, cell{0, i, 1, n})
	}
}
