package fallback_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
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
