package fallback_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/internal/references"
	"github.com/crossattn/xpipe/tensor"
)

// Graphs with random attributes compute what ONNX Runtime does.
func TestAgainstReference(t *testing.T) {
	t.Parallel()
	script := references.Script{
		Path: "../testdata/operators/cases.py", Check: "import onnx, onnxruntime",
	}
	if words := os.Getenv("XPIPE_OPERATOR_CASES"); words != "" { // a count, for a longer search
		script.Args = []string{words}
	}
	dir := script.Folder(t)
	list, err := os.ReadFile(filepath.Join(dir, "cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Name               string
		Relative, Absolute float64
	}
	if err := json.Unmarshal(list, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) < 500 {
		t.Errorf("%d cases", len(cases))
	}
	for _, c := range cases {
		t.Run(c.Name, func(t *testing.T) {
			in, err := tensor.LoadNpz(filepath.Join(dir, c.Name+".in.npz"), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			want, err := tensor.LoadNpz(filepath.Join(dir, c.Name+".out.npz"), 1<<20)
			if err != nil {
				t.Fatal(err)
			}
			source := engine.FileSource(filepath.Join(dir, c.Name+".onnx"))
			s, err := fallback.New().Open(t.Context(), source, engine.Options{Threads: 2})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			for range 2 { // the second run finds memory that the first has used
				got, err := s.Run(t.Context(), in)
				if err != nil {
					t.Fatal(err)
				}
				for name, w := range want {
					if err := near(got[name], w, c.Relative, c.Absolute); err != nil {
						t.Errorf("output %q: %v", name, err)
					}
				}
			}
		})
	}
}

// near is enginetest.Compare that allows integers a difference, too.
func near(got, want *tensor.Tensor, relative, absolute float64) error {
	if got != nil && absolute >= 1 && got.DType() == want.DType() {
		wide := func(t *tensor.Tensor) *tensor.Tensor {
			return tensor.Must(tensor.New(t.Shape(), t.Float32s()))
		}
		got, want = wide(got), wide(want)
	}
	return enginetest.Compare(got, want, relative, absolute)
}
