package ops

import (
	"context"
	"runtime"
	"unsafe"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// weights are a constant matrix of floats [K,N] on the right of products, packed in the form that
// the precision asks for.
type weights struct {
	K, N   int
	floats *kernel.Matrix // in float32, float16 or bfloat16

	// In 8 bits, where floats is nil: a step for each column.
	bytes *kernel.ByteMatrix
	steps []float32
}

// Packs holds packed matrices while graphs are planned, so that the two branches of an If that read
// the same weights share them.
type Packs map[packKey]*weights

type packKey struct {
	weights          *tensor.Tensor
	transposed, head bool
}

// packed packs a constant matrix, transposed if asked, once when a graph is opened. It returns nil
// if the input is no constant float matrix; otherwise the kernel does not get the input again.
func (n *Node) packed(i int, transposed bool) *weights {
	if i >= len(n.Const) || n.Const[i] == nil || n.Const[i].Rank() != 2 || n.Const[i].Len() == 0 {
		return nil
	}
	w := n.Const[i]
	if w.DType() != tensor.Float32 && !isNarrow(w) {
		return nil
	}
	defer n.drop(i)
	key := packKey{w, transposed, n.Head}
	p := n.Packs[key]
	if p == nil {
		p = n.pack(w, transposed)
		if n.Packs != nil {
			n.Packs[key] = p
		}
	}
	return p
}

// pack packs a matrix of floats.
func (n *Node) pack(w *tensor.Tensor, transposed bool) *weights {
	p := &weights{K: w.Dim(0), N: w.Dim(1)}
	if transposed {
		p.K, p.N = p.N, p.K
	}
	x := NewContext(context.Background(), runtime.GOMAXPROCS(0), nil)
	switch {
	case n.Precision.Exact():
		p.floats = packFloats(x, w, p.K, p.N, transposed)
	case n.Precision == engine.PrecisionInt8 && !n.Head:
		p.packBytes(x, singles(w), transposed)
	default:
		p.floats = kernel.NewBF16Matrix(p.K, p.N, n.Head)
		fillMatrix(x, p.floats, singles(w), transposed)
	}
	return p
}

// packFloats packs a matrix without loss. Weights that are float16, or lose nothing by it, are kept
// as float16 where products with those are as quick.
func packFloats(x *Context, w *tensor.Tensor, k, cols int, transposed bool) *kernel.Matrix {
	if w.DType() == tensor.Float16 && kernel.HasHalf() {
		m := kernel.NewHalfMatrix(k, cols)
		d := tensor.Data[tensor.Half](w)
		halves := unsafe.Slice((*uint16)(unsafe.Pointer(&d[0])), len(d))
		x.Parallel(m.Panels(), max(1, minWork/(16*m.K+1)), func(lo, hi int) {
			if transposed {
				m.FillHalvesTransposed(halves, m.K, lo, hi)
			} else {
				m.FillHalves(halves, m.N, lo, hi)
			}
		})
		return m
	}
	values := w.Float32s()
	var m *kernel.Matrix
	if kernel.HasHalf() && kernel.Exact(values) {
		m = kernel.NewHalfMatrix(k, cols)
	} else {
		m = kernel.NewMatrix(nil, k, cols)
	}
	fillMatrix(x, m, values, transposed)
	return m
}

// packBytes quantises and packs a matrix.
func (w *weights) packBytes(x *Context, values []float32, transposed bool) {
	w.bytes, w.steps = kernel.NewByteMatrix(w.K, w.N), make([]float32, w.N)
	w.bytes.SetZeros([]int32{0}, 0x80)
	ldb := w.N
	if transposed {
		ldb = w.K
	}
	x.Parallel(w.bytes.Panels(), max(1, minWork/(64*w.K)), func(lo, hi int) {
		w.bytes.FillFloats(values, ldb, transposed, w.steps, lo, hi)
	})
}

// multiply sets dst [rows,N] to a [rows,K] times w, on all cores.
func (w *weights) multiply(x *Context, dst []float32, a *tensor.Tensor, rows int, e *kernel.Epilogue) error {
	if w.floats != nil {
		left, err := x.left(w.floats, a, rows)
		if err != nil {
			return err
		}
		return mulLeft(x, w.floats, dst, tensor.Data[float32](a), left, rows, e)
	}
	left, err := x.leftBytes(w.bytes, a, rows)
	if err != nil {
		return err
	}
	byColumn := &kernel.ByteEpilogue{Scale: w.steps}
	return bytePieces(x, w.bytes, rows, func(r0, r1, p0, p1 int) {
		w.bytes.MultiplyFloat(dst[r0*w.N:r1*w.N], w.N, left.rows, r0, r1, p0, p1, byColumn)
		c0, c1 := p0*kernel.PanelWidth, min(p1*kernel.PanelWidth, w.N)
		for r := r0; r < r1; r++ {
			kernel.Scale(dst[r*w.N+c0:r*w.N+c1], dst[r*w.N+c0:r*w.N+c1], left.steps[r])
		}
		if e != nil {
			e.Apply(dst, w.N, r0, r1, c0, c1)
		}
	})
}
