package fallback_test

import (
	"math/rand/v2"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// A layer that is large enough for cores to share its steps, its directions or its batch computes
// what one core does.
func TestRecurrentThreads(t *testing.T) {
	t.Parallel()
	const steps, width = 3, 20
	for _, layer := range []struct {
		op, direction                string
		gates, batch, hidden, linear int
	}{
		{"LSTM", "forward", 4, 1, 300, 0}, {"LSTM", "bidirectional", 4, 1, 300, 0},
		{"LSTM", "reverse", 4, 7, 300, 0}, {"GRU", "forward", 3, 1, 300, 0},
		{"GRU", "bidirectional", 3, 3, 300, 0}, {"RNN", "forward", 1, 5, 300, 0},
		// Of these a direction's weights are larger than a core's cache.
		{"LSTM", "bidirectional", 4, 2, 330, 0}, {"GRU", "bidirectional", 3, 1, 380, 0},
		{"GRU", "bidirectional", 3, 2, 380, 1},
	} {
		hidden := layer.hidden
		r := rand.New(rand.NewPCG(41, uint64(layer.batch)))
		directions := 1
		if layer.direction == "bidirectional" {
			directions = 2
		}
		weights := func(shape ...int) *tensor.Tensor {
			w := randTensor(r, shape...)
			for i := range w.Len() {
				tensor.Data[float32](w)[i] *= 0.1
			}
			return w
		}
		b := onnx.NewBuilder("recurrent", 14)
		b.Input("x", tensor.Float32, steps, layer.batch, width)
		columns := layer.gates * hidden
		b.NodeTo(layer.op, []string{"x", b.Const(weights(directions, columns, width)),
			b.Const(weights(directions, columns, hidden)),
			b.Const(weights(directions, 2*columns))}, []string{"y", "h"},
			onnx.Attrs{
				"direction": layer.direction, "hidden_size": hidden, "linear_before_reset": layer.linear,
			})
		b.Output("y", tensor.Float32, steps, directions, layer.batch, hidden)
		b.Output("h", tensor.Float32, directions, layer.batch, hidden)
		x := randTensor(r, steps, layer.batch, width)
		one, _ := results(t, b, x, engine.Options{Threads: 1})
		many, _ := results(t, b, x, engine.Options{Threads: 4})
		for _, name := range []string{"y", "h"} {
			if err := enginetest.Compare(many[name], one[name], 1e-4, 1e-5); err != nil {
				t.Errorf("%v, %s: %v", layer, name, err)
			}
		}
	}
}

// The quick form in float32 computes what the plain one does in float64, whatever the attributes.
func TestRecurrentPlain(t *testing.T) {
	t.Parallel()
	functions := []string{"Relu", "Tanh", "Sigmoid", "Affine", "LeakyRelu", "ThresholdedRelu",
		"ScaledTanh", "HardSigmoid", "Elu", "Softsign", "Softplus"}
	for try := range 120 {
		r := rand.New(rand.NewPCG(43, uint64(try)))
		op := []string{"LSTM", "GRU", "RNN"}[try%3]
		gates, activations := map[string]int{"LSTM": 4, "GRU": 3, "RNN": 1}[op],
			map[string]int{"LSTM": 3, "GRU": 2, "RNN": 1}[op]
		steps, batch, width, hidden := r.IntN(5), r.IntN(4), 1+r.IntN(5), 1+r.IntN(20)
		attrs := onnx.Attrs{"hidden_size": hidden, "layout": r.IntN(2)}
		directions := 1
		switch r.IntN(3) {
		case 1:
			attrs["direction"] = "reverse"
		case 2:
			attrs["direction"], directions = "bidirectional", 2
		}
		if r.IntN(2) == 0 {
			var list []string
			for range directions * activations {
				list = append(list, functions[r.IntN(len(functions))])
			}
			attrs["activations"] = list
		}
		if r.IntN(3) == 0 {
			attrs["clip"] = float32(0.5)
		}
		if op == "LSTM" {
			attrs["input_forget"] = r.IntN(2)
		}
		if op == "GRU" {
			attrs["linear_before_reset"] = r.IntN(2)
		}
		xShape, state := []int{steps, batch, width}, []int{directions, batch, hidden}
		if attrs["layout"] == 1 {
			xShape, state = []int{batch, steps, width}, []int{batch, directions, hidden}
		}
		x, given := randTensor(r, xShape...), r.IntN(2) == 0
		inputs := []*tensor.Tensor{nil, randTensor(r, directions, gates*hidden, width),
			randTensor(r, directions, gates*hidden, hidden),
			randTensor(r, directions, 2*gates*hidden), nil, randTensor(r, state...)}
		if op == "LSTM" {
			inputs = append(inputs, randTensor(r, state...), randTensor(r, directions, 3*hidden))
		}
		lengths := tensor.Must(tensor.Zeros(tensor.Int32, batch))
		for i := range batch {
			tensor.Data[int32](lengths)[i] = int32(r.IntN(steps + 1))
		}
		run := func(dtype tensor.DType) map[string]*tensor.Tensor {
			b := onnx.NewBuilder("recurrent", 14)
			b.Input("x", dtype, xShape[0], xShape[1], xShape[2])
			names := []string{"x"}
			for i, in := range inputs[1:] {
				switch {
				case i == 3 && given:
					names = append(names, b.Const(lengths))
				case in == nil || i > 1 && !given:
					names = append(names, "")
				default:
					names = append(names, b.Const(as(in, dtype)))
				}
			}
			outs := []string{"y", "h", "c"}[:min(activations, 2)+gates/4]
			if op == "RNN" {
				outs = []string{"y", "h"}
			}
			b.NodeTo(op, names, outs, attrs)
			for _, o := range outs {
				b.Output(o, dtype)
			}
			out, _ := results(t, b, as(x, dtype), engine.Options{Threads: 2})
			return out
		}
		want := run(tensor.Float64)
		for name, got := range run(tensor.Float32) {
			if w := want[name]; w.DType() != tensor.Float64 {
				t.Fatalf("%s of float64 gives %v", op, w)
			}
			err := enginetest.Compare(got, as(want[name], tensor.Float32), 1e-3, 1e-4)
			if err != nil {
				t.Errorf("%d: %s %v, %s: %v", try, op, attrs, name, err)
			}
		}
	}
}
