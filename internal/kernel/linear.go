package kernel

import (
	"context"
	"fmt"
	"runtime"
)

// PieceFlops is the number of floating-point operations of a product that is worth another
// goroutine: 3 to 10 microseconds at 90 to 30 GFLOP/s, against one or two to start it.
const PieceFlops = 1 << 18

// Pieces is a product of rows with a packed matrix, cut so that cores can share it.
type Pieces struct {
	Count int // of pieces
	Cores int // that are worth using; 1 if the product is too small to share

	rows, rowStep, rowParts int
	panels, panelStep       int
}

// Pieces cuts a product of at least one row with m, which has columns, for up to threads cores.
// Pieces share no panels if there are enough of those; else several have the same panels and rows
// of their own.
func (m *Matrix) Pieces(rows, threads int) Pieces {
	p := Pieces{rows: rows, panels: m.Panels()}
	// A few for each core even out their speeds and bound how long a cancelled run goes on.
	want := max(1, min(threads*4, 2*rows*m.K*m.N/PieceFlops))
	if want < threads {
		want = 1
	}
	tileRows, _ := Tile()
	most := 516 // whole tiles of either height, 6 or 12
	p.panelStep = min(blockN, WholeTiles(p.panels/want))
	blocks := 1        // of rows, as equal as can be
	if m.tiled(rows) { // panels come past rows that stay in the second cache, so those are cut first
		tileRows, most = 16, amxBlock
		blocks = (rows + most - 1) / most
		p.panelStep = WholeTiles(p.panels / ((want + blocks - 1) / blocks))
	}
	columns := (p.panels + p.panelStep - 1) / p.panelStep
	p.rowParts = max(blocks, want/columns)
	p.rowStep = min(most, ((rows+p.rowParts-1)/p.rowParts+tileRows-1)/tileRows*tileRows)
	p.rowParts = (rows + p.rowStep - 1) / p.rowStep
	p.Count = columns * p.rowParts
	p.Cores = max(1, min(threads, want, p.Count))
	return p
}

// At returns the rows r0 to r1-1 and the panels p0 to p1-1 of piece i.
func (p *Pieces) At(i int) (r0, r1, p0, p1 int) {
	p0, r0 = i/p.rowParts*p.panelStep, i%p.rowParts*p.rowStep
	return r0, min(p.rows, r0+p.rowStep), p0, min(p.panels, p0+p.panelStep)
}

// Linear is the map y = x W' + b between rows of two widths, as torch.nn.Linear has it, with its
// weights packed. It is safe for concurrent use.
type Linear struct {
	In, Out int
	weight  *Matrix
	bias    []float32
}

// NewLinear packs weight [out,in], row-major, and keeps bias [out], which may be nil for none.
// weight is not used afterwards. Weights that float16 holds exactly take half the memory. The error
// says which size does not fit.
func NewLinear(weight, bias []float32, in, out int) (*Linear, error) {
	if in < 0 || out < 0 || len(weight) != in*out || bias != nil && len(bias) != out {
		return nil, fmt.Errorf("kernel: a linear map from %d to %d has %d weights and %d biases",
			in, out, len(weight), len(bias))
	}
	l := &Linear{In: in, Out: out, bias: bias}
	if HasHalf() && Exact(weight) {
		l.weight = NewHalfMatrix(in, out)
	} else {
		l.weight = NewMatrix(nil, in, out)
	}
	l.weight.FillTransposed(weight, in, 0, l.weight.Panels())
	return l, nil
}

// Apply sets dst [rows,Out] to x [rows,In] mapped, on up to threads cores, 0 for all there are. It
// returns ctx's error, soon after ctx ends and once all work has stopped, and an error if dst or x
// do not hold that many rows.
func (l *Linear) Apply(ctx context.Context, dst, x []float32, rows, threads int) error {
	if rows < 0 || len(dst) != rows*l.Out || len(x) != rows*l.In {
		return fmt.Errorf("kernel: a linear map of %d rows from %d to %d is given %d elements for %d",
			rows, l.In, l.Out, len(x), len(dst))
	}
	if len(dst) == 0 {
		return ctx.Err()
	}
	if threads <= 0 {
		threads = runtime.GOMAXPROCS(0)
	}
	pieces := l.weight.Pieces(rows, threads)
	e := &Epilogue{Bias: l.bias}
	Share(ctx, pieces.Cores, pieces.Count, 1, func(_, lo, hi int) {
		for i := lo; i < hi; i++ {
			r0, r1, p0, p1 := pieces.At(i)
			to, from := dst[r0*l.Out:r1*l.Out], x[r0*l.In:r1*l.In]
			l.weight.Multiply(to, l.Out, from, l.In, r1-r0, p0, p1, false, e)
		}
	})
	return ctx.Err()
}
