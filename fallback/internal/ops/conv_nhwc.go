package ops

import (
	"context"
	"runtime"
	"slices"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// nhwcConv is a convolution of images [N,H,W,C] by constant weights, in one group or depthwise.
type nhwcConv struct {
	*window
	group int
	act   activation
	shape []int // of the weights, as the graph has them

	matrix     *kernel.Matrix // weights of one group: [window and channels, M]
	perChannel []float32      // weights of a depthwise one: [blocks of channels, window, block]
	zeros      []float32      // a bias, where the graph has none
}

// newNHWCConv reads the node of a fused convolution and packs its weights. Weights of one group
// stay float32 although other products keep exact ones as float16: each is used for many positions,
// which would convert it again.
func newNHWCConv(n *Node) *nhwcConv {
	k := &nhwcConv{window: newWindow(n), group: n.int("group", 1), act: n.activation()}
	w := n.Const[1]
	if w == nil || w.Rank() != 4 || w.Len() == 0 ||
		w.DType() != tensor.Float32 && !isNarrow(w) {
		n.fail("the weights are no constant of four dimensions")
		return k
	}
	k.shape = clone(w.Shape())
	m, cg, taps := w.Dim(0), w.Dim(1), w.Dim(2)*w.Dim(3)
	k.zeros = make([]float32, m)
	values := singles(w)
	switch {
	case k.group == 1:
		values = windowFirst(values, cg, taps)
		k.matrix = kernel.NewMatrix(nil, cg*taps, m)
		fillMatrix(NewContext(context.Background(), runtime.GOMAXPROCS(0), nil), k.matrix,
			values, true)
	case k.group == m && cg == 1:
		const block = kernel.Block
		k.perChannel = make([]float32, (m+block-1)/block*taps*block)
		for c := range m {
			for t := range taps {
				k.perChannel[(c/block*taps+t)*block+c%block] = values[c*taps+t]
			}
		}
	default:
		n.fail("a convolution of %v in %d groups has no form with channels last", w, k.group)
	}
	n.drop(1)
	return k
}

// singles returns a tensor's numbers as float32.
func singles(t *tensor.Tensor) []float32 {
	if t.DType() != tensor.Float16 {
		return t.Float32s()
	}
	v := make([]float32, t.Len())
	kernel.FromHalf(v, as[uint16](tensor.Data[tensor.Half](t)))
	return v
}

// windowFirst turns weights [M, channels, window] to [M, window, channels], the order in which
// windows of NHWC images are gathered.
func windowFirst[T any](values []T, channels, taps int) []T {
	if taps == 1 {
		return values
	}
	turned := make([]T, len(values))
	for row := 0; row < len(values); row += channels * taps {
		transposeInto(turned[row:], values[row:row+channels*taps], channels, taps)
	}
	return turned
}

// on plans the convolution of an input of shape [N,H,W,C].
func (k *nhwcConv) on(s []int) (*convolution, error) {
	if len(s) != 4 {
		return nil, graphErr("a convolution of %v by %v", s, k.shape)
	}
	return planConv(k.window, k.group, []int{s[0], s[3], s[1], s[2]}, k.shape)
}

// result is the shape of the output.
func (c *convolution) result() []int { return []int{c.n, c.out[2], c.out[3], c.m} }

// epilogue adds the bias, zeros if it is nil, and activates.
func (k *nhwcConv) epilogue(bias *tensor.Tensor) (*kernel.Epilogue, error) {
	e := k.act.epilogue()
	e.Bias = k.zeros
	if bias != nil {
		if bias.Len() != len(k.zeros) {
			return nil, graphErr("a convolution to %d channels with bias %v", len(k.zeros), bias)
		}
		e.Bias = tensor.Data[float32](bias)
	}
	return e, nil
}

// allFloat checks that the inputs which the node has are float32.
func allFloat(op string, in []*tensor.Tensor) error {
	for _, t := range in {
		if t != nil && t.DType() != tensor.Float32 {
			return typeErr(op, t)
		}
	}
	return nil
}

// buildConvNHWC is Conv(X, W, B), activated, + residual, of images [N,H,W,C].
func buildConvNHWC(n *Node) Kernel {
	k := newNHWCConv(n)
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		if err := allFloat(n.Op, in); err != nil {
			return err
		}
		c, err := k.on(in[0].Shape())
		if err != nil {
			return err
		}
		e, err := k.epilogue(input(in, 2))
		if err != nil {
			return err
		}
		return withResidual(x, c.result(), input(in, 3), e, out, func(dst []float32) error {
			src := tensor.Data[float32](in[0])
			if k.perChannel == nil {
				return k.dense(x, c, dst, src, e)
			}
			return k.depthwise(x, c, dst, src, e)
		})
	})
}

// withResidual allocates the result, has run compute it, and adds a tensor: within e if it has the
// same shape, else afterwards.
func withResidual(x *Context, shape []int, added *tensor.Tensor, e *kernel.Epilogue,
	out []*tensor.Tensor, run func(dst []float32) error) error {
	r, dst, err := alloc[float32](x, shape)
	out[0] = r
	if err != nil || len(dst) == 0 {
		return err
	}
	if added != nil && slices.Equal(added.Shape(), shape) {
		e.Residual, added = tensor.Data[float32](added), nil
	}
	if err := run(dst); err != nil || added == nil {
		return err
	}
	out[0], err = binary(x, r, added, kernel.Add)
	return err
}

// plain reports whether the window covers exactly one position of the input at each output
// position, so that the input needs no gathering.
func (c *convolution) plain() bool {
	return prod(c.kernel) == 1 && prod(c.strides) == 1 && slices.Equal(c.in, c.out[2:]) &&
		c.before[0] == 0 && c.before[1] == 0
}

// cacheFloats is how many floats, 256 kB, are to stay in the second cache while others pass through
// it. That cache has 256 kB to 2 MB on processors with AVX2.
const cacheFloats = 1 << 16

// dense multiplies rows, one for each position, by the packed weights.
func (k *nhwcConv) dense(x *Context, c *convolution, dst, src []float32, e *kernel.Epilogue) error {
	rows, depth := c.n*c.out[2]*c.out[3], k.matrix.K
	if c.plain() {
		return tall(x, k.matrix, dst, src, rows, e)
	}
	if depth*c.m > cacheFloats {
		// The weights do not stay in the second cache, so each pass over them should meet many
		// positions: up to 4 MB of gathered ones.
		step := min(rows, max(4*tileRows, (1<<20)/depth))
		_, buf, err := alloc[float32](x, []int{step, depth})
		for r0 := 0; r0 < rows && err == nil; r0 += step {
			r1 := min(rows, r0+step)
			err = x.Parallel(r1-r0, max(1, minWork/depth), func(lo, hi int) {
				c.gather(buf[lo*depth:hi*depth], src, r0+lo, r0+hi)
			})
			if err == nil {
				err = tall(x, k.matrix, dst[r0*c.m:r1*c.m], buf, r1-r0, after(e, r0*c.m))
			}
		}
		return err
	}
	step := gatherStep(depth)
	pieces := (rows + step - 1) / step
	grain := max(1, minFlops/(2*step*depth*c.m))
	return x.ParallelScratch(pieces, grain, step*depth, func(lo, hi int, buf []float32) {
		for i := lo; i < hi; i++ {
			r0, r1 := i*step, min(rows, (i+1)*step)
			c.gather(buf, src, r0, r1)
			k.matrix.Pointwise(dst[r0*c.m:r1*c.m], c.m, kernel.Block, buf, depth, r1-r0,
				0, k.matrix.Panels(), after(e, r0*c.m))
		}
	})
}

// gatherStep returns how many positions to gather at a time: 64 kB of them, in whole tiles, a
// quarter of what is to stay in the second cache.
func gatherStep(depth int) int { return tileRows * max(4, (1<<14)/(tileRows*depth)) }

// tileRows is a number of rows that fills tiles of both micro-kernels, of 6 and of 12 rows.
const tileRows = 12

// after returns e for results from the given element on.
func after(e *kernel.Epilogue, from int) *kernel.Epilogue {
	if e == nil || e.Residual == nil || from == 0 {
		return e
	}
	moved := *e
	moved.Residual = e.Residual[from:]
	return &moved
}

// tall sets dst [rows,N] to a [rows,K] times w if there are many more rows than columns. Cores
// share the work by tiles of rows, or by panels if there are few tiles.
func tall(x *Context, w *kernel.Matrix, dst, a []float32, rows int, e *kernel.Epilogue) error {
	tiles, panels := (rows+tileRows-1)/tileRows, w.Panels()
	if x.Threads() == 1 || tiles >= 8*x.Threads() || panels < 4*x.Threads() {
		// Rows that stay in the second cache while panels pass.
		step := tileRows * max(4, cacheFloats/2/(tileRows*w.K))
		return x.Parallel(tiles, max(1, minFlops/(2*tileRows*w.K*w.N)), func(lo, hi int) {
			for r0 := lo * tileRows; r0 < min(rows, hi*tileRows); r0 += step {
				r1 := min(rows, hi*tileRows, r0+step)
				w.Pointwise(dst[r0*w.N:r1*w.N], w.N, kernel.Block, a[r0*w.K:r1*w.K], w.K, r1-r0,
					0, panels, after(e, r0*w.N))
			}
		})
	}
	return x.Parallel(panels, max(1, minFlops/(2*kernel.PanelWidth*rows*w.K)), func(lo, hi int) {
		w.Pointwise(dst, w.N, kernel.Block, a, w.K, rows, lo, hi, e)
	})
}

// gather copies what the window covers at positions r0..r1 to dst, a row for each position:
// elements of the window, and the channels of each.
func (c *convolution) gather(dst, src []float32, r0, r1 int) {
	h, w, oh, ow := c.in[0], c.in[1], c.out[2], c.out[3]
	kh, kw, dilated := c.kernel[0], c.kernel[1], c.dilations[1]
	line := kw * c.c
	for r := r0; r < r1; {
		// Positions of one row of the image.
		n, y, x := r/(oh*ow), r/ow%oh*c.strides[0]-c.before[0], r%ow
		count := min(r1-r, ow-x)
		for ky := range kh {
			at := y + ky*c.dilations[0]
			var from []float32
			if at >= 0 && at < h {
				from = src[(n*h+at)*w*c.c : (n*h+at+1)*w*c.c]
			}
			for i := range count {
				to := dst[((r-r0+i)*kh+ky)*line:][:line]
				left := (x+i)*c.strides[1] - c.before[1]
				switch {
				case from == nil:
					clear(to)
				case dilated == 1 && left >= 0 && left+kw <= w:
					if line == 9 { // usually three colours: quicker than a call
						*(*[9]float32)(to) = *(*[9]float32)(from[left*c.c:])
					} else {
						copy(to, from[left*c.c:])
					}
				default:
					first, end := inside(left, dilated, kw, w)
					clear(to)
					for kx := first; kx < end; kx++ {
						copy(to[kx*c.c:(kx+1)*c.c], from[(left+kx*dilated)*c.c:])
					}
				}
			}
		}
		r += count
	}
}
