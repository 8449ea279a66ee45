package ir_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/onnx/ir"
	"github.com/crossattn/xpipe/tensor"
)

// node writes "a, b -> Op -> c" as a node.
func node(s string, attrs ...ir.Attr) *ir.Node {
	part := strings.Split(s, "->")
	list := func(s string) (names []string) {
		for name := range strings.SplitSeq(s, ",") {
			names = append(names, strings.TrimSpace(name))
		}
		return names
	}
	op := strings.TrimSpace(part[1])
	return &ir.Node{Op: op, Inputs: list(part[0]), Outputs: list(part[2]), Attrs: attrs}
}

func specs(names ...string) []tensor.Spec {
	var list []tensor.Spec
	for _, n := range names {
		list = append(list, tensor.Spec{Name: n})
	}
	return list
}

// operators lists what is left of a graph.
func operators(g *ir.Graph) (names []string) {
	for _, n := range g.Nodes {
		names = append(names, n.Op)
	}
	return names
}

func TestReplaceKeepsUses(t *testing.T) {
	t.Parallel()
	consts := map[string]*tensor.Tensor{"c": tensor.Scalar(int64(1))}
	g := ir.New(specs("x"), specs("y"), consts, []*ir.Node{
		node("x, c -> Mul -> a"),
		node("a, a -> Add -> b"),
		node("a -> Neg -> unused"),
		node("b, -> Relu -> y, also"),
	})
	if len(g.Captures) != 0 {
		t.Errorf("captures %q", g.Captures)
	}
	check := func(value string, uses int, producer string) {
		t.Helper()
		op := ""
		if p := g.Producer(value); p != nil {
			op = p.Op
		}
		if g.Uses(value) != uses || op != producer {
			t.Errorf("%s: %d uses, computed by %q; want %d and %q",
				value, g.Uses(value), op, uses, producer)
		}
	}
	check("x", 1, "")
	check("a", 3, "Mul")
	check("b", 1, "Add")
	check("y", 1, "Relu") // the caller
	check("also", 0, "Relu")
	check("", 0, "")

	g.Replace(3, node("x, c -> Fused -> y"))
	check("x", 2, "")
	check("c", 2, "")
	check("b", 0, "Add")
	check("y", 1, "Fused")
	check("also", 0, "")
	if got := operators(g); !slices.Equal(got, []string{"Mul", "Add", "Neg", "Fused"}) {
		t.Errorf("before pruning: %q", got)
	}
	g.Prune()
	if got := operators(g); !slices.Equal(got, []string{"Fused"}) {
		t.Errorf("after pruning: %q", got)
	}
	check("a", 0, "")
	check("x", 1, "")
}

func TestKeep(t *testing.T) {
	t.Parallel()
	g := ir.New(specs("x"), specs("y"), nil, []*ir.Node{
		node("x -> Exp -> seen"), node("seen -> Neg -> unseen"), node("x -> Abs -> y"),
	})
	g.Keep("seen")
	if !g.Kept("seen") || !g.Kept("y") || g.Kept("x") || g.Uses("seen") != 2 {
		t.Error("kept values are not")
	}
	g.Prune()
	if got := operators(g); !slices.Equal(got, []string{"Exp", "Abs"}) {
		t.Errorf("%q", got)
	}
}

// What a subgraph takes from around it counts as read by the node that holds it.
func TestSubgraph(t *testing.T) {
	t.Parallel()
	branch := func(reads, gives string) *ir.Graph {
		return ir.New(nil, specs(gives, "z"), nil, []*ir.Node{node(reads + " -> Abs -> r")})
	}
	g := ir.New(specs("x", "which"), specs("y"), nil, []*ir.Node{
		node("x -> Exp -> a"),
		node("x -> Log -> b"),
		node("x -> Neg -> z"),
		node("which -> If -> y",
			ir.Attr{Name: "then_branch", Value: branch("a", "r")},
			ir.Attr{Name: "branches", Value: []*ir.Graph{branch("b", "r"), branch("a", "b")}}),
	})
	holder := g.Nodes[3]
	if got := holder.Reads(); !slices.Equal(got, []string{"which", "a", "z", "b", "z", "a", "b", "z"}) {
		t.Errorf("reads %q", got)
	}
	if len(holder.Inputs) != 1 || g.Uses("a") != 2 || g.Uses("z") != 3 {
		t.Errorf("a has %d uses, z %d", g.Uses("a"), g.Uses("z"))
	}
	g.Prune()
	if len(g.Nodes) != 4 || len(g.Captures) != 0 {
		t.Errorf("%q, captures %q", operators(g), g.Captures)
	}
}

func TestAttributes(t *testing.T) {
	t.Parallel()
	n := node("x -> Op -> y",
		ir.Attr{Name: "i", Value: int64(3)}, ir.Attr{Name: "f", Value: float32(1)},
		ir.Attr{Name: "list", Value: []int64{1, 2}}, ir.Attr{Name: "none"})
	if n.Int("i", 7) != 3 || n.Int("f", 7) != 7 || n.Int("absent", 7) != 7 || n.Int("none", 7) != 7 {
		t.Error("Int")
	}
	if !slices.Equal(n.Ints("list"), []int64{1, 2}) || n.Ints("i") != nil {
		t.Error("Ints")
	}
	if !n.Has("none") || n.Has("absent") {
		t.Error("Has")
	}
	for name, want := range map[string]bool{
		"f": true, "absent": true, "i": false, "list": false, "none": false,
	} {
		if n.Defaults(name, float32(1)) != want {
			t.Errorf("Defaults(%s)", name)
		}
	}
	if n.Input(0) != "x" || n.Input(1) != "" || (*ir.Node)(nil).Input(0) != "" {
		t.Error("Input")
	}
	for want, n := range map[string]*ir.Node{
		`node "here" (Op)`:  {Name: "here", Op: "Op", Outputs: []string{"y"}},
		`node for "y" (Op)`: n,
		"a Op node":         {Op: "Op"},
	} {
		if n.String() != want {
			t.Errorf("%v, want %s", n, want)
		}
	}
}
