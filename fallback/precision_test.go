package fallback_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// rounding is what a precision does to the numbers of a row before a product.
type rounding func(row []float64)

// toBF16 is bfloat16's definition: 8 bits of a number, to nearest, ties to even.
func toBF16(row []float64) {
	for i, v := range row {
		if v != 0 {
			_, exp := math.Frexp(v)
			unit := math.Ldexp(1, exp-8)
			row[i] = math.RoundToEven(v/unit) * unit
		}
	}
}

// toInt8 is that of int8: the nearest of 127 steps to the largest number.
func toInt8(row []float64) {
	var most float32
	for _, v := range row {
		most = max(most, float32(math.Abs(v)))
	}
	step := most / 127
	for i, v := range row {
		row[i] = math.RoundToEven(float64(float32(v)/step)) * float64(step)
	}
}

func none([]float64) {}

// times is a product of rows [n,k] with weights [k,cols], each rounded.
func times(x [][]float64, w *tensor.Tensor, left, right rounding) [][]float64 {
	k, cols := w.Dim(0), w.Dim(1)
	columns := make([][]float64, cols)
	for j := range columns {
		for i := range k {
			columns[j] = append(columns[j], float64(tensor.Data[float32](w)[i*cols+j]))
		}
		right(columns[j])
	}
	y := make([][]float64, len(x))
	for r, row := range x {
		row = append([]float64{}, row...)
		left(row)
		for _, column := range columns {
			sum := 0.0
			for i, v := range row {
				sum += v * column[i]
			}
			y[r] = append(y[r], sum)
		}
	}
	return y
}

// TestPrecision computes a layer and a head on top of it in each precision, by the definitions of
// engine.Precision.
func TestPrecision(t *testing.T) {
	t.Parallel()
	const rows, in, inner, out = 13, 37, 50, 70
	r := rand.New(rand.NewPCG(4, 2))
	w1, w2, bias := randTensor(r, in, inner), randTensor(r, inner, out), randTensor(r, out)
	x := randTensor(r, 1, rows, in)
	values := make([][]float64, rows)
	for i, v := range tensor.Data[float32](x) {
		values[i/in] = append(values[i/in], float64(v))
	}
	for _, c := range []struct {
		precision                                  engine.Precision
		layerLeft, layerRight, headLeft, headRight rounding
	}{
		{engine.PrecisionAuto, none, none, none, none},
		{engine.PrecisionFloat32, none, none, none, none},
		{engine.PrecisionBFloat16, toBF16, toBF16, none, toBF16},
		{engine.PrecisionInt8, toInt8, toInt8, none, toBF16},
	} {
		h := times(values, w1, c.layerLeft, c.layerRight)
		for _, row := range h {
			for i, v := range row {
				row[i] = max(v, 0)
			}
		}
		want := times(h, w2, c.headLeft, c.headRight)
		for _, noFusion := range []bool{false, true} {
			for _, form := range []string{"MatMul", "Gemm"} {
				t.Run(fmt.Sprint(c.precision, noFusion, form), func(t *testing.T) {
					b := onnx.NewBuilder("layer", 17)
					b.Input("x", tensor.Float32, "batch", rows, in)
					y := do(b, "Relu", do(b, "MatMul", "x", b.Const(w1)))
					if form == "MatMul" {
						y = do(b, "Add", do(b, "MatMul", y, b.Const(w2)), b.Const(bias))
					} else {
						y = b.Node("Reshape", []string{y, b.Const(tensor.Must(tensor.New([]int{2}, []int64{rows, inner})))}, nil)
						y = b.Node("Gemm", []string{y, b.Const(turned(w2)), b.Const(bias)}, onnx.Attrs{"transB": 1})
					}
					b.Output(y, tensor.Float32)
					s := open(t, b, engine.Options{Precision: c.precision, NoFusion: noFusion})
					got, err := s.Run(t.Context(), map[string]*tensor.Tensor{"x": x})
					if err != nil {
						t.Fatal(err)
					}
					for i, v := range tensor.Data[float32](got[y]) {
						w := want[i/out][i%out] + float64(tensor.Data[float32](bias)[i%out])
						if d := math.Abs(float64(v) - w); !(d <= 2e-4) {
							t.Fatalf("element %d is %v, want %v", i, v, w)
						}
					}
				})
			}
		}
	}
}

// turned is a matrix with rows and columns exchanged.
func turned(w *tensor.Tensor) *tensor.Tensor {
	t := tensor.Must(tensor.Zeros(tensor.Float32, w.Dim(1), w.Dim(0)))
	for i, v := range tensor.Data[float32](w) {
		tensor.Data[float32](t)[i%w.Dim(1)*w.Dim(0)+i/w.Dim(1)] = v
	}
	return t
}

func TestPrecisionUnknown(t *testing.T) {
	t.Parallel()
	b := onnx.NewBuilder("g", 17)
	b.Input("x", tensor.Float32, 2)
	b.NodeTo("Relu", []string{"x"}, []string{"y"}, nil)
	b.Output("y", tensor.Float32, 2)
	_, err := fallback.New().Open(t.Context(), b.Source(), engine.Options{Precision: "bf8"})
	if !errors.Is(err, engine.ErrEngine) {
		t.Error(err)
	}
}

// TestPrecisionSharedInput has products of one input, in a loop whose memory does not suffice for what is
// made of it in each round.
func TestPrecisionSharedInput(t *testing.T) {
	t.Parallel()
	const rows, k, rounds = 9, 40, 30
	r := rand.New(rand.NewPCG(6, 1))
	w := []*tensor.Tensor{randTensor(r, k, k), randTensor(r, k, 2*k), randTensor(r, 2*k, k), randTensor(r, k, k)}
	start := randTensor(r, rows, k)
	// layer is Relu(v*w0) + (v*w1)*w2 + v*w3, bounded; the order and other nodes between are as in decoders.
	layer := func(b *onnx.Builder, v, y string) {
		product := func(x string, i int) string { return do(b, "MatMul", x, b.Const(w[i])) }
		first, wide := do(b, "Relu", product(v, 0)), product(v, 1)
		sum := do(b, "Add", do(b, "Add", first, product(wide, 2)), product(v, 3))
		b.NodeTo("Tanh", []string{sum}, []string{y}, nil)
	}
	for _, precision := range []engine.Precision{engine.PrecisionBFloat16, engine.PrecisionInt8} {
		one := onnx.NewBuilder("layer", 17)
		one.Input("x", tensor.Float32, rows, k)
		layer(one, "x", "hidden")
		one.NodeTo("Identity", []string{"hidden"}, []string{"y"}, nil)
		one.Output("y", tensor.Float32, rows, k)
		many := onnx.NewBuilder("layers", 17)
		many.Input("x", tensor.Float32, rows, k)
		many.NodeTo("Loop", []string{many.Const(tensor.Scalar(int64(rounds))), "", "x"}, []string{"y"}, nil)
		holds(many, "body", body(func(b *onnx.Builder) {
			b.Input("i", tensor.Int64)
			b.Input("go", tensor.Bool)
			b.Input("v", tensor.Float32, rows, k)
			b.NodeTo("Identity", []string{"go"}, []string{"on"}, nil)
			layer(b, "v", "next")
			b.Output("on", tensor.Bool)
			b.Output("next", tensor.Float32, rows, k)
		}))
		many.Output("y", tensor.Float32, rows, k)
		opts := engine.Options{Precision: precision, MemoryLimit: 64 << 10}
		want := start
		s := open(t, one, opts)
		for range rounds {
			out, err := s.Run(t.Context(), map[string]*tensor.Tensor{"x": want})
			if err != nil {
				t.Fatal(precision, err)
			}
			want = out["y"]
		}
		out, err := open(t, many, opts).Run(t.Context(), map[string]*tensor.Tensor{"x": start})
		if err != nil {
			t.Fatal(precision, err)
		}
		if !slices.Equal(tensor.Data[float32](out["y"]), tensor.Data[float32](want)) {
			t.Errorf("%s: a loop of layers gives other numbers than the layers one by one", precision)
		}
	}
}
