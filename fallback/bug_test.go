package fallback

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback/internal/ops"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// checkBug wants an error for a bug of ours, whose stack shows the function that panicked.
func checkBug(t *testing.T, err error, function string, says ...string) {
	t.Helper()
	if !errors.Is(err, engine.ErrEngine) || errors.Is(err, engine.ErrGraph) {
		t.Errorf("%v does not say that the engine failed", err)
		return
	}
	for _, part := range append(says, "bug in the Go engine, please report it") {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("%v does not say %q", err, part)
		}
	}
	var bug interface{ Stack() []byte }
	if !errors.As(err, &bug) || !strings.Contains(string(bug.Stack()), function) {
		t.Errorf("the stack of %v does not show %s", err, function)
	}
}

func breakKernel(*ops.Context, []*tensor.Tensor, []*tensor.Tensor) error { panic("out of paper") }

// breakPart is reached on any core.
func breakPart(lo int) {
	if lo > 0 {
		var none []int
		none[lo] = 1
	}
}

func TestPanicOfOperator(t *testing.T) {
	t.Parallel()
	parts := func(x *ops.Context, in, out []*tensor.Tensor) error {
		return x.Parallel(64, 1, func(lo, hi int) { breakPart(lo) })
	}
	for _, c := range []struct {
		name, function, says string
		kernel               ops.Kernel
	}{
		{"at once", "breakKernel", "out of paper", breakKernel},
		{"on any core", "breakPart", "index out of range", parts},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := onnx.NewBuilder("fine", 17)
			b.Input("x", tensor.Float32, "n")
			b.NodeTo("Abs", []string{"x"}, []string{"y"}, nil)
			b.Output("y", tensor.Float32, "n")
			s, err := New().Open(t.Context(), b.Source(), engine.Options{Threads: 4})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			working := s.(*session).graph.nodes[0].kernel
			s.(*session).graph.nodes[0].kernel = c.kernel
			in := map[string]*tensor.Tensor{"x": tensor.Must(tensor.New([]int{1}, []float32{-1}))}
			_, err = s.Run(t.Context(), in)
			checkBug(t, err, c.function, c.says, "Abs/y", "(Abs)")
			// The session is none the worse for it.
			s.(*session).graph.nodes[0].kernel = working
			out, err := s.Run(t.Context(), in)
			if err != nil || tensor.Data[float32](out["y"])[0] != 1 {
				t.Error(out, err)
			}
		})
	}
}

func TestPanicOfPlan(t *testing.T) {
	t.Parallel()
	_, err := plan(context.Background(), nil, 1, engine.Options{})
	checkBug(t, err, "plan", "nil pointer")
}
