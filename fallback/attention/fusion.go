package attention

import (
	"context"
	"math"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// Linear is y = W*x + b.
type Linear struct {
	Weight *tensor.Tensor // float32 [out,in]
	Bias   []float32      // [out]; nil is 0
}

// Apply maps the last dimension of x, float32 [...,in] -> [...,out].
func (l Linear) Apply(x *tensor.Tensor) (*tensor.Tensor, error) {
	w := l.Weight
	if w == nil || w.DType() != tensor.Float32 || w.Rank() != 2 ||
		l.Bias != nil && len(l.Bias) != w.Dim(0) {
		return nil, inputErr("a linear map by %v and %d biases: float32 [out,in] and out are "+
			"needed", w, len(l.Bias))
	}
	if x == nil || x.DType() != tensor.Float32 || x.Rank() == 0 || x.Dim(-1) != w.Dim(1) {
		return nil, inputErr("a linear map %v of %v", w, x)
	}
	out, in := w.Dim(0), w.Dim(1)
	src := tensor.Data[float32](x)
	rows := 1
	for _, d := range x.Shape()[:x.Rank()-1] {
		rows *= d
	}
	dst := make([]float32, rows*out)
	if out > 0 && rows > 0 {
		m := kernel.NewMatrix(nil, in, out)
		m.FillTransposed(tensor.Data[float32](w), in, 0, m.Panels())
		m.Multiply(dst, out, src, in, rows, 0, m.Panels(), false, &kernel.Epilogue{Bias: l.Bias})
	}
	shape := append([]int{}, x.Shape()...)
	shape[len(shape)-1] = out
	return tensor.New(shape, dst)
}

// MultiHead is multi-head attention with its projections (Vaswani et al., 1706.03762, section
// 3.2.2), as torch.nn.MultiheadAttention has it. The key and value projections may be narrower than
// the query's: their heads are then shared by groups of query heads.
type MultiHead struct {
	Heads                     int
	Query, Key, Value, Output Linear
}

// Attend reads context [B,S,C] with the rows of x [B,T,E]: [B,T,E'].
func (m MultiHead) Attend(ctx context.Context, x, context *tensor.Tensor,
	opts ...Option) (*tensor.Tensor, error) {
	q, err := m.Query.Apply(x)
	if err != nil {
		return nil, err
	}
	k, err := m.Key.Apply(context)
	if err != nil {
		return nil, err
	}
	v, err := m.Value.Apply(context)
	if err != nil {
		return nil, err
	}
	if m.Heads <= 0 || q.Rank() != 3 || k.Rank() != 3 || q.Dim(2)%m.Heads != 0 || q.Dim(2) == 0 {
		return nil, inputErr("%d heads of %v and %v: [B,T,E] with E a multiple of the heads is "+
			"needed", m.Heads, x, context)
	}
	depth := q.Dim(2) / m.Heads
	if k.Dim(2)%depth != 0 || k.Dim(2) == 0 || v.Dim(2)%(k.Dim(2)/depth) != 0 {
		return nil, inputErr("queries %v, keys %v and values %v cannot be cut into heads of "+
			"width %d", q, k, v, depth)
	}
	groups := k.Dim(2) / depth
	out, err := Attend(ctx, split(q, m.Heads), split(k, groups), split(v, groups), opts...)
	if err != nil {
		return nil, err
	}
	return m.Output.Apply(join(out))
}

// split turns [B,T,H*D] into [B,H,T,D].
func split(t *tensor.Tensor, heads int) *tensor.Tensor {
	b, n, d := t.Dim(0), t.Dim(1), t.Dim(2)/heads
	return moved(tensor.Data[float32](t), b, n, heads, d)
}

// join turns [B,H,T,D] into [B,T,H*D].
func join(t *tensor.Tensor) *tensor.Tensor {
	b, h, n, d := t.Dim(0), t.Dim(1), t.Dim(2), t.Dim(3)
	x := moved(tensor.Data[float32](t), b, h, n, d)
	return tensor.Must(x.Reshape(b, n, h*d))
}

// moved turns [b,n,m,d] into [b,m,n,d].
func moved(src []float32, b, n, m, d int) *tensor.Tensor {
	dst := make([]float32, 0, len(src))
	for i := range b {
		for k := range m {
			for j := range n {
				at := ((i*n+j)*m + k) * d
				dst = append(dst, src[at:at+d]...)
			}
		}
	}
	return tensor.Must(tensor.New([]int{b, m, n, d}, dst))
}

// Pool is attention pooling: learned probes read a sequence of any length (PMA of the Set
// Transformer, Lee et al., 1810.00825, section 3.2; the head of SigLIP's image encoder,
// 2303.15343). The result does not depend on the order of the sequence.
type Pool struct {
	Probes *tensor.Tensor // float32 [P,E]
	MultiHead
}

// Apply pools x [B,S,C] to [B,P,E'].
func (p Pool) Apply(ctx context.Context, x *tensor.Tensor, opts ...Option) (*tensor.Tensor, error) {
	if p.Probes == nil || p.Probes.DType() != tensor.Float32 || p.Probes.Rank() != 2 || x == nil ||
		x.Rank() != 3 {
		return nil, inputErr("pooling of %v by %v: float32 [B,S,C] and [P,E] are needed",
			x, p.Probes)
	}
	var probes []float32
	for range x.Dim(0) {
		probes = append(probes, tensor.Data[float32](p.Probes)...)
	}
	queries, err := tensor.New([]int{x.Dim(0), p.Probes.Dim(0), p.Probes.Dim(1)}, probes)
	if err != nil {
		return nil, err
	}
	return p.Attend(ctx, queries, x, opts...)
}

// Gated adds y, the result of attention, to x through a gate: x + tanh(gate)*y, in the shape of x
// (Flamingo, Alayrac et al., 2204.14198, section 3.1.2). gate has one element, or one for each of
// the last dimension. A gate of 0 leaves x as it is.
func Gated(x, y *tensor.Tensor, gate []float32) (*tensor.Tensor, error) {
	if err := samePair(x, y); err != nil {
		return nil, err
	}
	if n := x.Dim(-1); len(gate) != 1 && len(gate) != n {
		return nil, inputErr("%d gates for a width of %d", len(gate), n)
	}
	open := make([]float32, len(gate))
	kernel.Tanh(open, gate)
	a, b := tensor.Data[float32](x), tensor.Data[float32](y)
	out := make([]float32, len(a))
	for i := range out {
		out[i] = a[i] + open[i%len(open)]*b[i]
	}
	return tensor.New(x.Shape(), out)
}

// GatedFusion weighs two modalities feature by feature (the gated multimodal unit, Arevalo et al.,
// 1702.01992, section 3.1):
//
//	z = sigmoid(Gate*[v;t])   h = z*tanh(Vision*v) + (1-z)*tanh(Text*t)
type GatedFusion struct{ Gate, Vision, Text Linear }

// Apply fuses v [...,Dv] and t [...,Dt], which have the same leading dimensions.
func (f GatedFusion) Apply(v, t *tensor.Tensor) (*tensor.Tensor, error) {
	z, err := ConcatFusion(f.Gate).Apply(v, t)
	if err != nil {
		return nil, err
	}
	if v, err = f.Vision.Apply(v); err != nil {
		return nil, err
	}
	if t, err = f.Text.Apply(t); err != nil {
		return nil, err
	}
	if err := samePair(v, t); err != nil {
		return nil, err
	}
	if err := samePair(v, z); err != nil {
		return nil, err
	}
	a, b, g := tensor.Data[float32](v), tensor.Data[float32](t), tensor.Data[float32](z)
	kernel.Tanh(a, a)
	kernel.Tanh(b, b)
	kernel.Sigmoid(g, g)
	for i, z := range g {
		a[i] = z*a[i] + (1-z)*b[i]
	}
	return v, nil
}

// ConcatFusion is a linear map of both modalities side by side: W*[v;t] + b.
type ConcatFusion Linear

// Apply fuses v [...,Dv] and t [...,Dt], which have the same leading dimensions.
func (f ConcatFusion) Apply(v, t *tensor.Tensor) (*tensor.Tensor, error) {
	if v == nil || t == nil || v.DType() != tensor.Float32 || t.DType() != tensor.Float32 ||
		v.Rank() == 0 || v.Rank() != t.Rank() {
		return nil, inputErr("fusion of %v and %v", v, t)
	}
	n, m := v.Dim(-1), t.Dim(-1)
	shape := append([]int{}, v.Shape()...)
	shape[len(shape)-1] = n + m
	a, b := tensor.Data[float32](v), tensor.Data[float32](t)
	rows := 1
	for i, d := range v.Shape()[:v.Rank()-1] {
		if t.Dim(i) != d {
			return nil, inputErr("fusion of %v and %v", v, t)
		}
		rows *= d
	}
	both := make([]float32, 0, rows*(n+m))
	for i := range rows {
		both = append(append(both, a[i*n:(i+1)*n]...), b[i*m:(i+1)*m]...)
	}
	x, err := tensor.New(shape, both)
	if err != nil {
		return nil, err
	}
	return Linear(f).Apply(x)
}

func samePair(a, b *tensor.Tensor) error {
	ok := a != nil && b != nil && a.DType() == tensor.Float32 && b.DType() == tensor.Float32 &&
		a.Rank() == b.Rank() && a.Rank() > 0
	for i := 0; ok && i < a.Rank(); i++ {
		ok = a.Dim(i) == b.Dim(i)
	}
	if !ok {
		return inputErr("%v and %v are not float32 of one shape", a, b)
	}
	return nil
}

// Rollout follows attention through the layers of a network (Abnar and Zuidema, 2005.00928, section
// 3): each layer's map, averaged over heads, is mixed with the identity for the residual
// connection, A = rownorm(0.5*M + 0.5*I), and the layers are multiplied, the last on the left. maps
// are [T,T], first layer first, their rows summing to 1; so do the result's.
func Rollout(maps []*tensor.Tensor) (*tensor.Tensor, error) {
	if len(maps) == 0 {
		return nil, inputErr("rollout of no maps")
	}
	n := 0
	var flow []float32
	for l, m := range maps {
		if m == nil || m.DType() != tensor.Float32 || m.Rank() != 2 || m.Dim(0) != m.Dim(1) ||
			l > 0 && m.Dim(0) != n {
			return nil, inputErr("rollout of %v: each map is float32 [T,T]", m)
		}
		n = m.Dim(0)
		layer := make([]float32, n*n)
		for i := range n {
			row := layer[i*n : (i+1)*n]
			kernel.Scale(row, tensor.Data[float32](m)[i*n:(i+1)*n], 0.5)
			row[i] += 0.5
			if sum := kernel.Sum(row); sum > 0 && !math.IsInf(float64(sum), 0) {
				kernel.Scale(row, row, 1/sum)
			}
		}
		if l > 0 {
			product := make([]float32, n*n)
			for i := range n {
				kernel.Combine(product[i*n:(i+1)*n], layer[i*n:(i+1)*n], flow, n)
			}
			layer = product
		}
		flow = layer
	}
	return tensor.New([]int{n, n}, flow)
}

// MeanHeads averages a map [H,T,S] over its heads: [T,S]. Rows that sum to 1 still do.
func MeanHeads(m *tensor.Tensor) (*tensor.Tensor, error) {
	if m == nil || m.DType() != tensor.Float32 || m.Rank() != 3 || m.Dim(0) == 0 {
		return nil, inputErr("a map is float32 [H,T,S], not %v", m)
	}
	size := m.Dim(1) * m.Dim(2)
	mean := make([]float32, size)
	for h := range m.Dim(0) {
		kernel.Axpy(mean, tensor.Data[float32](m)[h*size:(h+1)*size], 1/float32(m.Dim(0)))
	}
	return tensor.New(m.Shape()[1:], mean)
}
