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
	const steps, width, hidden = 3, 20, 300
	for _, layer := range []struct {
		op, direction string
		gates, batch  int
	}{
		{"LSTM", "forward", 4, 1}, {"LSTM", "bidirectional", 4, 1}, {"LSTM", "reverse", 4, 7},
		{"GRU", "forward", 3, 1}, {"GRU", "bidirectional", 3, 3}, {"RNN", "forward", 1, 5},
	} {
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
			onnx.Attrs{"direction": layer.direction, "hidden_size": hidden})
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
