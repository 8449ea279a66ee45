package onnx_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/onnx/ir"
)

// nodes writes "a, b -> domain.Op -> c; ..." as nodes.
func nodes(text string) []*pb.NodeProto {
	var list []*pb.NodeProto
	for line := range strings.SplitSeq(text, ";") {
		part := strings.Split(line, "->")
		names := func(s string) (names []string) {
			for name := range strings.SplitSeq(s, ",") {
				names = append(names, strings.TrimSpace(name))
			}
			return names
		}
		domain, op, found := strings.Cut(strings.TrimSpace(part[1]), ".")
		if !found {
			domain, op = "", domain
		}
		list = append(list, &pb.NodeProto{
			OpType: &op, Domain: &domain, Input: names(part[0]), Output: names(part[2]),
		})
	}
	return list
}

func opset(domain string, version int64) *pb.OperatorSetIdProto {
	return &pb.OperatorSetIdProto{Domain: &domain, Version: &version}
}

// define adds a function of domain "my" to a model.
func define(b *onnx.Builder, name, in, out, body string) *pb.FunctionProto {
	f := &pb.FunctionProto{
		Name: &name, Domain: proto.String("my"), Node: nodes(body),
		Input: strings.Fields(in), Output: strings.Fields(out),
		OpsetImport: []*pb.OperatorSetIdProto{opset("", 17), opset("my", 1)},
	}
	b.Model.Functions = append(b.Model.Functions, f)
	return f
}

// written writes the nodes of a graph as "a, b -> Op -> c".
func written(g *ir.Graph) (list []string) {
	for _, n := range g.Nodes {
		list = append(list, strings.Join(n.Inputs, ", ")+" -> "+n.Op+" -> "+
			strings.Join(n.Outputs, ", "))
	}
	return list
}

func TestFunctionsAreWrittenOut(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		build func(b *onnx.Builder)
		want  string
	}{
		"values that nothing else sees": {func(b *onnx.Builder) {
			define(b, "F", "a", "b", "a -> Exp -> t; t -> Neg -> b")
			b.Model.Graph.Node = nodes("x -> my.F -> t; t -> my.F -> y")
		}, "x -> Exp -> t/t; t/t -> Neg -> t; t -> Exp -> y/t; y/t -> Neg -> y"},
		"a name that is taken": {func(b *onnx.Builder) {
			define(b, "F", "a", "b", "a -> Exp -> t; t -> Neg -> b")
			b.Model.Graph.Node = nodes("x -> my.F -> y; x -> Abs -> y/t; y/t -> Abs -> z")
		}, "x -> Exp -> y/t'2; y/t'2 -> Neg -> y; x -> Abs -> y/t; y/t -> Abs -> z"},
		"functions that call functions": {func(b *onnx.Builder) {
			define(b, "F", "a", "b", "a -> my.G -> t; t -> my.G -> b")
			define(b, "G", "x", "y", "x -> Exp -> t; t -> Neg -> y")
			b.Model.Graph.Node = nodes("x -> my.F -> y")
		}, "x -> Exp -> y/G/t; y/G/t -> Neg -> y/t; y/t -> Exp -> y/G/t'2; y/G/t'2 -> Neg -> y"},
		"inputs and outputs left out": {func(b *onnx.Builder) {
			define(b, "F", "a low high", "b c", "a, low, high -> Clip -> b; a -> Abs -> c")
			b.Model.Graph.Node = nodes("x, , x -> my.F -> , y; x -> my.F -> z")
		}, "x, , x -> Clip -> y/b; x -> Abs -> y; x, ,  -> Clip -> z; x -> Abs -> z/c"},
		"an output that is an input, or stands twice": {func(b *onnx.Builder) {
			define(b, "F", "a", "a b b", "a -> Abs -> b")
			b.Model.Graph.Node = nodes("x -> my.F -> z, y, w")
		}, "x -> Abs -> y; x -> Identity -> z; y -> Identity -> w"},
		"overloads": {func(b *onnx.Builder) {
			define(b, "F", "a", "b", "a -> Abs -> b")
			define(b, "F", "a", "b", "a -> Neg -> b").Overload = proto.String("other")
			b.Model.Graph.Node = nodes("x -> my.F -> z; z -> my.F -> y")
			b.Model.Graph.Node[1].Overload = proto.String("other")
		}, "x -> Abs -> z; z -> Neg -> y"},
		"nodes in another order": {func(b *onnx.Builder) {
			define(b, "F", "a", "b", "t -> Neg -> b; a -> Exp -> t")
			b.Model.Graph.Node = nodes("x -> my.F -> y")
		}, "x -> Exp -> y/t; y/t -> Neg -> y"},
		"a function in the domain of the operators": {func(b *onnx.Builder) {
			define(b, "Relu", "a", "b", "a -> Neg -> b").Domain = proto.String("ai.onnx")
			b.Model.Graph.Node = nodes("x -> Relu -> y")
		}, "x -> Relu -> y"},
		"a function named as an operator is": {func(b *onnx.Builder) {
			define(b, "Abs", "a", "b", "a -> Abs -> b")
			b.Model.Graph.Node = nodes("x -> my.Abs -> y")
		}, "x -> Abs -> y"},
	} {
		b := builder()
		c.build(b)
		g, err := read(t, b)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got := strings.Join(written(g), "; "); got != c.want {
			t.Errorf("%s: %s\nwant %s", name, got, c.want)
		}
		summary := load(t, b).Summary()
		if summary.Nodes != len(g.Nodes) || slices.ContainsFunc(summary.Ops,
			func(o onnx.OpCount) bool { return o.Domain == "my" }) {
			t.Errorf("%s: the summary has %v", name, summary.Ops)
		}
	}
}

func attr(name string, v int64) *pb.AttributeProto {
	return &pb.AttributeProto{Name: &name, Type: pb.AttributeProto_INT.Enum(), I: &v}
}

func ref(name, to string) *pb.AttributeProto {
	return &pb.AttributeProto{
		Name: &name, Type: pb.AttributeProto_INT.Enum(), RefAttrName: &to,
	}
}

func TestFunctionAttributes(t *testing.T) {
	t.Parallel()
	b := builder()
	f := define(b, "F", "a", "b", "a -> my.G -> b")
	f.Attribute = []string{"axis"}
	f.Node[0].Attribute = []*pb.AttributeProto{ref("outer", "axis")}
	g := define(b, "G", "a", "b", "a -> Softmax -> t; t -> Other -> b")
	g.AttributeProto = []*pb.AttributeProto{attr("outer", 7), attr("more", 3)}
	g.Node[0].Attribute = []*pb.AttributeProto{ref("axis", "outer"), ref("dropped", "unknown")}
	g.Node[1].Attribute = []*pb.AttributeProto{ref("n", "more"), attr("own", 5)}
	b.Model.Graph.Node = nodes("x -> my.F -> z; z -> my.G -> y")
	b.Model.Graph.Node[0].Attribute = []*pb.AttributeProto{attr("axis", 1)}
	graph, err := read(t, b)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []map[string]int64{
		{"axis": 1}, {"n": 3, "own": 5}, {"axis": 7}, {"n": 3, "own": 5},
	} {
		n := graph.Nodes[i]
		if len(n.Attrs) != len(want) {
			t.Errorf("%v has %v, want %v", n, n.Attrs, want)
		}
		for name, v := range want {
			if n.Int(name, -1) != v {
				t.Errorf("%v: %s is %d, want %d", n, name, n.Int(name, -1), v)
			}
		}
	}
}

// A body is written in the operator sets of its function.
func TestFunctionOpsets(t *testing.T) {
	t.Parallel()
	b := builder()
	define(b, "F", "a", "b", "a -> Abs -> b").OpsetImport[0] = opset("", 11)
	b.Model.Graph.Node = nodes("x -> my.F -> z; z -> Abs -> y")
	g, err := read(t, b)
	if err != nil {
		t.Fatal(err)
	}
	if got := []int{g.Nodes[0].Version, g.Nodes[1].Version}; !slices.Equal(got, []int{11, 17}) {
		t.Errorf("versions %v", got)
	}
	if ops := load(t, b).Summary().Ops; len(ops) != 2 || ops[0].Opset != 11 || ops[1].Opset != 17 {
		t.Errorf("%v", ops)
	}
}

// branchOf makes a subgraph that computes an output of that name.
func branchOf(out, body string) *pb.GraphProto {
	return &pb.GraphProto{
		Name: proto.String("branch"), Node: nodes(body),
		Output: []*pb.ValueInfoProto{{Name: &out}},
	}
}

func withBranch(n *pb.NodeProto, g *pb.GraphProto) {
	n.Attribute = append(n.Attribute, &pb.AttributeProto{
		Name: proto.String("then_branch"), Type: pb.AttributeProto_GRAPH.Enum(), G: g,
	})
}

// A subgraph of a function reads the values of its call, and hides none of the graph's.
func TestFunctionsAndSubgraphs(t *testing.T) {
	t.Parallel()
	b := builder()
	f := define(b, "F", "a c", "b", "a -> Exp -> t; c -> If -> b")
	withBranch(f.Node[1], branchOf("x", "t -> my.G -> x"))
	define(b, "G", "u", "v", "u -> Neg -> w; w -> Abs -> v")
	b.Model.Graph.Node = nodes("x, x -> my.F -> z; z -> If -> y")
	withBranch(b.Model.Graph.Node[1], branchOf("r", "x -> my.G -> r"))
	g, err := read(t, b)
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(written(g), "; "); got != "x -> Exp -> z/t; x -> If -> z; z -> If -> y" {
		t.Error(got)
	}
	inside := func(n *ir.Node) string {
		v, _ := n.Attr("then_branch")
		return strings.Join(written(v.(*ir.Graph)), "; ")
	}
	if got := inside(g.Nodes[1]); got != "z/t -> Neg -> z/G/w; z/G/w -> Abs -> z/x" {
		t.Error(got)
	}
	if got := inside(g.Nodes[2]); got != "x -> Neg -> r/w; r/w -> Abs -> r" {
		t.Error(got)
	}
}

// What is wrong with a subgraph is the error of the operator that asks for it.
func TestFunctionCallsItselfInASubgraph(t *testing.T) {
	t.Parallel()
	b := builder()
	f := define(b, "F", "a", "b", "a -> If -> b")
	withBranch(f.Node[0], branchOf("r", "a -> my.F -> r"))
	b.Model.Graph.Node = nodes("x -> my.F -> y")
	g, err := read(t, b)
	if err != nil {
		t.Fatal(err)
	}
	v, _ := g.Nodes[0].Attr("then_branch")
	if err, ok := v.(error); !ok || !says(err, "calls itself") {
		t.Errorf("%v", v)
	}
}

func TestFunctionErrors(t *testing.T) {
	t.Parallel()
	for part, build := range map[string]func(b *onnx.Builder){
		"calls itself": func(b *onnx.Builder) {
			define(b, "F", "a", "b", "a -> my.G -> b")
			define(b, "G", "a", "b", "a -> my.F -> b")
			b.Model.Graph.Node = nodes("x -> my.F -> y")
		},
		"G calls itself": func(b *onnx.Builder) { // however much it would stand for
			define(b, "F", "a", "b", "a -> my.G -> b")
			define(b, "G", "a", "b", "a -> my.F -> c; c -> my.G -> b")
			b.Model.Graph.Node = nodes("x -> my.G -> y")
		},
		"two functions": func(b *onnx.Builder) {
			define(b, "F", "a", "b", "a -> Abs -> b")
			define(b, "F", "a", "b", "a -> Abs -> b")
		},
		"has 2 inputs": func(b *onnx.Builder) {
			define(b, "F", "a", "b", "a -> Abs -> b")
			b.Model.Graph.Node = nodes("x, x -> my.F -> y")
		},
		`two inputs of function my.F are called "a"`: func(b *onnx.Builder) {
			define(b, "F", "a a", "b", "a -> Abs -> b")
			b.Model.Graph.Node = nodes("x, x -> my.F -> y")
		},
		"nothing computes": func(b *onnx.Builder) {
			define(b, "F", "a", "b", "x -> Abs -> b") // x is the graph's
			b.Model.Graph.Node = nodes("x -> my.F -> y")
		},
		"stand for more than": func(b *onnx.Builder) {
			define(b, "F0", "a", "b", "a -> Abs -> b")
			for i := range 40 {
				from, name := "my.F"+strconv.Itoa(i), "F"+strconv.Itoa(i+1)
				define(b, name, "a", "b", "a -> "+from+" -> t; t -> "+from+" -> b")
			}
			b.Model.Graph.Node = nodes("x -> my.F40 -> y")
		},
	} {
		b := builder()
		build(b)
		if _, err := read(t, b); !says(err, part) {
			t.Errorf("%v, want an error about %q", err, part)
		}
		load(t, b).Summary() // does not hang or panic
	}
}
