package fallback_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// A constant 8-bit matrix is packed; the results must be those of plain integers, to the last one,
// however many rows are summed.
func TestConstantIntegerMatrix(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	r := rand.New(rand.NewPCG(15, 16))
	for _, k := range []int{1, 5, 257, 258, 259, 1000} {
		n, m := 1+r.IntN(40), 1+r.IntN(12)
		a := tensor.Must(tensor.Zeros(tensor.Uint8, 2, m, k))
		w := tensor.Must(tensor.Zeros(tensor.Int8, k, n))
		for i := range a.Len() {
			tensor.Data[uint8](a)[i] = uint8(r.Uint32())
		}
		for i := range w.Len() {
			tensor.Data[int8](w)[i] = int8(r.Uint32())
		}
		if k == 1000 { // the largest sums there are
			for i := range a.Len() {
				tensor.Data[uint8](a)[i] = 255
			}
			for i := range w.Len() {
				tensor.Data[int8](w)[i] = -128
			}
		}
		zero := tensor.Must(tensor.Zeros(tensor.Int8, n))
		for i := range n {
			tensor.Data[int8](zero)[i] = int8(127 - i)
		}
		in := map[string]*tensor.Tensor{"a": a, "za": tensor.Scalar(uint8(3)), "w": w, "z": zero}
		var results []*tensor.Tensor
		for _, constant := range []bool{true, false} {
			b := onnx.NewBuilder("integers", 17)
			given := map[string]*tensor.Tensor{"a": in["a"], "za": in["za"]}
			b.Input("a", tensor.Uint8, 2, m, k)
			b.Input("za", tensor.Uint8)
			names := []string{"a", "w", "za", "z"}
			if constant {
				names[1], names[3] = b.Const(w), b.Const(zero)
			} else {
				b.Input("w", tensor.Int8, k, n)
				b.Input("z", tensor.Int8, n)
				given = in
			}
			b.NodeTo("MatMulInteger", names, []string{"y"}, nil)
			b.Output("y", tensor.Int32, 2, m, n)
			s := open(t, b, engine.Options{})
			out, err := s.Run(ctx, given)
			if err != nil {
				t.Fatal(err)
			}
			results = append(results, out["y"])
			s.Close()
		}
		if err := enginetest.Compare(results[0], results[1], 0, 0); err != nil {
			t.Errorf("k %d: %v", k, err)
		}
	}
}

// A constant matrix of QLinearMatMul is packed, too: its results are those of a computed one.
func TestConstantQLinearMatMul(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(19, 20))
	for _, size := range [][3]int{{1, 5, 3}, {3, 64, 17}, {33, 130, 48}} {
		rows, k, n := size[0], size[1], size[2]
		given := map[string]*tensor.Tensor{
			"a": bytesTensor(r, false, rows, k), "w": bytesTensor(r, true, k, n),
		}
		var results []*tensor.Tensor
		for _, constant := range []bool{true, false} {
			b := onnx.NewBuilder("linear", 17)
			w, in := "w", map[string]*tensor.Tensor{"a": given["a"]}
			b.Input("a", tensor.Uint8, rows, k)
			if constant {
				w = b.Const(given["w"])
			} else {
				in = given
				b.Input("w", tensor.Int8, k, n)
			}
			scale, zero := scalar(b, 0.02), b.Const(tensor.Scalar(uint8(7)))
			b.NodeTo("QLinearMatMul", []string{"a", scale, zero, w, scale,
				b.Const(tensor.Scalar(int8(-2))), scalar(b, 0.5), zero}, []string{"y"}, nil)
			b.Output("y", tensor.Uint8, rows, n)
			s := open(t, b, engine.Options{})
			out, err := s.Run(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			results = append(results, out["y"])
			s.Close()
		}
		if err := enginetest.Compare(results[0], results[1], 0, 0); err != nil {
			t.Errorf("%v: %v", size, err)
		}
	}
}

// bytesTensor is a random 8-bit tensor.
func bytesTensor(r *rand.Rand, signed bool, shape ...int) *tensor.Tensor {
	if signed {
		t := tensor.Must(tensor.Zeros(tensor.Int8, shape...))
		for i := range t.Len() {
			tensor.Data[int8](t)[i] = int8(r.Uint32())
		}
		return t
	}
	t := tensor.Must(tensor.Zeros(tensor.Uint8, shape...))
	for i := range t.Len() {
		tensor.Data[uint8](t)[i] = uint8(r.Uint32())
	}
	return t
}

// positive makes n scales between 0.005 and 0.03.
func positive(r *rand.Rand, n int) *tensor.Tensor {
	t := tensor.Must(tensor.Zeros(tensor.Float32, n))
	for i := range n {
		tensor.Data[float32](t)[i] = 0.005 + 0.025*r.Float32()
	}
	return t
}

// The two forms of quantised graphs, run as written and fused. Dynamic ones must agree to the last
// bit but for GELU; between QuantizeLinear and DequantizeLinear the graph as written rounds each
// sum in float32, which the fused one does not.
func TestQuantisedFusion(t *testing.T) {
	t.Parallel()
	ctx := context.Background()
	type build = func(b *onnx.Builder, r *rand.Rand) string
	type behind = func(b *onnx.Builder, r *rand.Rand, y string) string
	dynamic := func(perColumn, zeros bool, after behind) build {
		return func(b *onnx.Builder, r *rand.Rand) string {
			b.NodeTo("DynamicQuantizeLinear", []string{"x"}, []string{"xq", "xs", "xz"}, nil)
			w, ws := b.Const(bytesTensor(r, zeros, 24, 37)), b.Const(tensor.Scalar(float32(0.01)))
			in := []string{"xq", w, "xz"}
			if zeros {
				in = append(in, b.Const(tensor.Scalar(int8(-5))))
			}
			if perColumn {
				ws = b.Const(positive(r, 37))
				if zeros {
					in[3] = b.Const(bytesTensor(r, true, 37))
				}
			}
			f := b.Node("Cast", []string{b.Node("MatMulInteger", in, nil)}, onnx.Attrs{"to": 1})
			y := do(b, "Mul", f, do(b, "Mul", "xs", ws))
			return after(b, r, y)
		}
	}
	plainly := func(b *onnx.Builder, r *rand.Rand, y string) string { return y }
	biased := func(b *onnx.Builder, r *rand.Rand, y string) string {
		return do(b, "Add", b.Const(randTensor(r, 37)), y)
	}
	qdq := func(gemm, perColumn bool) build {
		return func(b *onnx.Builder, r *rand.Rand) string {
			x, signed := "x", !gemm
			if gemm {
				x = do(b, "Reshape", x, b.Ints(-1, 24))
			}
			xs := b.Const(tensor.Scalar(float32(0.02)))
			xz := b.Const(tensor.Scalar(uint8(117)))
			if signed {
				xz = b.Const(tensor.Scalar(int8(-11)))
			}
			q := do(b, "QuantizeLinear", x, xs, xz)
			a := do(b, "DequantizeLinear", q, xs, xz)
			shape, axis := []int{24, 37}, 1
			if gemm {
				shape, axis = []int{37, 24}, 0
			}
			ws, wz := b.Const(tensor.Scalar(float32(0.01))), b.Const(tensor.Scalar(int8(3)))
			if perColumn {
				ws, wz = b.Const(positive(r, 37)), b.Const(bytesTensor(r, true, 37))
			}
			w := b.Const(bytesTensor(r, true, shape...))
			w = b.Node("DequantizeLinear", []string{w, ws, wz}, onnx.Attrs{"axis": axis})
			var y string
			if gemm {
				bias := b.Const(randTensor(r, 37))
				y = b.Node("Gemm", []string{a, w, bias}, onnx.Attrs{"transB": 1})
			} else {
				y = do(b, "MatMul", a, w)
				y = do(b, "Add", y, b.Const(randTensor(r, 37)))
			}
			y = do(b, "Relu", y)
			ys, yz := b.Const(tensor.Scalar(float32(0.05))), b.Const(tensor.Scalar(uint8(0)))
			return do(b, "DequantizeLinear", do(b, "QuantizeLinear", y, ys, yz), ys, yz)
		}
	}
	conv := func(stride, taps int) build {
		return func(b *onnx.Builder, r *rand.Rand) string {
			around := func(x string, scale float32, zero *tensor.Tensor) string {
				s, z := b.Const(tensor.Scalar(scale)), b.Const(zero)
				return do(b, "DequantizeLinear", do(b, "QuantizeLinear", x, s, z), s, z)
			}
			y := around(do(b, "Reshape", "x", b.Ints(0, 7, 6, 4)), 0.02, tensor.Scalar(int8(9)))
			for layer := range 2 {
				scales, bias := positive(r, 7), randTensor(r, 7)
				if layer == 1 { // integers in steps of the product, as quantisers write it
					for i, v := range tensor.Data[float32](scales) {
						tensor.Data[float32](bias)[i] = float32(r.IntN(1000)-500) * (float32(6.0/255) * v)
					}
				}
				w, ws := b.Const(bytesTensor(r, true, 7, 7, taps, taps)), b.Const(scales)
				wz := b.Const(tensor.Must(tensor.Zeros(tensor.Int8, 7)))
				w = b.Node("DequantizeLinear", []string{w, ws, wz}, onnx.Attrs{"axis": 0})
				y = b.Node("Conv", []string{y, w, b.Const(bias)},
					onnx.Attrs{"pads": []int{1, 0, 1, 1}, "strides": []int{stride, 1}})
				y = do(b, "Clip", y, scalar(b, 0), scalar(b, 6))
				y = around(y, 6.0/255, tensor.Scalar(uint8(0)))
			}
			return y
		}
	}
	// separable is a convolution, a depthwise one and another, of bytes.
	separable := func(channels, stride int, signed bool) build {
		return func(b *onnx.Builder, r *rand.Rand) string {
			around := func(x string) string {
				s, z := b.Const(tensor.Scalar(float32(6.0/255))), b.Const(tensor.Scalar(uint8(3)))
				if signed {
					z = b.Const(tensor.Scalar(int8(-100)))
				}
				return do(b, "DequantizeLinear", do(b, "QuantizeLinear", x, s, z), s, z)
			}
			y := around(do(b, "Reshape", "x", b.Ints(0, 7, 6, 4)))
			convolve := func(attrs onnx.Attrs, shape ...int) {
				w, ws := b.Const(bytesTensor(r, true, shape...)), b.Const(positive(r, shape[0]))
				wz := b.Const(tensor.Must(tensor.Zeros(tensor.Int8, shape[0])))
				w = b.Node("DequantizeLinear", []string{w, ws, wz}, onnx.Attrs{"axis": 0})
				y = b.Node("Conv", []string{y, w, b.Const(randTensor(r, shape[0]))}, attrs)
			}
			convolve(nil, channels, 7, 1, 1)
			y = around(do(b, "Clip", y, scalar(b, 0), scalar(b, 5)))
			convolve(onnx.Attrs{"group": channels, "pads": []int{1, 2, 1, 1},
				"strides": []int{stride, stride}}, channels, 1, 3, 3)
			if stride == 1 {
				y = around(do(b, "HardSwish", y))
			} else {
				y = around(do(b, "Clip", y, scalar(b, 0.1), scalar(b, 6)))
			}
			convolve(nil, 9, channels, 1, 1)
			return around(y)
		}
	}
	rectified := func(b *onnx.Builder, r *rand.Rand, y string) string {
		return do(b, "Relu", biased(b, r, y))
	}
	added := func(b *onnx.Builder, r *rand.Rand, y string) string {
		y = gelu(b, biased(b, r, y), false, false)
		return do(b, "Add", y, b.Node("ReduceMax", []string{"x"}, onnx.Attrs{"axes": []int{2}}))
	}
	for _, c := range []struct {
		name   string
		within float64 // relative; -1: a step of the output's scale, rarely
		build  build
	}{
		{"dynamic", 0, dynamic(false, false, plainly)},
		{"dynamic, zero points, bias", 0, dynamic(false, true, biased)},
		{"dynamic, per column, bias, relu", 0, dynamic(true, true, rectified)},
		{"dynamic, gelu, sum", 1e-6, dynamic(true, false, added)},
		{"qdq", -1, qdq(false, false)},
		{"qdq, per column", -1, qdq(false, true)},
		{"qdq gemm", -1, qdq(true, false)},
		{"qdq gemm, per column", -1, qdq(true, true)},
		{"qdq convolution", -1, conv(1, 1)},
		{"qdq convolution, windows", -1, conv(2, 3)},
		{"qdq depthwise", -1, separable(32, 1, false)},
		{"qdq depthwise, strides", -1, separable(48, 2, true)},
		{"qdq depthwise, part of a block", -1, separable(21, 2, false)},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(17, 18))
			b := onnx.NewBuilder("quantised", 17)
			b.Input("x", tensor.Float32, "batch", 7, 24)
			b.NodeTo("Identity", []string{c.build(b, r)}, []string{"y"}, nil)
			b.Output("y", tensor.Float32)
			b.Model.Graph.Output[0].Type.GetTensorType().Shape = nil
			var sessions []engine.Session
			for _, plain := range []bool{true, false} {
				s := open(t, b, engine.Options{NoFusion: plain})
				sessions = append(sessions, s)
			}
			found := fallback.Operators(sessions[1])
			if found["xpipe.MatMulInteger"] != 1 && found["xpipe.ConvInteger"] != 2 ||
				found["Cast"]+found["MatMulInteger"]+found["MatMul"]+found["Gemm"] != 0 {
				t.Error(fmt.Sprint(found))
			}
			if strings.Contains(c.name, "depthwise") != (found["xpipe.ConvDepthwiseBytes"] == 1) ||
				strings.Contains(c.name, "conv") && found["QuantizeLinear"] != 1 {
				t.Error("not all in bytes: ", found)
			}
			for _, batch := range []int{1, 3} {
				in := map[string]*tensor.Tensor{"x": randTensor(r, batch, 7, 24)}
				var y []*tensor.Tensor
				for _, s := range sessions {
					out, err := s.Run(ctx, in)
					if err != nil {
						t.Fatal(err)
					}
					y = append(y, out["y"])
				}
				if c.within >= 0 {
					if err := enginetest.Compare(y[1], y[0], c.within, c.within); err != nil {
						t.Error(err)
					}
					continue
				}
				// A sum next to a tie may round to either side: one step, rarely.
				steps := 0
				for i, v := range tensor.Data[float32](y[0]) {
					switch d := math.Abs(float64(v - tensor.Data[float32](y[1])[i])); {
					case d > 0.0501:
						t.Fatalf("%v, want %v", tensor.Data[float32](y[1])[i], v)
					case d > 1e-6:
						steps++
					}
				}
				if steps*200 > y[0].Len() {
					t.Errorf("%d of %d results differ", steps, y[0].Len())
				}
			}
		})
	}
}
