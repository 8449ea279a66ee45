package fallback_test

import (
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// TestLastPosition compares heads that give the last position's logits, unless a run asks for all, with the
// same that always give all.
func TestLastPosition(t *testing.T) {
	t.Parallel()
	const width, vocabulary = 24, 40
	weights := func(b *onnx.Builder, r *rand.Rand) string { return b.Const(randTensor(r, width, vocabulary)) }
	heads := map[string]struct {
		build
		kept bool // all positions
	}{
		"product": {build: func(b *onnx.Builder, r *rand.Rand) string { return do(b, "MatMul", "x", weights(b, r)) }},
		"tied embedding, bias": {build: func(b *onnx.Builder, r *rand.Rand) string {
			w := transpose(b, b.Const(randTensor(r, vocabulary, width)), 1, 0)
			return do(b, "Add", b.Const(randTensor(r, vocabulary)), do(b, "MatMul", "x", w))
		}},
		"bounded": {build: func(b *onnx.Builder, r *rand.Rand) string {
			y := do(b, "Div", do(b, "MatMul", "x", weights(b, r)), scalar(b, 30))
			return do(b, "Mul", do(b, "Tanh", y), scalar(b, 30))
		}},
		"dynamic int8": {build: func(b *onnx.Builder, r *rand.Rand) string {
			b.NodeTo("DynamicQuantizeLinear", []string{"x"}, []string{"q", "q.scale", "q.zero"}, nil)
			w := tensor.Must(tensor.Zeros(tensor.Int8, width, vocabulary))
			for i := range w.Len() {
				tensor.Data[int8](w)[i] = int8(r.IntN(256) - 128)
			}
			y := do(b, "MatMulInteger", "q", b.Const(w), "q.zero", b.Const(tensor.Scalar(int8(0))))
			return do(b, "Mul", b.Node("Cast", []string{y}, onnx.Attrs{"to": 1}), do(b, "Mul", "q.scale", scalar(b, 0.01)))
		}},
		"4 bits": {build: func(b *onnx.Builder, r *rand.Rand) string {
			b.Model.OpsetImport = append(b.Model.OpsetImport,
				&pb.OperatorSetIdProto{Domain: proto.String("com.microsoft"), Version: proto.Int64(1)})
			w := tensor.Must(tensor.Zeros(tensor.Uint8, vocabulary, 1, 16))
			for i := range w.Len() {
				tensor.Data[uint8](w)[i] = uint8(r.IntN(256))
			}
			y := b.Node("MatMulNBits", []string{"x", b.Const(w), b.Const(randTensor(r, vocabulary, 1))},
				onnx.Attrs{"K": width, "N": vocabulary, "bits": 4, "block_size": 32})
			b.Model.Graph.Node[len(b.Model.Graph.Node)-1].Domain = proto.String("com.microsoft")
			return y
		}},
		"branches": {build: func(b *onnx.Builder, r *rand.Rand) string {
			w := weights(b, r)
			branch := func(name string, scale float32) *pb.GraphProto {
				s := onnx.NewBuilder(name, 17)
				y := do(s, "Mul", do(s, "MatMul", "x", w), scalar(s, scale))
				s.NodeTo("Identity", []string{y}, []string{name + ".y"}, nil)
				s.Output(name+".y", tensor.Float32, "batch", "length", vocabulary)
				for _, p := range append(s.Model.Graph.Node, &pb.NodeProto{}) {
					for i, in := range p.Input { // names of values are unique over all graphs
						if in != "x" && in != w {
							p.Input[i] = name + in
						}
					}
					for i, o := range p.Output {
						if o != name+".y" {
							p.Output[i] = name + o
						}
					}
				}
				for _, c := range s.Model.Graph.Initializer {
					c.Name = proto.String(name + c.GetName())
				}
				return s.Model.Graph
			}
			b.NodeTo("If", []string{b.Input("first", tensor.Bool)}, []string{"branched"}, nil)
			n := b.Model.Graph.Node[len(b.Model.Graph.Node)-1]
			for name, scale := range map[string]float32{"then_branch": 1, "else_branch": -2} {
				n.Attribute = append(n.Attribute, &pb.AttributeProto{
					Name: proto.String(name), Type: pb.AttributeProto_GRAPH.Enum(), G: branch(name, scale)})
			}
			return "branched"
		}},
		"normalised over positions": {kept: true, build: func(b *onnx.Builder, r *rand.Rand) string {
			return b.Node("Softmax", []string{do(b, "MatMul", "x", weights(b, r))}, onnx.Attrs{"axis": 1})
		}},
		"needed elsewhere": {kept: true, build: func(b *onnx.Builder, r *rand.Rand) string {
			y := do(b, "MatMul", "x", weights(b, r))
			return do(b, "Add", y, b.Node("ReduceMax", []string{y}, onnx.Attrs{"axes": []int{1}}))
		}},
	}
	for name, h := range heads {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(21, 22))
			b := onnx.NewBuilder(name, 17)
			b.Input("x", tensor.Float32, "batch", "length", width)
			y := h.build(b, r)
			b.NodeTo("Identity", []string{y}, []string{"logits"}, nil)
			b.Output("logits", tensor.Float32, "batch", "length", vocabulary)
			whole := open(t, b, engine.Options{})
			last := open(t, b, engine.Options{LastPosition: []string{"logits", "others"}})
			for _, length := range []int{1, 2, 7} {
				in := map[string]*tensor.Tensor{"x": randTensor(r, 2, length, width)}
				if name == "branches" {
					in["first"] = tensor.Scalar(length == 2)
				}
				want, err := whole.Run(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				got, err := last.Run(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				all, one := want["logits"], got["logits"]
				if h.kept {
					if err := enginetest.Compare(one, all, 0, 0); err != nil {
						t.Error(err)
					}
					continue
				}
				var rows []float32
				for i := range 2 {
					rows = append(rows, tensor.Data[float32](all)[(i+1)*length*vocabulary-vocabulary:(i+1)*length*vocabulary]...)
				}
				if err := enginetest.Compare(one, tensor.Must(tensor.New([]int{2, 1, vocabulary}, rows)), 1e-6, 1e-5); err != nil {
					t.Errorf("length %d: %v", length, err)
				}
				if got, err = last.Run(engine.AllPositions(t.Context()), in); err != nil {
					t.Fatal(err)
				}
				if err := enginetest.Compare(got["logits"], all, 1e-6, 1e-5); err != nil {
					t.Errorf("length %d, all positions: %v", length, err)
				}
			}
		})
	}
}
