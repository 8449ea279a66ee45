package fallback_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// crossBranches is a decoder's shape: an If on "first" whose branches project "states" by the same
// weights, each in nodes of its own, and use the result otherwise.
func crossBranches(b *onnx.Builder, r *rand.Rand) {
	const width = 24
	w, bias := b.Const(randTensor(r, width, 2*width)), b.Const(randTensor(r, 2*width))
	b.Input("x", tensor.Float32, "batch", "length", width)
	b.Input("states", tensor.Float32, "batch", "seen", width)
	branch := func(name string, scale float32) *pb.GraphProto {
		s := onnx.NewBuilder(name, 17)
		both := func() string { // exporters write what is the same more than once
			return s.Node("Add", []string{s.Node("MatMul", []string{"states", w}, nil), bias}, nil)
		}
		s.NodeTo("Split", []string{both()}, []string{"k", "k.rest"}, onnx.Attrs{"axis": 2})
		s.NodeTo("Split", []string{both()}, []string{"v.rest", "v"}, onnx.Attrs{"axis": 2})
		scores := s.Node("MatMul", []string{"x", transpose(s, "k", 0, 2, 1)}, nil)
		seen := s.Node("MatMul", []string{s.Node("Softmax", []string{do(s, "Mul", scores, scalar(s, scale))}, nil), "v"}, nil)
		s.NodeTo("Identity", []string{seen}, []string{name + ".y"}, nil)
		s.Output(name+".y", tensor.Float32, "batch", "length", width)
		outer := map[string]bool{"x": true, "states": true, w: true, bias: true, name + ".y": true}
		own := func(values []string) {
			for i, v := range values {
				if !outer[v] {
					values[i] = name + v
				}
			}
		}
		for _, n := range s.Model.Graph.Node {
			own(n.Input)
			own(n.Output)
		}
		for _, c := range s.Model.Graph.Initializer {
			c.Name = proto.String(name + c.GetName())
		}
		return s.Model.Graph
	}
	b.NodeTo("If", []string{b.Input("first", tensor.Bool)}, []string{"y"}, nil)
	n := b.Model.Graph.Node[len(b.Model.Graph.Node)-1]
	for name, scale := range map[string]float32{"then_branch": 1, "else_branch": 3} {
		n.Attribute = append(n.Attribute, &pb.AttributeProto{
			Name: proto.String(name), Type: pb.AttributeProto_GRAPH.Enum(), G: branch(name, scale)})
	}
	b.Output("y", tensor.Float32, "batch", "length", width)
}

// TestSteady compares graphs that keep what they compute of an encoder's states with the same that
// do not, over several steps and several states in turns.
func TestSteady(t *testing.T) {
	t.Parallel()
	plain := func(b *onnx.Builder, r *rand.Rand) {
		b.Input("x", tensor.Float32, "batch", "length", 24)
		b.Input("states", tensor.Float32, "batch", "seen", 24)
		k := do(b, "MatMul", "states", b.Const(randTensor(r, 24, 24)))
		b.NodeTo("MatMul", []string{"x", transpose(b, k, 0, 2, 1)}, []string{"y"}, nil)
		b.Output("y", tensor.Float32, "batch", "length", "seen")
		b.NodeTo("Neg", []string{k}, []string{"k"}, nil) // a result that is kept
		b.Output("k", tensor.Float32, "batch", "seen", 24)
	}
	for name, build := range map[string]func(*onnx.Builder, *rand.Rand){"branches": crossBranches, "plain": plain} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(5, 6))
			b := onnx.NewBuilder(name, 17)
			build(b, r)
			whole := open(t, b, engine.Options{})
			steady := open(t, b, engine.Options{Steady: []string{"states", "others"}})
			var states []*tensor.Tensor
			for i := range 6 { // more than are kept
				states = append(states, randTensor(r, 2, 3+i, 24))
			}
			var kept *tensor.Tensor
			for _, i := range []int{0, 0, 1, 0, 1, 2, 3, 4, 5, 5, 0, 0} {
				in := map[string]*tensor.Tensor{"x": randTensor(r, 2, 1+i, 24), "states": states[i]}
				if name == "branches" {
					in["first"] = tensor.Scalar(i%2 == 0)
				}
				want, err := whole.Run(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				got, err := steady.Run(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				for out := range want {
					if err := enginetest.Compare(got[out], want[out], 1e-6, 1e-5); err != nil {
						t.Errorf("%s of states %d: %v", out, i, err)
					}
				}
				if kept = got["k"]; kept != nil {
					clear(tensor.Data[float32](kept)) // the caller's own
				}
			}
			// The work is not done again: what was changed in the same tensor does not show.
			in := map[string]*tensor.Tensor{"x": randTensor(r, 2, 1, 24), "states": states[0]}
			if name == "branches" {
				in["first"] = tensor.Scalar(true)
			}
			before, err := steady.Run(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			clear(tensor.Data[float32](states[0]))
			after, err := steady.Run(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			if err := enginetest.Compare(after["y"], before["y"], 0, 0); err != nil {
				t.Errorf("computed again: %v", err)
			}
		})
	}
}

// addIf adds an If on "first".
func addIf(b *onnx.Builder, out string, branches map[string]*pb.GraphProto) {
	b.NodeTo("If", []string{"first"}, []string{out}, nil)
	n := b.Model.Graph.Node[len(b.Model.Graph.Node)-1]
	for _, name := range []string{"then_branch", "else_branch"} {
		n.Attribute = append(n.Attribute, &pb.AttributeProto{
			Name: proto.String(name), Type: pb.AttributeProto_GRAPH.Enum(), G: branches[name]})
	}
}

// compareWithPlain compares two runs of a session with the operators one by one.
func compareWithPlain(t *testing.T, b *onnx.Builder, opts engine.Options, in map[string]*tensor.Tensor) {
	t.Helper()
	want, err := open(t, b, engine.Options{NoFusion: true}).Run(t.Context(), in)
	if err != nil {
		t.Fatal("reference: ", err)
	}
	s := open(t, b, opts)
	for i := range 2 {
		got, err := s.Run(t.Context(), in)
		if err != nil {
			t.Error(i, err)
			continue
		}
		for o := range want {
			if err := enginetest.Compare(got[o], want[o], 1e-3, 1e-3); err != nil {
				t.Errorf("%s: %v", o, err)
			}
		}
	}
}

// TestSteadyOfTwoIfs has weights in the branches of two Ifs that differ between them.
func TestSteadyOfTwoIfs(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	b := onnx.NewBuilder("two", 17)
	b.Input("first", tensor.Bool)
	b.Input("states", tensor.Float32, "batch", "seen", 8)
	w := []string{b.Const(randTensor(r, 8, 8)), b.Const(randTensor(r, 8, 8))}
	bias := []string{b.Const(randTensor(r, 8)), b.Const(randTensor(r, 8))}
	for i := range 2 {
		out := fmt.Sprintf("y%d", i)
		m := map[string]*pb.GraphProto{}
		for _, br := range []string{"then_branch", "else_branch"} {
			s := onnx.NewBuilder(br, 17)
			p := out + br
			s.NodeTo("MatMul", []string{"states", w[i]}, []string{p + "n"}, nil)
			s.NodeTo("Add", []string{p + "n", bias[i]}, []string{p + "l"}, nil)
			s.NodeTo("Mul", []string{p + "l", scalar(s, float32(2+i))}, []string{p + "m"}, nil)
			for _, c := range s.Model.Graph.Initializer {
				c.Name = proto.String(p + c.GetName())
			}
			mul := s.Model.Graph.Node[len(s.Model.Graph.Node)-1]
			mul.Input[1] = p + mul.Input[1]
			op := "Neg"
			if br == "else_branch" {
				op = "Abs"
			}
			s.NodeTo(op, []string{p + "m"}, []string{p + "o"}, nil)
			s.Output(p+"o", tensor.Float32, "batch", "seen", 8)
			m[br] = s.Model.Graph
		}
		addIf(b, out, m)
		b.Output(out, tensor.Float32, "batch", "seen", 8)
	}
	compareWithPlain(t, b, engine.Options{Steady: []string{"states"}}, map[string]*tensor.Tensor{
		"first": tensor.Scalar(true), "states": randTensor(r, 2, 3, 8)})
}

// TestSteadySplits has branches that split the same input in different ways.
func TestSteadySplits(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, first := range []bool{true, false} {
		b := onnx.NewBuilder("split", 17)
		b.Input("first", tensor.Bool)
		b.Input("states", tensor.Float32, "batch", "seen", 12)
		m := map[string]*pb.GraphProto{}
		for br, n := range map[string]int{"then_branch": 2, "else_branch": 3} {
			s := onnx.NewBuilder(br, 17)
			var outs []string
			for i := range n {
				outs = append(outs, fmt.Sprint(br, i))
			}
			s.NodeTo("Split", []string{"states"}, outs, onnx.Attrs{"axis": 2})
			s.NodeTo("Neg", outs[1:2], []string{br + "o"}, nil)
			s.Output(br+"o", tensor.Float32, "batch", "seen", "w")
			m[br] = s.Model.Graph
		}
		addIf(b, "y", m)
		b.Output("y", tensor.Float32, "batch", "seen", "w")
		compareWithPlain(t, b, engine.Options{Steady: []string{"states"}}, map[string]*tensor.Tensor{
			"first": tensor.Scalar(first), "states": randTensor(r, 2, 3, 12)})
	}
}

// TestSteadyOptionalOutputs has branches of which one asks for fewer of a node's outputs.
func TestSteadyOptionalOutputs(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, first := range []bool{true, false} {
		b := onnx.NewBuilder("topk", 17)
		b.Input("first", tensor.Bool)
		b.Input("states", tensor.Float32, "batch", "seen", 12)
		w := b.Const(randTensor(r, 12))
		m := map[string]*pb.GraphProto{}
		for _, br := range []string{"then_branch", "else_branch"} {
			s := onnx.NewBuilder(br, 17)
			outs := []string{br + "a"}
			if br == "else_branch" {
				outs = []string{br + "a", br + "m"}
			}
			s.NodeTo("LayerNormalization", []string{"states", w}, outs, nil)
			s.NodeTo("Neg", outs[len(outs)-1:], []string{br + "o"}, nil)
			s.Output(br+"o", tensor.Float32, "batch", "seen", "w")
			m[br] = s.Model.Graph
		}
		addIf(b, "y", m)
		b.Output("y", tensor.Float32, "batch", "seen", "w")
		compareWithPlain(t, b, engine.Options{Steady: []string{"states"}}, map[string]*tensor.Tensor{
			"first": tensor.Scalar(first), "states": randTensor(r, 2, 3, 12)})
	}
}

// TestSteadySequence makes a sequence of a steady input.
func TestSteadySequence(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	b := onnx.NewBuilder("seq", 17)
	b.Input("i", tensor.Int64)
	b.Input("states", tensor.Float32, "batch", 4, 12)
	b.NodeTo("SplitToSequence", []string{"states"}, []string{"q"}, onnx.Attrs{"axis": 1})
	b.NodeTo("SequenceAt", []string{"q", "i"}, []string{"y"}, nil)
	b.Output("y", tensor.Float32, "batch", 1, 12)
	compareWithPlain(t, b, engine.Options{Steady: []string{"states"}}, map[string]*tensor.Tensor{
		"i": tensor.Scalar(int64(2)), "states": randTensor(r, 2, 4, 12)})
}
