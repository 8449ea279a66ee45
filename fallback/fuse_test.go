package fallback_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

func randTensor(r *rand.Rand, shape ...int) *tensor.Tensor {
	t := tensor.Must(tensor.Zeros(tensor.Float32, shape...))
	for i := range t.Len() {
		tensor.Data[float32](t)[i] = float32(r.NormFloat64())
	}
	return t
}

// pattern is a graph from x [batch,7,24] that fusion rewrites; want is a fused operator that must
// appear, gone one that must not be left.
type pattern struct {
	name  string
	want  string
	gone  string
	build build
}

// build adds nodes that begin at x, and returns the output.
type build = func(b *onnx.Builder, r *rand.Rand) string

func linear(b *onnx.Builder, r *rand.Rand, x string, in, out int) string {
	w := randTensor(r, in, out)
	for i := range tensor.Data[float32](w) {
		tensor.Data[float32](w)[i] /= float32(math.Sqrt(float64(in)))
	}
	y := do(b, "MatMul", x, b.Const(w))
	return do(b, "Add", y, b.Const(randTensor(r, out)))
}

// open opens a built graph for as long as the test runs.
func open(t *testing.T, b *onnx.Builder, opts engine.Options) engine.Session {
	t.Helper()
	s, err := fallback.New().Open(t.Context(), b.Source(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// do adds a node without attributes.
func do(b *onnx.Builder, op string, in ...string) string { return b.Node(op, in, nil) }

// transpose adds a transposition by perm.
func transpose(b *onnx.Builder, x string, perm ...int) string {
	return b.Node("Transpose", []string{x}, onnx.Attrs{"perm": perm})
}

func scalar(b *onnx.Builder, v float32) string { return b.Const(tensor.Scalar(v)) }

func gelu(b *onnx.Builder, x string, halfFirst, multiply bool) string {
	var inner string
	if multiply {
		inner = do(b, "Mul", scalar(b, 1/math.Sqrt2), x)
	} else {
		inner = do(b, "Div", x, scalar(b, math.Sqrt2))
	}
	e := do(b, "Add", do(b, "Erf", inner), scalar(b, 1))
	if halfFirst {
		return do(b, "Mul", do(b, "Mul", x, scalar(b, 0.5)), e)
	}
	return do(b, "Mul", do(b, "Mul", e, x), scalar(b, 0.5))
}

func split(b *onnx.Builder, x string, heads, depth int64, perm ...int) string {
	return transpose(b, do(b, "Reshape", x, b.Ints(0, 0, heads, depth)), perm...)
}

// attention in the ways exporters write it.
func attention(keys string, mask, after bool) build {
	return func(b *onnx.Builder, r *rand.Rand) string {
		q := split(b, linear(b, r, "x", 24, 24), 3, 8, 0, 2, 1, 3)
		v := split(b, linear(b, r, "x", 24, 24), 3, 8, 0, 2, 1, 3)
		k := linear(b, r, "x", 24, 24)
		switch keys {
		case "one transpose":
			k = split(b, k, 3, 8, 0, 2, 3, 1)
		case "two transposes":
			k = transpose(b, split(b, k, 3, 8, 0, 2, 1, 3), 0, 1, 3, 2)
		case "scaled":
			s := scalar(b, float32(math.Pow(8, -0.25)))
			q = do(b, "Mul", q, s)
			k = do(b, "Mul", transpose(b, split(b, k, 3, 8, 0, 2, 1, 3), 0, 1, 3, 2), s)
		case "transposed": // by something that is not recognised
			k = do(b, "Abs", split(b, k, 3, 8, 0, 2, 3, 1))
		}
		s := do(b, "MatMul", q, k)
		if keys != "scaled" {
			s = do(b, "Div", s, scalar(b, math.Sqrt2*2))
		}
		if mask {
			m := randTensor(r, 1, 1, 7, 7)
			for i := range 7 {
				for j := i + 1; j < 7; j++ {
					tensor.Data[float32](m)[i*7+j] = -math.MaxFloat32
				}
			}
			s = do(b, "Add", s, b.Const(m))
			s = do(b, "Add", b.Const(randTensor(r, 1, 3, 1, 1)), s)
		}
		o := do(b, "MatMul", b.Node("Softmax", []string{s}, onnx.Attrs{"axis": -1}), v)
		if !after {
			return o
		}
		o = transpose(b, o, 0, 2, 1, 3)
		return linear(b, r, do(b, "Reshape", o, b.Ints(0, 0, 24)), 24, 24)
	}
}

var patterns = []pattern{
	{"gelu", "Gelu", "", func(b *onnx.Builder, r *rand.Rand) string {
		return gelu(b, "x", false, false)
	}},
	{"gelu, half first", "Gelu", "", func(b *onnx.Builder, r *rand.Rand) string {
		return gelu(b, "x", true, true)
	}},
	{"gelu by tanh", "GeluTanh", "", func(b *onnx.Builder, r *rand.Rand) string {
		p := do(b, "Mul", do(b, "Pow", "x", scalar(b, 3)), scalar(b, 0.044715))
		u := do(b, "Mul", do(b, "Add", "x", p), scalar(b, float32(math.Sqrt(2/math.Pi))))
		v := do(b, "Add", do(b, "Tanh", u), scalar(b, 1))
		return do(b, "Mul", do(b, "Mul", scalar(b, 0.5), "x"), v)
	}},
	{"silu", "Swish", "", func(b *onnx.Builder, r *rand.Rand) string {
		return do(b, "Mul", "x", do(b, "Sigmoid", "x"))
	}},
	{"quick gelu", "Swish", "", func(b *onnx.Builder, r *rand.Rand) string {
		s := do(b, "Sigmoid", do(b, "Mul", "x", scalar(b, 1.702)))
		return do(b, "Mul", s, "x")
	}},
	{"product, bias, gelu", "MatMul", "", func(b *onnx.Builder, r *rand.Rand) string {
		return gelu(b, linear(b, r, "x", 24, 33), true, false)
	}},
	{"product, bias, relu, residual", "MatMul", "", func(b *onnx.Builder, r *rand.Rand) string {
		return do(b, "Add", "x", do(b, "Relu", linear(b, r, "x", 24, 24)))
	}},
	{"product, bias, residual", "MatMul", "", func(b *onnx.Builder, r *rand.Rand) string {
		return do(b, "Add", linear(b, r, "x", 24, 24), "x")
	}},
	{"product, broadcast residual", "MatMul", "", func(b *onnx.Builder, r *rand.Rand) string {
		m := do(b, "MatMul", "x", b.Const(randTensor(r, 24, 24)))
		return do(b, "Add", m, b.Node("ReduceMax", []string{"x"}, onnx.Attrs{"axes": []int{1}}))
	}},
	{"gemm", "MatMul", "", func(b *onnx.Builder, r *rand.Rand) string {
		flat := do(b, "Reshape", "x", b.Ints(-1, 24))
		in := []string{flat, b.Const(randTensor(r, 5, 24)), b.Const(randTensor(r, 5))}
		return do(b, "Sigmoid", b.Node("Gemm", in, onnx.Attrs{"transB": 1}))
	}},
	{"product used twice", "MatMul", "", func(b *onnx.Builder, r *rand.Rand) string {
		y := linear(b, r, "x", 24, 24)
		return do(b, "Mul", do(b, "Relu", y), y)
	}},
	{"convolution, clip, residual", "Conv", "", func(b *onnx.Builder, r *rand.Rand) string {
		im := do(b, "Reshape", "x", b.Ints(0, 7, 6, 4))
		in := []string{im, b.Const(randTensor(r, 7, 7, 3, 3)), b.Const(randTensor(r, 7))}
		y := b.Node("Conv", in, onnx.Attrs{"pads": []int{1, 1, 1, 1}})
		y = do(b, "Clip", y, scalar(b, 0), scalar(b, 6))
		return do(b, "Add", y, im)
	}},
	{"depthwise, clip", "Conv", "", func(b *onnx.Builder, r *rand.Rand) string {
		im := do(b, "Reshape", "x", b.Ints(0, 7, 6, 4))
		in := []string{im, b.Const(randTensor(r, 7, 1, 3, 3)), b.Const(randTensor(r, 7))}
		y := b.Node("Conv", in,
			onnx.Attrs{"pads": []int{0, 1, 1, 1}, "strides": []int{2, 2}, "group": 7})
		return do(b, "Clip", y, scalar(b, -1), "")
	}},
	{"convolution, broadcast sum", "Conv", "", func(b *onnx.Builder, r *rand.Rand) string {
		im := do(b, "Reshape", "x", b.Ints(0, 7, 6, 4))
		y := do(b, "Conv", im, b.Const(randTensor(r, 7, 7, 1, 1)))
		return do(b, "Add", b.Node("ReduceMax", []string{im}, onnx.Attrs{"axes": []int{2, 3}}), y)
	}},
	{"attention", "Attention", "Transpose", attention("one transpose", false, true)},
	{"attention, masks", "Attention", "Transpose", attention("two transposes", true, true)},
	{"attention, scaled operands", "Attention", "", attention("scaled", true, false)},
	{"attention, keys as they are", "Attention", "", attention("transposed", false, false)},
}

func TestFusion(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	for _, p := range patterns {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(11, 12))
			b := onnx.NewBuilder(p.name, 17)
			b.Input("x", tensor.Float32, "batch", 7, 24)
			b.NodeTo("Identity", []string{p.build(b, r)}, []string{"y"}, nil)
			b.Output("y", tensor.Float32)
			b.Model.Graph.Output[0].Type.GetTensorType().Shape = nil
			plain := open(t, b, engine.Options{NoFusion: true})
			fused := open(t, b, engine.Options{})
			found := fmt.Sprint(fallback.Operators(fused))
			if n := fallback.Operators(fused)["xpipe."+p.want]; n == 0 {
				t.Errorf("no fused %s among %s", p.want, found)
			}
			if n := fallback.Operators(fused)[p.gone]; n != 0 {
				t.Errorf("%d of %s are left in %s", n, p.gone, found)
			}
			for _, batch := range []int{1, 2, 5} {
				in := map[string]*tensor.Tensor{"x": randTensor(r, batch, 7, 24)}
				want, err := plain.Run(ctx, in)
				if err != nil {
					t.Fatal(err)
				}
				got, err := fused.Run(ctx, in)
				if err != nil {
					t.Fatal(err)
				}
				if err := enginetest.Compare(got["y"], want["y"], 1e-5, 1e-5); err != nil {
					t.Errorf("batch %d: %v", batch, err)
				}
			}
		})
	}
}

// TestConvolutions compares the quick forms of convolution with the definition.
func TestConvolutions(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := rand.New(rand.NewPCG(13, 14))
	for i := range 150 {
		group := 1 + r.IntN(4)
		cg, mg := 1+r.IntN(5), 1+r.IntN(9)
		if i%3 == 0 {
			cg, mg = 1, 1 // depthwise
			group = 1 + r.IntN(12)
		}
		dims := 2
		if i%7 == 0 {
			dims = 1 + 2*r.IntN(2)
		}
		xs, ws := []int{1 + r.IntN(3), cg * group}, []int{mg * group, cg}
		var strides, dilations, pads []int
		for range dims {
			k := 1 + r.IntN(5)
			xs, ws = append(xs, k+r.IntN(14)), append(ws, k)
			strides, dilations = append(strides, 1+r.IntN(3)), append(dilations, 1)
			pads = append(pads, r.IntN(3))
		}
		pads = append(pads, pads...)
		if i%5 == 0 {
			for d := range dims {
				dilations[d] = 2
				pads[d], pads[dims+d] = 2*ws[2+d], ws[2+d]
			}
		}
		x, w, bias := randTensor(r, xs...), randTensor(r, ws...), randTensor(r, mg*group)
		b := onnx.NewBuilder("conv", 17)
		var free []any
		for range xs {
			free = append(free, "d")
		}
		b.Input("x", tensor.Float32, free...)
		b.NodeTo("Conv", []string{"x", b.Const(w), b.Const(bias)}, []string{"y"},
			onnx.Attrs{"group": group, "strides": strides, "dilations": dilations, "pads": pads})
		b.Output("y", tensor.Float32, free...)
		want := convolution(x, w, bias, group, strides, dilations, pads)
		for _, plain := range []bool{true, false} {
			s := open(t, b, engine.Options{NoFusion: plain, Threads: 1 + r.IntN(2)})
			out, err := s.Run(ctx, map[string]*tensor.Tensor{"x": x})
			if err != nil {
				t.Fatal(err)
			}
			if err := enginetest.Compare(out["y"], want, 1e-5, 2e-5); err != nil {
				t.Fatalf("x %v, w %v, group %d, strides %v, dilations %v, pads %v, unfused %v: %v",
					xs, ws, group, strides, dilations, pads, plain, err)
			}
			s.Close()
		}
	}
}

// convolution is the definition, in float64.
func convolution(
	x, w, bias *tensor.Tensor, group int, strides, dilations, pads []int,
) *tensor.Tensor {
	dims := len(strides)
	shape := []int{x.Dim(0), w.Dim(0)}
	for d := range dims {
		reach := (w.Dim(2+d)-1)*dilations[d] + 1
		shape = append(shape, (x.Dim(2+d)+pads[d]+pads[dims+d]-reach)/strides[d]+1)
	}
	y := tensor.Must(tensor.Zeros(tensor.Float32, shape...))
	index := func(flat int, shape []int) []int {
		at := make([]int, len(shape))
		for i := len(shape) - 1; i >= 0; i-- {
			at[i] = flat % shape[i]
			flat /= shape[i]
		}
		return at
	}
	offset := func(at, shape []int) int {
		o := 0
		for i, p := range at {
			o = o*shape[i] + p
		}
		return o
	}
	cg, mg := w.Dim(1), w.Dim(0)/group
	for o := range y.Len() {
		at := index(o, shape)
		sum := float64(tensor.Data[float32](bias)[at[1]])
		for k := range w.Len() / w.Dim(0) {
			tap := index(k, w.Shape()[1:])
			from := []int{at[0], at[1]/mg*cg + tap[0]}
			inside := true
			for d := range dims {
				p := at[2+d]*strides[d] + tap[1+d]*dilations[d] - pads[d]
				inside = inside && p >= 0 && p < x.Dim(2+d)
				from = append(from, p)
			}
			if inside {
				a := tensor.Data[float32](x)[offset(from, x.Shape())]
				b := tensor.Data[float32](w)[at[1]*w.Len()/w.Dim(0)+k]
				sum += float64(a) * float64(b)
			}
		}
		tensor.Data[float32](y)[o] = float32(sum)
	}
	return y
}
