package onnx_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/onnx/ir"
	"github.com/crossattn/xpipe/tensor"
)

// read writes a model as a file and reads its graph.
func read(t *testing.T, b *onnx.Builder) (*ir.Graph, error) {
	t.Helper()
	return load(t, b).Graph()
}

// load writes a model as a file and opens that.
func load(t *testing.T, b *onnx.Builder) *onnx.Model {
	t.Helper()
	m, err := onnx.Load(b.Source())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// says tells whether err is one about the graph that mentions part.
func says(err error, part string) bool {
	return errors.Is(err, onnx.ErrGraph) && strings.Contains(err.Error(), part)
}

// builder begins a model from x to y.
func builder() *onnx.Builder {
	b := onnx.NewBuilder("test", 17)
	b.Input("x", tensor.Float32, "n")
	b.Output("y", tensor.Float32, "n")
	return b
}

func TestGraphOrder(t *testing.T) {
	t.Parallel()
	b := builder()
	unused := b.Const(tensor.Scalar(float32(2)))
	b.NodeTo("Add", []string{"b", "a"}, []string{"y"}, nil)
	b.NodeTo("Neg", []string{"a"}, []string{"b"}, nil)
	b.NodeTo("Mul", []string{"x", b.Const(tensor.Scalar(float32(3)))}, []string{"a"}, nil)
	g, err := read(t, b)
	if err != nil {
		t.Fatal(err)
	}
	var order []string
	for _, n := range g.Nodes {
		order = append(order, n.Op)
		if n.Version != 17 || n.Domain != "" {
			t.Errorf("%v is of operator set %q version %d", n, n.Domain, n.Version)
		}
	}
	if !slices.Equal(order, []string{"Mul", "Neg", "Add"}) {
		t.Errorf("order %q", order)
	}
	if g.Consts[unused] != nil || len(g.Consts) != 1 {
		t.Errorf("constants %v", g.Consts)
	}
	if len(g.Inputs) != 1 || g.Inputs[0].Name != "x" || len(g.Outputs) != 1 || g.Outputs[0].Name != "y" {
		t.Errorf("from %v to %v", g.Inputs, g.Outputs)
	}
}

// What Builder writes is what the reader gives.
func TestAttributesBothWays(t *testing.T) {
	t.Parallel()
	b := builder()
	b.NodeTo("Op", []string{"x"}, []string{"y"}, onnx.Attrs{
		"i": 1 << 40, "f": float32(0.5), "s": "text", "ints": []int{3, -4}, "t": tensor.Scalar(int64(9)),
	})
	n := b.Model.Graph.Node[0]
	n.Attribute = append(n.Attribute,
		&pb.AttributeProto{Name: proto.String("floats"), Floats: []float32{1, 2}},
		&pb.AttributeProto{Name: proto.String("strings"), Strings: [][]byte{[]byte("a"), nil}},
		&pb.AttributeProto{Name: proto.String("untyped"), I: proto.Int64(0)},
		&pb.AttributeProto{Name: proto.String("nothing")},
		&pb.AttributeProto{Name: proto.String("ref"), RefAttrName: proto.String("outer")},
		&pb.AttributeProto{Name: proto.String("sparse"), Type: pb.AttributeProto_SPARSE_TENSOR.Enum()},
		&pb.AttributeProto{Name: proto.String("no tensor"), Type: pb.AttributeProto_TENSOR.Enum()},
		&pb.AttributeProto{Name: proto.String("strings of bytes"), T: &pb.TensorProto{DataType: proto.Int32(8)}},
	)
	g, err := read(t, b)
	if err != nil {
		t.Fatal(err)
	}
	node := g.Nodes[0]
	for name, want := range map[string]any{
		"i": int64(1 << 40), "f": float32(0.5), "s": "text",
		"untyped": int64(0), "nothing": nil, "ref": ir.Ref("outer"),
	} {
		if got, given := node.Attr(name); !given || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if !slices.Equal(node.Ints("ints"), []int64{3, -4}) {
		t.Errorf("ints are %v", node.Ints("ints"))
	}
	if v, _ := node.Attr("floats"); !slices.Equal(v.([]float32), []float32{1, 2}) {
		t.Errorf("floats are %v", v)
	}
	if v, _ := node.Attr("strings"); !slices.Equal(v.([]string), []string{"a", ""}) {
		t.Errorf("strings are %q", v)
	}
	if v, _ := node.Attr("t"); tensor.Data[int64](v.(*tensor.Tensor))[0] != 9 {
		t.Errorf("t is %v", v)
	}
	for name, part := range map[string]string{
		"sparse": "SPARSE_TENSOR", "no tensor": "holds no tensor", "strings of bytes": "string",
	} {
		v, _ := node.Attr(name)
		if err, ok := v.(error); !ok || !says(err, part) {
			t.Errorf("%s is %v, want an error about %q", name, v, part)
		}
	}
}

// branch is a subgraph without inputs: r = op(in).
func branch(op, in string, more ...*pb.NodeProto) *pb.GraphProto {
	n := &pb.NodeProto{OpType: proto.String(op), Input: []string{in, "w"}, Output: []string{"r"}}
	return &pb.GraphProto{
		Node:        append([]*pb.NodeProto{n}, more...),
		Initializer: []*pb.TensorProto{onnx.TensorProto("w", tensor.Scalar(float32(1)))},
		Output:      []*pb.ValueInfoProto{{Name: proto.String("r")}},
	}
}

// A subgraph reads values of the graphs around it, and a node waits for what its subgraphs read.
func TestSubgraph(t *testing.T) {
	t.Parallel()
	choose := func(then, otherwise *pb.GraphProto) *onnx.Builder {
		b := builder()
		which := b.Const(tensor.Scalar(true))
		b.NodeTo("If", []string{which}, []string{"y"}, nil)
		b.NodeTo("Exp", []string{"x"}, []string{"a"}, nil)
		n := b.Model.Graph.Node[0]
		for name, g := range map[string]*pb.GraphProto{"then_branch": then, "else_branch": otherwise} {
			n.Attribute = append(n.Attribute, &pb.AttributeProto{
				Name: proto.String(name), Type: pb.AttributeProto_GRAPH.Enum(), G: g,
			})
		}
		return b
	}
	inner := &pb.NodeProto{OpType: proto.String("If"), Input: []string{"w"}, Output: []string{"s"}}
	inner.Attribute = []*pb.AttributeProto{{
		Name: proto.String("then_branch"), Type: pb.AttributeProto_GRAPH.Enum(), G: branch("Sub", "r"),
	}}
	g, err := read(t, choose(branch("Add", "a"), branch("Mul", "x", inner)))
	if err != nil {
		t.Fatal(err)
	}
	if g.Nodes[0].Op != "Exp" || g.Nodes[1].Op != "If" {
		t.Errorf("order %v", g.Nodes)
	}
	if g.Uses("a") != 1 || g.Uses("x") != 2 || len(g.Captures) != 0 {
		t.Errorf("%d uses of a, %d of x, captures %q", g.Uses("a"), g.Uses("x"), g.Captures)
	}
	v, _ := g.Nodes[1].Attr("then_branch")
	then := v.(*ir.Graph)
	if !slices.Equal(then.Captures, []string{"a"}) || then.Consts["w"] == nil ||
		then.Nodes[0].Version != 17 {
		t.Errorf("captures %q, constants %v", then.Captures, then.Consts)
	}

	g, err = read(t, choose(branch("Add", "nowhere"), branch("Add", "x")))
	if err != nil {
		t.Fatal(err) // whoever needs the node reports it
	}
	v, _ = g.Nodes[0].Attr("then_branch")
	if err, ok := v.(error); !ok || !says(err, "nowhere") {
		t.Errorf("a branch that reads a value that is not there is %v", v)
	}
	if _, err = read(t, choose(branch("Add", "y"), branch("Add", "x"))); !says(err, "cycle") {
		t.Errorf("a branch that reads its own result gives %v", err)
	}
}

func TestGraphErrors(t *testing.T) {
	t.Parallel()
	for part, build := range map[string]func(b *onnx.Builder){
		"something else": func(b *onnx.Builder) {
			b.NodeTo("Abs", []string{"x"}, []string{"y"}, nil)
			b.NodeTo("Neg", []string{"x"}, []string{"y"}, nil)
		},
		`two things are called "x"`: func(b *onnx.Builder) { b.Input("x", tensor.Float32, 1) },
		"nothing computes": func(b *onnx.Builder) {
			b.NodeTo("Abs", []string{"z"}, []string{"y"}, nil)
		},
		"cycle": func(b *onnx.Builder) { b.NodeTo("Abs", []string{"y"}, []string{"y"}, nil) },
		`gives attribute "axis" twice`: func(b *onnx.Builder) {
			b.NodeTo("Softmax", []string{"x"}, []string{"y"}, onnx.Attrs{"axis": 0})
			n := b.Model.Graph.Node[0]
			n.Attribute = append(n.Attribute, n.Attribute[0])
		},
		"sparse": func(b *onnx.Builder) {
			b.Model.Graph.SparseInitializer = []*pb.SparseTensorProto{{Dims: []int64{1}}}
		},
	} {
		b := builder()
		build(b)
		if _, err := read(t, b); !says(err, part) {
			t.Errorf("%v, want an error about %q", err, part)
		}
	}
}
