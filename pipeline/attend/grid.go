package attend

import (
	"fmt"
	"image"
	"math"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
)

// cell is the part of the picture that a token stands for: a cell of a grid over the picture. The
// zero value is a token without one, such as a class token.
type cell struct {
	row, col   int
	rows, cols int // of the grid
}

// spread adds weight to the entries of a rows*cols map m that the cell covers, by area, and returns
// the weight added: 0 for the zero cell.
func (p cell) spread(m []float64, rows, cols int, weight float64) float64 {
	if p.rows == 0 {
		return 0
	}
	// overlap returns the share of interval at, of parts on a side, that lies in interval i of n.
	overlap := func(i, n, at, parts int) float64 {
		low, high := float64(at)/float64(parts), float64(at+1)/float64(parts)
		l, h := float64(i)/float64(n), float64(i+1)/float64(n)
		return max(0, min(high, h)-max(low, l)) * float64(parts)
	}
	for r := p.row * rows / p.rows; r < rows && r*p.rows < (p.row+1)*rows; r++ {
		down := weight * overlap(r, rows, p.row, p.rows)
		for c := p.col * cols / p.cols; c < cols && c*p.cols < (p.col+1)*cols; c++ {
			m[r*cols+c] += down * overlap(c, cols, p.col, p.cols)
		}
	}
	return weight
}

// Patches is the key "patches" of xpipe.json: the cells that a picture's tokens stand for.
type Patches struct {
	Before int      `json:"before"` // tokens without a cell, before the grids
	Grids  [][2]int `json:"grids"`  // rows and columns of each; later tokens have no cell
	Passed int      `json:"passed"` // how many last tokens pass a Q-Former beside its queries
}

// PatchesOf returns the patches of a bundle's xpipe.json; nil where it has none.
func PatchesOf(bundle *models.Bundle) (*Patches, error) {
	var manifest struct {
		Patches *Patches `json:"patches"`
	}
	err := bundle.JSON(models.ManifestName, &manifest)
	return manifest.Patches, err
}

// SetGrids assigns cells to the n tokens of a picture: those of own, its columns and rows of patches
// where they follow its shape, those of "patches" in xpipe.json, or else a square grid, with or without
// a class token before it. Tokens that fit none give an error that wraps graph.ErrBundle.
func (a *Attention) SetGrids(bundle *models.Bundle, n int, own image.Point) error {
	p, err := PatchesOf(bundle)
	if err != nil {
		return err
	}
	before, grids := 0, [][2]int(nil)
	if own != (image.Point{}) {
		grids = [][2]int{{own.Y, own.X}}
	} else if p != nil && len(p.Grids) > 0 {
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
		sane := before >= 0 && before <= n && min(rows, cols) > 0 && max(rows, cols) <= n
		if !sane || at+rows*cols > n {
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
		return fmt.Errorf("%w: %d tokens of a picture are no square grid; %s can say what they "+
			`stand for: "patches": {"before": 1, "grids": [[16, 16]]}`,
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
