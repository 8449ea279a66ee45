package fallback_test

import (
	"math/rand/v2"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/fallback/internal/ops"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/onnx/ir"
	"github.com/crossattn/xpipe/tensor"
)

const newestOpset = 24

// attrsOf are attributes that an operator cannot do without on floats.
var attrsOf = map[string]onnx.Attrs{"Mod": {"fmod": 1}}

// results runs a graph from x and returns its outputs, and what it ran.
func results(
	t *testing.T, b *onnx.Builder, x *tensor.Tensor, opts engine.Options,
) (map[string]*tensor.Tensor, map[string]int) {
	t.Helper()
	s, err := fallback.New().Open(t.Context(), b.Source(), opts)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.Run(t.Context(), map[string]*tensor.Tensor{"x": x})
	if err != nil {
		t.Fatal(err)
	}
	return out, fallback.Operators(s)
}

// An operator whose row says Elementwise or Broadcast computes the same before and after its
// operands are transposed.
func TestTraits(t *testing.T) {
	t.Parallel()
	found := 0
	for _, op := range ops.Names() {
		row := &ir.Node{Op: op, Version: newestOpset}
		broadcast := ops.Has(row, ops.Broadcast)
		if !broadcast && !ops.Has(row, ops.Elementwise) {
			continue
		}
		found++
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(31, 32))
			b := onnx.NewBuilder(op, newestOpset)
			b.Input("x", tensor.Float32, 2, 3, 4, 5)
			transposed := func(x string) string { return transpose(b, x, 0, 2, 3, 1) }
			before, after := []string{transposed("x")}, []string{"x"}
			low, high := ops.Inputs(op)
			if broadcast {
				for range max(low, 2) - 1 {
					other := b.Const(randTensor(r, 2, 3, 4, 5))
					before, after = append(before, transposed(other)), append(after, other)
				}
			} else {
				for i := 1; i < high; i++ {
					parameter := scalar(b, float32(i)-1.5)
					before, after = append(before, parameter), append(after, parameter)
				}
			}
			b.NodeTo(op, before, []string{"before"}, attrsOf[op])
			b.NodeTo("Identity", []string{transposed(b.Node(op, after, attrsOf[op]))},
				[]string{"after"}, nil)
			b.Output("before", tensor.Float32, 2, 4, 5, 3)
			b.Output("after", tensor.Float32, 2, 4, 5, 3)
			out, _ := results(t, b, randTensor(r, 2, 3, 4, 5), engine.Options{NoFusion: true})
			if err := enginetest.Compare(out["before"], out["after"], 1e-6, 1e-6); err != nil {
				t.Error(err)
			}
		})
	}
	if found < 40 {
		t.Errorf("%d operators have the traits", found)
	}
}

// A product takes up every operator whose row makes it an activation.
func TestActivations(t *testing.T) {
	t.Parallel()
	found := 0
	for _, op := range ops.Names() {
		_, high := ops.Inputs(op)
		n := &ir.Node{Op: op, Version: newestOpset, Inputs: []string{"x"}}
		consts := map[string]*tensor.Tensor{}
		for i := 1; i < high; i++ {
			n.Inputs = append(n.Inputs, string(rune('a'+i)))
			consts[string(rune('a'+i))] = tensor.Scalar(float32(i) - 1.5)
		}
		if _, ok := ops.Activation(n, consts); !ok {
			continue
		}
		found++
		t.Run(op, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(33, 34))
			b := onnx.NewBuilder(op, newestOpset)
			b.Input("x", tensor.Float32, 7, 24)
			in := []string{linear(b, r, "x", 24, 33)}
			for _, name := range n.Inputs[1:] {
				in = append(in, b.Const(consts[name]))
			}
			b.NodeTo(op, in, []string{"y"}, nil)
			b.Output("y", tensor.Float32, 7, 33)
			x := randTensor(r, 7, 24)
			plain, _ := results(t, b, x, engine.Options{NoFusion: true})
			out, ran := results(t, b, x, engine.Options{})
			if len(ran) != 1 || ran["xpipe.MatMul"] != 1 {
				t.Errorf("ran %v", ran)
			}
			if err := enginetest.Compare(out["y"], plain["y"], 1e-5, 1e-5); err != nil {
				t.Error(err)
			}
		})
	}
	if found < 7 {
		t.Errorf("%d operators are activations", found)
	}
}
