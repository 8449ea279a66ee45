package enginebench

import (
	"math"

	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// form is how a graph holds the weights of its products, and computes with them.
type form int

const (
	asFloats  form = iota
	asHalf         // stored as float16, cast to float32
	asDynamic      // int8; what they meet is quantised by its range in each run
	asQDQ          // int8; what they meet is quantised by fixed scales
)

// linearScale is the scale of what has no activation between QuantizeLinear and DequantizeLinear,
// about as far as such numbers reach here.
const linearScale = 1.0 / 16

// int8s returns seeded weights of 8 bits, and the scale that gives them the deviation.
func (m *Model) int8s(std float64, shape ...int) (weights string, scale float32) {
	t := tensor.Must(tensor.Zeros(tensor.Int8, shape...))
	for i := range tensor.Data[int8](t) {
		m.random = m.random*6364136223846793005 + 1442695040888963407
		tensor.Data[int8](t)[i] = int8(int(m.random>>40)%255 - 127)
	}
	return m.Const(t), float32(std * math.Sqrt(12) / 255)
}

// matmul is x times weights [in,out] in the model's form.
func (m *Model) matmul(x string, in, out int) string {
	std := 1 / math.Sqrt(float64(in))
	switch m.form {
	case asHalf:
		wide := m.numbers(std, in, out)
		half := tensor.Must(tensor.Zeros(tensor.Float16, in, out))
		for i, v := range tensor.Data[float32](wide) {
			tensor.Data[tensor.Half](half)[i] = tensor.ToHalf(v)
		}
		return m.op("MatMul", x, m.Node("Cast", []string{m.Const(half)}, onnx.Attrs{"to": 1}))
	case asDynamic:
		q := m.quantised[x]
		if q == "" {
			q = x + ".quantised"
			m.NodeTo("DynamicQuantizeLinear", []string{x},
				[]string{q, q + ".scale", q + ".zero"}, nil)
			m.quantised[x] = q
		}
		w, scale := m.int8s(std, in, out)
		y := m.op("MatMulInteger", q, w, q+".zero", m.Const(tensor.Scalar(int8(0))))
		y = m.Node("Cast", []string{y}, onnx.Attrs{"to": 1})
		return m.op("Mul", y, m.op("Mul", q+".scale", m.scalar(scale)))
	}
	return m.op("MatMul", x, m.weights(std, in, out))
}

// around puts QuantizeLinear and DequantizeLinear around a value.
func (m *Model) around(x string, scale float32, zero uint8) string {
	s, z := m.scalar(scale), m.Const(tensor.Scalar(zero))
	return m.op("DequantizeLinear", m.op("QuantizeLinear", x, s, z), s, z)
}

// weights8 is weights of 8 bits, dequantised by a scale for each position of axis 0, and a bias to
// match: int32 by the product of the scales.
func (m *Model) weights8(std float64, inputScale float32, shape ...int) (weights, bias string) {
	w, scale := m.int8s(std, shape...)
	n := shape[0]
	scales, products := make([]float32, n), make([]float32, n)
	offsets := make([]int32, n)
	for i := range n {
		scales[i] = scale * (1 + float32(i%7)/16)
		products[i] = scales[i] * inputScale
		offsets[i] = int32(float32(i%11-5) / 50 / products[i])
	}
	vector := func(v []float32) string { return m.Const(tensor.Must(tensor.New([]int{n}, v))) }
	zeros := m.Const(tensor.Must(tensor.Zeros(tensor.Int8, n)))
	axis := onnx.Attrs{"axis": 0}
	weights = m.Node("DequantizeLinear", []string{w, vector(scales), zeros}, axis)
	zeros32 := m.Const(tensor.Must(tensor.Zeros(tensor.Int32, n)))
	integers := m.Const(tensor.Must(tensor.New([]int{n}, offsets)))
	return weights, m.Node("DequantizeLinear", []string{integers, vector(products), zeros32}, axis)
}

// conv8 is a convolution between QuantizeLinear and DequantizeLinear; bounds of 0 and 6 are those
// of its output's 8 bits.
func (m *Model) conv8(x string, std float64, relu bool, attrs onnx.Attrs, shape ...int) string {
	scale, zero := float32(linearScale), uint8(128)
	if relu {
		scale, zero = 6.0/255, 0
	}
	w, b := m.weights8(std, 6.0/255, shape...)
	return m.around(m.Node("Conv", []string{x, w, b}, attrs), scale, zero)
}

// mlp8 is a stack of layers that widen and narrow.
func mlp8() *Model {
	const rows, width, inner = 32, 768, 3072
	m := newModel("mlp8")
	scale, zero := float32(linearScale), uint8(128)
	x := m.around(m.Input("hidden_states", tensor.Float32, rows, width), scale, zero)
	layer := func(x string, in, out int, inputScale, scale float32, zero uint8) string {
		m.FLOP += 2 * float64(rows) * float64(in) * float64(out)
		w, b := m.weights8(1/math.Sqrt(float64(in)), inputScale, out, in)
		return m.around(m.Node("Gemm", []string{x, w, b}, onnx.Attrs{"transB": 1}), scale, zero)
	}
	for range 8 {
		h := layer(x, width, inner, scale, 6.0/255, 0) // a ReLU, by its zero point
		x = layer(h, inner, width, 6.0/255, scale, zero)
	}
	return m.out(x, "output", rows, width)
}
