package fallback_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/fallback/internal/ops"
	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// typeRow is what testdata/operators/element_types.json says of an operator: the type parameters of
// its inputs and outputs, the types that the specification allows each, and some node tests.
type typeRow struct {
	Inputs, Outputs []string
	Types           map[string][]string
	Tests           []string
}

// Every operator runs with every element type that the specification allows it, and in other floats
// computes what it does in float32.
func TestElementTypes(t *testing.T) {
	t.Parallel()
	dir := enginetest.NodeTestsDir(t)
	text, err := os.ReadFile("../testdata/operators/element_types.json")
	if err != nil {
		t.Fatal(err)
	}
	var table map[string]typeRow
	if err := json.Unmarshal(text, &table); err != nil {
		t.Fatal(err)
	}
	for _, op := range ops.Names() {
		row, listed := table[op]
		if !listed && !slices.Contains(unlisted, op) {
			t.Errorf("%s is not in element_types.json; run element_types.py", op)
		}
		models := map[string]*typed{}
		for _, name := range row.Tests {
			if models[name], err = loadTyped(filepath.Join(dir, name)); err != nil {
				t.Fatal(name, err)
			}
		}
		if listed && len(row.Tests) == 0 && !movesOnly(op) {
			models["no test"] = single(op)
		}
		for name, m := range models {
			for param, allowed := range row.Types {
				for _, dtype := range allowed {
					if reason := meaningless(op, name, param, dtype); reason != "" {
						continue
					}
					if err := m.run(t, row, param, dtype); err != nil {
						t.Errorf("%s with %s %s (%s): %v", op, param, dtype, name, err)
					}
				}
			}
		}
	}
}

// meaningless says why a test cannot have a type that its operator is allowed.
func meaningless(op, test, param, dtype string) string {
	float := strings.Contains(dtype, "float")
	switch {
	case op == "Mod" && float && !strings.Contains(test, "fmod"):
		return "fmod must be 1 for floats"
	case strings.HasPrefix(op, "Scatter") && dtype == "bool":
		return "no arithmetic reduces bools"
	case (op == "Loop" || op == "Scan") && dtype == "bool":
		return "the graph within adds"
	}
	return ""
}

// unlisted are operators that the package onnx of testdata/requirements.txt does not have: those of
// newer operator sets, and one that is ONNX Runtime's.
var unlisted = []string{
	"Attention", "RMSNormalization", "RotaryEmbedding", "SimplifiedLayerNormalization", "Swish", "TensorScatter",
}

// typed is a node test whose types can be changed.
type typed struct {
	model *pb.ModelProto
	in    map[string]*tensor.Tensor
}

// movesOnly says whether an operator only moves tensors, in and out of sequences.
func movesOnly(op string) bool {
	return strings.Contains(op, "Sequence") || strings.HasPrefix(op, "Optional")
}

// single makes a graph of an operator without attributes.
func single(op string) *typed {
	x := tensor.Must(tensor.New([]int{2, 3}, []float32{0.5, -1, 2, 1.5, -0.25, 3}))
	b := onnx.NewBuilder("single", 22)
	b.Input("x", tensor.Float32, 2, 3)
	b.NodeTo(op, []string{"x"}, []string{"y"}, nil)
	b.Output("y", tensor.Float32, 2, 3)
	return &typed{b.Model, map[string]*tensor.Tensor{"x": x}}
}

func loadTyped(dir string) (*typed, error) {
	b, err := os.ReadFile(filepath.Join(dir, "model.onnx"))
	if err != nil {
		return nil, err
	}
	m := &typed{model: new(pb.ModelProto), in: map[string]*tensor.Tensor{}}
	if err := proto.Unmarshal(b, m.model); err != nil {
		return nil, err
	}
	for i, v := range m.model.Graph.Input {
		path := filepath.Join(dir, "test_data_set_0", fmt.Sprintf("input_%d.pb", i))
		dtype := onnx.DType(v.GetType().GetTensorType().GetElemType())
		if m.in[v.GetName()], err = enginetest.LoadTensor(path, dtype); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// run runs the test with a type for a parameter and, if that is a float, in float32 too.
func (m *typed) run(t *testing.T, row typeRow, param, dtype string) error {
	to := typeNamed(dtype)
	got, rounded, err := m.with(t, row, param, to, m.in)
	if err != nil {
		return err
	}
	within := 0.0
	switch to {
	case tensor.Float64:
		within = 1e-4
	case tensor.Float16:
		within = 0.01
	case tensor.BFloat16:
		within = 0.06
	default:
		return nil
	}
	if !slices.Contains(row.Types[param], "float32") {
		return nil
	}
	want, _, err := m.with(t, row, param, tensor.Float32, rounded)
	if err != nil {
		return err
	}
	for name, w := range want {
		g := got[name]
		if w.DType() == tensor.Float32 {
			if g.DType() != to && g.DType() != tensor.Float32 {
				return fmt.Errorf("output %q is %v", name, g)
			}
			g, w = as(g, tensor.Float32), as(as(w, to), tensor.Float32)
		}
		if err := enginetest.Compare(g, w, within, within); err != nil {
			return fmt.Errorf("output %q: %w", name, err)
		}
	}
	return nil
}

// typeNamed returns the element type of a name in the table.
func typeNamed(name string) tensor.DType {
	for code := range int32(pb.TensorProto_BFLOAT16 + 1) {
		if d := onnx.DType(code); d != tensor.Invalid && d.String() == name {
			return d
		}
	}
	return tensor.Invalid
}

// with runs the test with a type for a parameter. It returns the outputs and the inputs used.
func (m *typed) with(
	t *testing.T, row typeRow, param string, to tensor.DType, in map[string]*tensor.Tensor,
) (out, used map[string]*tensor.Tensor, err error) {
	model := proto.Clone(m.model).(*pb.ModelProto)
	g := model.GetGraph()
	code := proto.Int32(onnx.ElementType(to))
	used = map[string]*tensor.Tensor{}
	for _, v := range g.Input {
		name := v.GetName()
		used[name] = in[name]
		if i := slices.Index(g.Node[0].Input, name); parameter(row.Inputs, i) == param {
			used[name] = as(in[name], to)
			v.Type.GetTensorType().ElemType = code
		}
	}
	for _, v := range g.Output {
		i := slices.Index(g.Node[0].Output, v.GetName())
		if parameter(row.Outputs, i) == param {
			v.Type.GetTensorType().ElemType = code
		}
	}
	for _, a := range g.Node[0].Attribute {
		named := a.GetName() == "to" || a.GetName() == "dtype"
		if row.Outputs[0] == param && named {
			a.I = proto.Int64(int64(*code))
		}
		if a.T != nil && row.Outputs[0] == param {
			if a.T, err = retyped(a.T, to); err != nil {
				return nil, nil, err
			}
		}
		if a.G != nil && row.Outputs[0] == param {
			if err := retypeGraph(a.G, to); err != nil {
				return nil, nil, err
			}
		}
	}
	data, err := proto.Marshal(model)
	if err != nil {
		return nil, nil, err
	}
	s, err := fallback.New().Open(t.Context(), onnx.MemorySource(data), engine.Options{Threads: 1})
	if err != nil {
		return nil, nil, err
	}
	defer s.Close()
	out, err = s.Run(t.Context(), used)
	return out, used, err
}

// parameter returns the type parameter of an input or output; the last one may be there often.
func parameter(list []string, i int) string {
	if i < 0 || len(list) == 0 {
		return ""
	}
	return list[min(i, len(list)-1)]
}

// retypeGraph changes all float32 of a graph within a node.
func retypeGraph(g *pb.GraphProto, to tensor.DType) (err error) {
	for _, v := range slices.Concat(g.Input, g.Output, g.ValueInfo) {
		tt := v.GetType().GetTensorType()
		if tt != nil && onnx.DType(tt.GetElemType()) == tensor.Float32 {
			tt.ElemType = proto.Int32(onnx.ElementType(to))
		}
	}
	for i, p := range g.Initializer {
		if g.Initializer[i], err = retyped(p, to); err != nil {
			return err
		}
	}
	for _, n := range g.Node {
		for _, a := range n.Attribute {
			if a.T != nil {
				if a.T, err = retyped(a.T, to); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// retyped converts a tensor of floats.
func retyped(p *pb.TensorProto, to tensor.DType) (*pb.TensorProto, error) {
	t, err := (&onnx.Model{}).Tensor(p)
	if err != nil || t.DType() != tensor.Float32 {
		return p, err
	}
	return onnx.TensorProto(p.GetName(), as(t, to)), nil
}

// as converts a tensor.
func as(t *tensor.Tensor, to tensor.DType) *tensor.Tensor {
	if t.DType() == to {
		return t
	}
	v, r := t.Float32s(), tensor.Must(tensor.Zeros(to, t.Shape()...))
	for i, f := range v {
		switch to {
		case tensor.Float32:
			tensor.Data[float32](r)[i] = f
		case tensor.Float64:
			tensor.Data[float64](r)[i] = float64(f)
		case tensor.Float16:
			tensor.Data[tensor.Half](r)[i] = tensor.ToHalf(f)
		case tensor.BFloat16:
			tensor.Data[tensor.BF16](r)[i] = tensor.ToBF16(f)
		case tensor.Int64:
			tensor.Data[int64](r)[i] = int64(f)
		case tensor.Int32:
			tensor.Data[int32](r)[i] = int32(f)
		case tensor.Int8:
			tensor.Data[int8](r)[i] = int8(f)
		case tensor.Uint8:
			tensor.Data[uint8](r)[i] = uint8(f)
		case tensor.Bool:
			tensor.Data[bool](r)[i] = f > 0
		}
	}
	return r
}
