package fallback_test

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// body makes a graph for an attribute of a node.
func body(build func(b *onnx.Builder)) *pb.GraphProto {
	b := onnx.NewBuilder("body", 17)
	build(b)
	return b.Model.Graph
}

// holds gives the last node of b an attribute that holds a graph.
func holds(b *onnx.Builder, name string, g *pb.GraphProto) {
	nodes := b.Model.Graph.Node
	n := nodes[len(nodes)-1]
	n.Attribute = append(n.Attribute, &pb.AttributeProto{
		Name: proto.String(name), Type: pb.AttributeProto_GRAPH.Enum(), G: g,
	})
}

// loop adds a Loop that carries what starts as the value named in, and whose body computes "next"
// and, if collected is not "", that.
func loop(b *onnx.Builder, count, in string, out []string, collected string,
	build func(b *onnx.Builder)) {
	b.NodeTo("Loop", []string{count, "", in}, out, nil)
	holds(b, "body", body(func(b *onnx.Builder) {
		b.Input("i", tensor.Int64)
		b.Input("go", tensor.Bool)
		b.Input("v", tensor.Float32, "n")
		b.NodeTo("Identity", []string{"go"}, []string{"on"}, nil)
		build(b)
		b.Output("on", tensor.Bool)
		b.Output("next", tensor.Float32, "n")
		if collected != "" {
			b.Output(collected, tensor.Float32, "n")
		}
	}))
}

func run(t *testing.T, ctx context.Context, b *onnx.Builder, limit int64, n int) (
	map[string]*tensor.Tensor, error) {
	t.Helper()
	e := &fallback.Engine{MemoryLimit: limit}
	s, err := e.Open(t.Context(), b.Source(), engine.Options{Threads: 1})
	if err != nil {
		return nil, err
	}
	defer s.Close()
	x := tensor.Must(tensor.Zeros(tensor.Float32, n))
	return s.Run(ctx, map[string]*tensor.Tensor{"x": x})
}

func graphOf(opset int) *onnx.Builder {
	b := onnx.NewBuilder("graph", opset)
	b.Input("x", tensor.Float32, "n")
	return b
}

// A loop gives back the values of each run of its body, its own inputs and what it captures.
func TestLoopMemory(t *testing.T) {
	t.Parallel()
	const n = 1 << 16 // 256 kB a value
	b := graphOf(17)
	start := b.Node("Neg", []string{"x"}, nil)
	around := b.Node("Exp", []string{"x"}, nil)
	loop(b, b.Const(tensor.Scalar(int64(1000))), start, []string{"y"}, "", func(b *onnx.Builder) {
		b.NodeTo("Abs", []string{"v"}, []string{"a"}, nil)
		b.NodeTo("Add", []string{"a", around}, []string{"next"}, nil)
	})
	b.Output("y", tensor.Float32, "n")
	out, err := run(t, t.Context(), b, 8<<18, n)
	if err != nil {
		t.Fatal(err)
	}
	if y := tensor.Data[float32](out["y"]); y[0] != 1000 || y[n-1] != 1000 {
		t.Errorf("%v, %v", y[0], y[n-1])
	}
}

// A graph cannot make a loop go on for ever, or take more than the memory limit.
func TestLoopLimits(t *testing.T) {
	t.Parallel()
	endless := graphOf(17)
	loop(endless, "", "x", []string{"y"}, "", func(b *onnx.Builder) {
		b.NodeTo("Neg", []string{"v"}, []string{"next"}, nil)
	})
	endless.Output("y", tensor.Float32, "n")
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := run(t, ctx, endless, 0, 4); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("endless: %v", err)
	}
	for name, build := range map[string]func(b *onnx.Builder){
		"collects": func(b *onnx.Builder) {
			loop(b, "", "x", []string{"", "y"}, "seen", func(b *onnx.Builder) {
				b.NodeTo("Neg", []string{"v"}, []string{"next"}, nil)
				b.NodeTo("Abs", []string{"v"}, []string{"seen"}, nil)
			})
		},
		"grows": func(b *onnx.Builder) {
			loop(b, "", "x", []string{"y"}, "", func(b *onnx.Builder) {
				b.NodeTo("Concat", []string{"v", "v"}, []string{"next"}, onnx.Attrs{"axis": 0})
			})
		},
		"collects constants": func(b *onnx.Builder) {
			loop(b, "", "x", []string{"", "y"}, "seen", func(b *onnx.Builder) {
				b.NodeTo("Identity", []string{"v"}, []string{"next"}, nil)
				b.NodeTo("Constant", nil, []string{"seen"},
					onnx.Attrs{"value": tensor.Must(tensor.Zeros(tensor.Float32, 1000))})
			})
		},
		"sequence": func(b *onnx.Builder) {
			s := b.Node("SequenceConstruct", []string{"x"}, nil)
			loop(b, "", s, []string{"s"}, "", func(b *onnx.Builder) {
				b.NodeTo("Exp", []string{"x"}, []string{"e"}, nil)
				b.NodeTo("SequenceInsert", []string{"v", "e"}, []string{"next"}, nil)
			})
			b.NodeTo("ConcatFromSequence", []string{"s"}, []string{"y"}, onnx.Attrs{"axis": 0})
		},
	} {
		b := graphOf(17)
		build(b)
		b.Output("y", tensor.Float32, "n")
		if _, err := run(t, t.Context(), b, 1<<20, 1000); !errors.Is(err, engine.ErrGraph) ||
			!strings.Contains(err.Error(), "limit") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Mistakes about sequences and graphs within are errors that say what is wrong.
func TestSubgraphErrors(t *testing.T) {
	t.Parallel()
	for want, build := range map[string]func(b *onnx.Builder){
		"is a sequence, not a tensor": func(b *onnx.Builder) {
			s := b.Node("SequenceConstruct", []string{"x"}, nil)
			b.NodeTo("Add", []string{"x", s}, []string{"y"}, nil)
		},
		`output "y" is a sequence`: func(b *onnx.Builder) {
			b.NodeTo("SequenceConstruct", []string{"x", "x"}, []string{"y"}, nil)
		},
		"a sequence is expected": func(b *onnx.Builder) {
			b.NodeTo("SequenceLength", []string{"x"}, []string{"y"}, nil)
		},
		"position 1 of a sequence of 1": func(b *onnx.Builder) {
			s := b.Node("SequenceConstruct", []string{"x"}, nil)
			at := b.Const(tensor.Scalar(int64(1)))
			b.NodeTo("SequenceAt", []string{s, at}, []string{"y"}, nil)
		},
		"holds no graph": func(b *onnx.Builder) {
			b.NodeTo("Loop", []string{"", "", "x"}, []string{"y"}, nil)
		},
		"a body of": func(b *onnx.Builder) {
			b.NodeTo("Loop", []string{"", "", "x", "x"}, []string{"y"}, nil)
			holds(b, "body", body(func(b *onnx.Builder) { b.Input("i", tensor.Int64) }))
		},
		"Teleport": func(b *onnx.Builder) {
			loop(b, "", "x", []string{"y"}, "", func(b *onnx.Builder) {
				b.NodeTo("Teleport", []string{"v"}, []string{"next"}, nil)
			})
		},
		`needs "nowhere"`: func(b *onnx.Builder) {
			loop(b, "", "x", []string{"y"}, "", func(b *onnx.Builder) {
				b.NodeTo("Add", []string{"v", "nowhere"}, []string{"next"}, nil)
			})
		},
		`needs "next", which nothing computes`: func(b *onnx.Builder) {
			loop(b, "", "x", []string{"y"}, "", func(b *onnx.Builder) {})
		},
		"axis 7": func(b *onnx.Builder) {
			loop(b, "", "x", []string{"y"}, "", func(b *onnx.Builder) {
				b.NodeTo("Softmax", []string{"v"}, []string{"next"}, onnx.Attrs{"axis": 7})
			})
		},
		"a condition is float32": func(b *onnx.Builder) {
			b.NodeTo("If", []string{"x"}, []string{"y"}, nil)
			branch := body(func(b *onnx.Builder) {
				b.NodeTo("Neg", []string{"x"}, []string{"z"}, nil)
				b.Output("z", tensor.Float32, "n")
			})
			holds(b, "then_branch", branch)
			holds(b, "else_branch", branch)
		},
	} {
		b := graphOf(17)
		build(b)
		b.Output("y", tensor.Float32, "n")
		if _, err := run(t, t.Context(), b, 0, 4); !errors.Is(err, engine.ErrGraph) ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%v, want one about %q", err, want)
		}
	}
}

// Branches that multiply by the same weights hold them once.
func TestBranchesShareWeights(t *testing.T) {
	const n = 1024
	weights := make([]float32, n*n)
	for i := range weights {
		weights[i] = float32(i%1000) / 3 // float16 does not hold it
	}
	b := onnx.NewBuilder("branches", 17)
	b.Input("x", tensor.Float32, 1, n)
	b.Input("first", tensor.Bool)
	w := b.Const(tensor.Must(tensor.New([]int{n, n}, weights)))
	b.NodeTo("If", []string{"first"}, []string{"y"}, nil)
	for _, branch := range []struct{ name, op string }{{"then_branch", "Relu"}, {"else_branch", "Neg"}} {
		holds(b, branch.name, body(func(b *onnx.Builder) {
			b.NodeTo("MatMul", []string{"x", w}, []string{"product"}, nil)
			b.NodeTo(branch.op, []string{"product"}, []string{"z"}, nil)
			b.Output("z", tensor.Float32, 1, n)
		}))
	}
	b.Output("y", tensor.Float32, 1, n)
	source := b.Source()
	heap := func() int64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc)
	}
	before := heap()
	s, err := fallback.New().Open(t.Context(), source, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if grown := heap() - before; grown > 4*n*n*5/2 { // the file itself is one part
		t.Errorf("%d bytes for %d of weights", grown, 4*n*n)
	}
	ones := make([]float32, n)
	for i := range ones {
		ones[i] = 1
	}
	var last float32
	for _, first := range []bool{true, false} {
		out, err := s.Run(t.Context(), map[string]*tensor.Tensor{
			"x": tensor.Must(tensor.New([]int{1, n}, ones)), "first": tensor.Scalar(first)})
		if err != nil {
			t.Fatal(err)
		}
		y := tensor.Data[float32](out["y"])[0]
		if !first && (y >= 0 || y != -last) {
			t.Errorf("branches give %v and %v", last, y)
		}
		last = y
	}
}
