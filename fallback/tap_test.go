package fallback_test

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// Two attentions, the second over keys of another input, its rows masked after the softmax as
// OpenFlamingo does; and a softmax that is none.
func attentionGraph() *onnx.Builder {
	b := onnx.NewBuilder("taps", 17)
	for _, name := range []string{"x", "media"} {
		b.Input(name, tensor.Float32, "b", "n", 4)
	}
	b.Input("blank", tensor.Bool, "m", 1)
	half := b.Const(tensor.Scalar(float32(0.5)))
	attend := func(q, kv string) string {
		kT := b.Node("Transpose", []string{kv}, onnx.Attrs{"perm": []int{0, 2, 1}})
		scores := do(b, "Mul", do(b, "MatMul", q, kT), half)
		return b.Node("Softmax", []string{scores}, onnx.Attrs{"axis": -1})
	}
	own := do(b, "MatMul", attend("x", "x"), "x")
	x := do(b, "Add", "x", own)
	seen := do(b, "Where", "blank", b.Const(tensor.Scalar(float32(0))), attend(x, "media"))
	y := do(b, "Add", x, do(b, "MatMul", seen, "media"))
	b.NodeTo("Softmax", []string{y}, []string{"y"}, onnx.Attrs{"axis": -1})
	b.Output("y", tensor.Float32, "b", "n", 4)
	return b
}

func TestTaps(t *testing.T) {
	t.Parallel()
	in := map[string]*tensor.Tensor{
		"x":     tensor.Must(tensor.New([]int{1, 2, 4}, []float32{1, 2, 0, 1, 0, 1, 3, 1})),
		"media": tensor.Must(tensor.New([]int{1, 3, 4}, []float32{1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0})),
		"blank": tensor.Must(tensor.New([]int{2, 1}, []bool{true, false})),
	}
	var before []float32
	for _, opts := range []engine.Options{{NoFusion: true}, {}} {
		s, err := fallback.New().Open(t.Context(), attentionGraph().Source(), opts)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		taps := s.(engine.Tapper).Taps()
		if len(taps) != 2 {
			t.Fatalf("found %v", taps)
		}
		for i, want := range []engine.Tap{
			{Name: "attention.0", Queries: []string{"x"}, Keys: []string{"x"}},
			{Name: "attention.1", Queries: []string{"x"}, Keys: []string{"media"}},
		} {
			got := taps[i]
			if got.Name != want.Name ||
				!slices.Equal(got.Queries, want.Queries) || !slices.Equal(got.Keys, want.Keys) {
				t.Errorf("tap %d is %v, want %v", i, got, want)
			}
		}
		plain, err := s.Run(t.Context(), in)
		if err != nil || len(plain) != 1 {
			t.Fatal(plain, err)
		}
		out, err := s.Run(t.Context(), in, "attention.0", "attention.1", "y")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(tensor.Data[float32](plain["y"]), tensor.Data[float32](out["y"])) {
			t.Error("looking changes the result")
		}
		all := append(slices.Clone(out["attention.0"].Float32s()), out["attention.1"].Float32s()...)
		if !slices.Equal(out["attention.1"].Shape(), []int{1, 2, 3}) {
			t.Fatal(out["attention.1"])
		}
		for row, sum := range map[int]float32{0: 1, 1: 1} {
			if got := all[2*row] + all[2*row+1]; math.Abs(float64(got-sum)) > 1e-6 {
				t.Errorf("row %d sums to %v", row, got)
			}
		}
		if s := all[4] + all[5] + all[6]; s != 0 {
			t.Errorf("the row without media has %v", s)
		}
		if s := all[7] + all[8] + all[9]; math.Abs(float64(s-1)) > 1e-6 {
			t.Errorf("the row with media sums to %v", s)
		}
		if before == nil {
			before = all
		}
		for i, v := range all {
			if math.Abs(float64(v-before[i])) > 1e-6 {
				t.Errorf("fused and as written differ: %v and %v", all, before)
			}
		}
		if _, err := s.Run(t.Context(), in, "attention.2"); !errors.Is(err, engine.ErrInput) {
			t.Error(err)
		}
	}
}

// The attention inside an If is a tap, too: that of the branch that runs, and only where it is asked for.
func TestTapsInBranches(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	b := onnx.NewBuilder("branches", 17)
	crossBranches(b, r)
	x, states := randTensor(r, 1, 3, 24), randTensor(r, 1, 5, 24)
	for _, opts := range []engine.Options{{NoFusion: true}, {}, {Steady: []string{"states"}}} {
		s := open(t, b, opts)
		taps := s.(engine.Tapper).Taps()
		if len(taps) != 1 || !slices.Equal(taps[0].Queries, []string{"x"}) || !slices.Equal(taps[0].Keys, []string{"states"}) {
			t.Fatalf("found %v", taps)
		}
		maps := map[bool][]float32{}
		for _, first := range []bool{true, false} {
			in := map[string]*tensor.Tensor{"x": x, "states": states, "first": tensor.Scalar(first)}
			plain, err := s.Run(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			out, err := s.Run(t.Context(), in, "y", "attention.0")
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(plain["y"].Float32s(), out["y"].Float32s()) {
				t.Error("looking changes the result")
			}
			alone, err := s.Run(t.Context(), in, "attention.0")
			if err != nil || !slices.Equal(alone["attention.0"].Float32s(), out["attention.0"].Float32s()) {
				t.Errorf("alone it is %v, %v", alone, err)
			}
			maps[first] = out["attention.0"].Float32s()
		}
		// The scores of the second branch are three times those of the first.
		for row := range 3 {
			cubes, sum := make([]float64, 5), 0.0
			for i, p := range maps[true][row*5:][:5] {
				cubes[i] = math.Pow(float64(p), 3)
				sum += cubes[i]
			}
			for i, c := range cubes {
				if got := float64(maps[false][row*5+i]); math.Abs(got-c/sum) > 1e-5 {
					t.Errorf("row %d, column %d: %v, want %v", row, i, got, c/sum)
				}
			}
		}
	}
}
