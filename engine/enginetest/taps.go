package enginetest

import (
	"errors"
	"math"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// attentionGraph attends twice, the second time over keys of another input, in rows that blank may
// clear after the softmax as OpenFlamingo does; its last softmax is no attention.
func attentionGraph() *onnx.Builder {
	b := onnx.NewBuilder("taps", 17)
	b.Input("x", tensor.Float32, "batch", "queries", 4)
	b.Input("media", tensor.Float32, "batch", "keys", 4)
	b.Input("blank", tensor.Bool, "queries", 1)
	half := b.Const(tensor.Scalar(float32(0.5)))
	attend := func(q, kv string) string {
		kT := b.Node("Transpose", []string{kv}, onnx.Attrs{"perm": []int{0, 2, 1}})
		scores := b.Node("Mul", []string{b.Node("MatMul", []string{q, kT}, nil), half}, nil)
		return b.Node("Softmax", []string{scores}, onnx.Attrs{"axis": -1})
	}
	own := b.Node("MatMul", []string{attend("x", "x"), "x"}, nil)
	x := b.Node("Add", []string{"x", own}, nil)
	shown := b.Node("Where", []string{"blank", b.Const(tensor.Scalar(float32(0))),
		attend(x, "media")}, nil)
	y := b.Node("Add", []string{x, b.Node("MatMul", []string{shown, "media"}, nil)}, nil)
	b.NodeTo("Softmax", []string{y}, []string{"y"}, onnx.Attrs{"axis": -1})
	b.Output("y", tensor.Float32, "batch", "queries", 4)
	return b
}

// attentionInputs are two queries, of which the first is blank, and three keys.
func attentionInputs() tensors {
	return tensors{
		"x": tensor.Must(tensor.New([]int{1, 2, 4}, []float32{1, 2, 0, 1, 0, 1, 3, 1})),
		"media": tensor.Must(tensor.New([]int{1, 3, 4},
			[]float32{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0})),
		"blank": tensor.Must(tensor.New([]int{2, 1}, []bool{true, false})),
	}
}

// openTapper opens a graph on an engine whose sessions are Tappers, and skips the test on others.
func (e subject) openTapper(t *testing.T, b *onnx.Builder) engine.Tapper {
	t.Helper()
	s, ok := e.open(t, b).(engine.Tapper)
	if !ok {
		t.Skipf("engine %s shows no attention", e.Name())
	}
	return s
}

// Attention is found where it is, has the right probabilities, and is computed only when asked for.
func testTaps(t *testing.T, e subject) {
	if taps := e.openTapper(t, smallGraph()).Taps(); len(taps) != 0 {
		t.Errorf("attention in a graph without: %v", taps)
	}
	s := e.openTapper(t, attentionGraph())
	want := []engine.Tap{
		{Name: "attention.0", Queries: []string{"x"}, Keys: []string{"x"}},
		{Name: "attention.1", Queries: []string{"x"}, Keys: []string{"media"}},
	}
	taps := s.Taps()
	if !slices.EqualFunc(taps, want, func(a, b engine.Tap) bool {
		return a.Name == b.Name && slices.Equal(a.Queries, b.Queries) &&
			slices.Equal(a.Keys, b.Keys)
	}) {
		t.Fatalf("taps %v, want %v", taps, want)
	}
	if out := s.Outputs(); len(out) != 1 {
		t.Errorf("taps are among the outputs: %v", out)
	}
	in := attentionInputs()
	plain, err := s.Run(t.Context(), in)
	if err != nil || len(plain) != 1 {
		t.Fatalf("without taps: %v, %v", plain, err)
	}
	out, err := s.Run(t.Context(), in, "attention.1", "y", "attention.0")
	if err != nil || len(out) != 3 {
		t.Fatalf("with taps: %v, %v", out, err)
	}
	if err := Compare(out["y"], plain["y"], 0, 0); err != nil {
		t.Errorf("looking changes the result: %v", err)
	}
	x, media := matrix(in["x"]), matrix(in["media"])
	own := attend(x, x)
	for i, mixed := range product(own, x) { // the second attention asks with x + own*x
		for c := range mixed {
			x[i][c] += mixed[c]
		}
	}
	cross := attend(x, media)
	clear(cross[0])
	for name, want := range map[string][][]float64{"attention.0": own, "attention.1": cross} {
		flat := slices.Concat(want...)
		data := make([]float32, len(flat))
		for i, p := range flat {
			data[i] = float32(p)
		}
		expected := tensor.Must(tensor.New([]int{1, len(want), len(want[0])}, data))
		if err := Compare(out[name], expected, 1e-5, 1e-6); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Run(t.Context(), in, "attention.2"); !errors.Is(err, engine.ErrInput) {
		t.Errorf("a tap that is not there: %v", err)
	}
}

// The list outlives the session; its probabilities do not.
func testTapsAfterClose(t *testing.T, e subject) {
	s := e.openTapper(t, attentionGraph())
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if taps := s.Taps(); len(taps) != 2 {
		t.Errorf("taps %v", taps)
	}
	_, err := s.Run(t.Context(), attentionInputs(), "attention.0")
	if !errors.Is(err, engine.ErrEngine) {
		t.Errorf("a run after close: %v", err)
	}
}

// matrix reads a float32 tensor [1, n, m].
func matrix(t *tensor.Tensor) [][]float64 {
	m := make([][]float64, t.Dim(1))
	for i := range m {
		m[i] = make([]float64, t.Dim(2))
		for j := range m[i] {
			m[i][j] = float64(tensor.Data[float32](t)[i*t.Dim(2)+j])
		}
	}
	return m
}

// product is a*b.
func product(a, b [][]float64) [][]float64 {
	m := make([][]float64, len(a))
	for i := range m {
		m[i] = make([]float64, len(b[0]))
		for k := range b {
			for j := range m[i] {
				m[i][j] += a[i][k] * b[k][j]
			}
		}
	}
	return m
}

// attend is softmax(q*k' / 2), row by row.
func attend(q, k [][]float64) [][]float64 {
	p := make([][]float64, len(q))
	for i := range p {
		p[i] = make([]float64, len(k))
		sum := 0.0
		for j := range k {
			score := 0.0
			for c := range q[i] {
				score += q[i][c] * k[j][c]
			}
			p[i][j] = math.Exp(score / 2)
			sum += p[i][j]
		}
		for j := range k {
			p[i][j] /= sum
		}
	}
	return p
}
