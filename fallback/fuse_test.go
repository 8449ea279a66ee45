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

// pattern is a graph from x [batch,7,24] that fusion rewrites; want is a fused
// operator that must appear.
type pattern struct {
	name  string
	want  string
	build func(b *onnx.Builder, r *rand.Rand) string // returns the output
}

func linear(b *onnx.Builder, r *rand.Rand, x string, in, out int) string {
	w := randTensor(r, in, out)
	for i := range tensor.Data[float32](w) {
		tensor.Data[float32](w)[i] /= float32(math.Sqrt(float64(in)))
	}
	y := b.Node("MatMul", []string{x, b.Const(w)}, nil)
	return b.Node("Add", []string{y, b.Const(randTensor(r, out))}, nil)
}

func scalar(b *onnx.Builder, v float32) string { return b.Const(tensor.Scalar(v)) }

func gelu(b *onnx.Builder, x string, halfFirst, multiply bool) string {
	var inner string
	if multiply {
		inner = b.Node("Mul", []string{scalar(b, 1/math.Sqrt2), x}, nil)
	} else {
		inner = b.Node("Div", []string{x, scalar(b, math.Sqrt2)}, nil)
	}
	e := b.Node("Add", []string{b.Node("Erf", []string{inner}, nil), scalar(b, 1)}, nil)
	if halfFirst {
		return b.Node("Mul", []string{b.Node("Mul", []string{x, scalar(b, 0.5)}, nil), e}, nil)
	}
	return b.Node("Mul", []string{b.Node("Mul", []string{e, x}, nil), scalar(b, 0.5)}, nil)
}

func split(b *onnx.Builder, x string, heads, depth int64, perm ...int) string {
	return b.Node("Transpose", []string{b.Node("Reshape", []string{x, b.Ints(0, 0, heads, depth)}, nil)}, onnx.Attrs{"perm": perm})
}

// attention in the ways exporters write it.
func attention(keys string, mask, after bool) func(b *onnx.Builder, r *rand.Rand) string {
	return func(b *onnx.Builder, r *rand.Rand) string {
		q := split(b, linear(b, r, "x", 24, 24), 3, 8, 0, 2, 1, 3)
		v := split(b, linear(b, r, "x", 24, 24), 3, 8, 0, 2, 1, 3)
		k := linear(b, r, "x", 24, 24)
		switch keys {
		case "one transpose":
			k = split(b, k, 3, 8, 0, 2, 3, 1)
		case "two transposes":
			k = b.Node("Transpose", []string{split(b, k, 3, 8, 0, 2, 1, 3)}, onnx.Attrs{"perm": []int{0, 1, 3, 2}})
		case "scaled":
			s := scalar(b, float32(math.Pow(8, -0.25)))
			q = b.Node("Mul", []string{q, s}, nil)
			k = b.Node("Mul", []string{b.Node("Transpose", []string{split(b, k, 3, 8, 0, 2, 1, 3)}, onnx.Attrs{"perm": []int{0, 1, 3, 2}}), s}, nil)
		case "transposed": // by something that is not recognised
			k = b.Node("Abs", []string{split(b, k, 3, 8, 0, 2, 3, 1)}, nil)
		}
		s := b.Node("MatMul", []string{q, k}, nil)
		if keys != "scaled" {
			s = b.Node("Div", []string{s, scalar(b, math.Sqrt2*2)}, nil)
		}
		if mask {
			m := randTensor(r, 1, 1, 7, 7)
			for i := range 7 {
				for j := i + 1; j < 7; j++ {
					tensor.Data[float32](m)[i*7+j] = -math.MaxFloat32
				}
			}
			s = b.Node("Add", []string{s, b.Const(m)}, nil)
			s = b.Node("Add", []string{b.Const(randTensor(r, 1, 3, 1, 1)), s}, nil)
		}
		o := b.Node("MatMul", []string{b.Node("Softmax", []string{s}, onnx.Attrs{"axis": -1}), v}, nil)
		if !after {
			return o
		}
		o = b.Node("Transpose", []string{o}, onnx.Attrs{"perm": []int{0, 2, 1, 3}})
		return linear(b, r, b.Node("Reshape", []string{o, b.Ints(0, 0, 24)}, nil), 24, 24)
	}
}

var patterns = []pattern{
	{"gelu", "Gelu", func(b *onnx.Builder, r *rand.Rand) string { return gelu(b, "x", false, false) }},
	{"gelu, half first", "Gelu", func(b *onnx.Builder, r *rand.Rand) string { return gelu(b, "x", true, true) }},
	{"gelu by tanh", "GeluTanh", func(b *onnx.Builder, r *rand.Rand) string {
		p := b.Node("Mul", []string{b.Node("Pow", []string{"x", scalar(b, 3)}, nil), scalar(b, 0.044715)}, nil)
		u := b.Node("Mul", []string{b.Node("Add", []string{"x", p}, nil), scalar(b, float32(math.Sqrt(2/math.Pi)))}, nil)
		v := b.Node("Add", []string{b.Node("Tanh", []string{u}, nil), scalar(b, 1)}, nil)
		return b.Node("Mul", []string{b.Node("Mul", []string{scalar(b, 0.5), "x"}, nil), v}, nil)
	}},
	{"silu", "Swish", func(b *onnx.Builder, r *rand.Rand) string {
		return b.Node("Mul", []string{"x", b.Node("Sigmoid", []string{"x"}, nil)}, nil)
	}},
	{"quick gelu", "Swish", func(b *onnx.Builder, r *rand.Rand) string {
		s := b.Node("Sigmoid", []string{b.Node("Mul", []string{"x", scalar(b, 1.702)}, nil)}, nil)
		return b.Node("Mul", []string{s, "x"}, nil)
	}},
	{"product, bias, gelu", "MatMul", func(b *onnx.Builder, r *rand.Rand) string { return gelu(b, linear(b, r, "x", 24, 33), true, false) }},
	{"product, bias, relu, residual", "MatMul", func(b *onnx.Builder, r *rand.Rand) string {
		return b.Node("Add", []string{"x", b.Node("Relu", []string{linear(b, r, "x", 24, 24)}, nil)}, nil)
	}},
	{"product, bias, residual", "MatMul", func(b *onnx.Builder, r *rand.Rand) string {
		return b.Node("Add", []string{linear(b, r, "x", 24, 24), "x"}, nil)
	}},
	{"product, broadcast residual", "MatMul", func(b *onnx.Builder, r *rand.Rand) string {
		m := b.Node("MatMul", []string{"x", b.Const(randTensor(r, 24, 24))}, nil)
		return b.Node("Add", []string{m, b.Node("ReduceMax", []string{"x"}, onnx.Attrs{"axes": []int{1}})}, nil)
	}},
	{"gemm", "MatMul", func(b *onnx.Builder, r *rand.Rand) string {
		flat := b.Node("Reshape", []string{"x", b.Ints(-1, 24)}, nil)
		return b.Node("Sigmoid", []string{b.Node("Gemm", []string{flat, b.Const(randTensor(r, 5, 24)), b.Const(randTensor(r, 5))}, onnx.Attrs{"transB": 1})}, nil)
	}},
	{"product used twice", "MatMul", func(b *onnx.Builder, r *rand.Rand) string {
		y := linear(b, r, "x", 24, 24)
		return b.Node("Mul", []string{b.Node("Relu", []string{y}, nil), y}, nil)
	}},
	{"convolution, clip, residual", "Conv", func(b *onnx.Builder, r *rand.Rand) string {
		im := b.Node("Reshape", []string{"x", b.Ints(0, 7, 6, 4)}, nil)
		y := b.Node("Conv", []string{im, b.Const(randTensor(r, 7, 7, 3, 3)), b.Const(randTensor(r, 7))}, onnx.Attrs{"pads": []int{1, 1, 1, 1}})
		y = b.Node("Clip", []string{y, scalar(b, 0), scalar(b, 6)}, nil)
		return b.Node("Add", []string{y, im}, nil)
	}},
	{"depthwise, clip", "Conv", func(b *onnx.Builder, r *rand.Rand) string {
		im := b.Node("Reshape", []string{"x", b.Ints(0, 7, 6, 4)}, nil)
		y := b.Node("Conv", []string{im, b.Const(randTensor(r, 7, 1, 3, 3)), b.Const(randTensor(r, 7))}, onnx.Attrs{"pads": []int{0, 1, 1, 1}, "strides": []int{2, 2}, "group": 7})
		return b.Node("Clip", []string{y, scalar(b, -1), ""}, nil)
	}},
	{"convolution, broadcast sum", "Conv", func(b *onnx.Builder, r *rand.Rand) string {
		im := b.Node("Reshape", []string{"x", b.Ints(0, 7, 6, 4)}, nil)
		y := b.Node("Conv", []string{im, b.Const(randTensor(r, 7, 7, 1, 1))}, nil)
		return b.Node("Add", []string{b.Node("ReduceMax", []string{im}, onnx.Attrs{"axes": []int{2, 3}}), y}, nil)
	}},
	{"attention", "Attention", attention("one transpose", false, true)},
	{"attention, masks", "Attention", attention("two transposes", true, true)},
	{"attention, scaled operands", "Attention", attention("scaled", true, false)},
	{"attention, keys as they are", "Attention", attention("transposed", false, false)},
}

func TestFusion(t *testing.T) {
	ctx := context.Background()
	for _, p := range patterns {
		t.Run(p.name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(11, 12))
			b := onnx.NewBuilder(p.name, 17)
			b.Input("x", tensor.Float32, "batch", 7, 24)
			b.NodeTo("Identity", []string{p.build(b, r)}, []string{"y"}, nil)
			b.Output("y", tensor.Float32)
			b.Model.Graph.Output[0].Type.GetTensorType().Shape = nil
			plain, err := fallback.New().Open(ctx, b.Source(), engine.Options{NoFusion: true})
			if err != nil {
				t.Fatal(err)
			}
			defer plain.Close()
			fused, err := fallback.New().Open(ctx, b.Source(), engine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			defer fused.Close()
			found := fmt.Sprint(fallback.Operators(fused))
			if n := fallback.Operators(fused)["xpipe."+p.want]; n == 0 {
				t.Errorf("no fused %s among %s", p.want, found)
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
			s, err := fallback.New().Open(ctx, b.Source(), engine.Options{NoFusion: plain, Threads: 1 + r.IntN(2)})
			if err != nil {
				t.Fatal(err)
			}
			out, err := s.Run(ctx, map[string]*tensor.Tensor{"x": x})
			if err != nil {
				t.Fatal(err)
			}
			if err := enginetest.Compare(out["y"], want, 1e-5, 2e-5); err != nil {
				t.Fatalf("x %v, w %v, group %d, strides %v, dilations %v, pads %v, unfused %v: %v", xs, ws, group, strides, dilations, pads, plain, err)
			}
			s.Close()
		}
	}
}

// convolution is the definition, in float64.
func convolution(x, w, bias *tensor.Tensor, group int, strides, dilations, pads []int) *tensor.Tensor {
	dims := len(strides)
	shape := []int{x.Dim(0), w.Dim(0)}
	for d := range dims {
		shape = append(shape, (x.Dim(2+d)+pads[d]+pads[dims+d]-(w.Dim(2+d)-1)*dilations[d]-1)/strides[d]+1)
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
				sum += float64(tensor.Data[float32](x)[offset(from, x.Shape())]) * float64(tensor.Data[float32](w)[at[1]*w.Len()/w.Dim(0)+k])
			}
		}
		tensor.Data[float32](y)[o] = float32(sum)
	}
	return y
}
