package enginetest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/tensor"
)

// Golden is what golden.json in a folder of golden cases holds: graphs with inputs and the outputs
// that the reference computed for them. All paths are relative to the folder; tensors are .npy
// files.
//
//	{"made_by": "tools/export/golden.py, torch 2.8.0, seed 7",
//	 "atol": 1e-4, "rtol": 1e-4,
//	 "cases": [{"name": "decoder prefill, batch 2",
//	            "graph": "../onnx/decoder_model_merged.onnx",
//	            "inputs": {"inputs_embeds": "decoder-prefill/inputs_embeds.npy", ...},
//	            "outputs": {"logits": "decoder-prefill/logits.npy", ...}}]}
type Golden struct {
	MadeBy string       `json:"made_by"`
	ATol   float64      `json:"atol"` // 0 means 1e-4
	RTol   float64      `json:"rtol"` // 0 means 1e-4
	Cases  []GoldenCase `json:"cases"`
}

// GoldenCase is one run of one graph.
type GoldenCase struct {
	Name    string            `json:"name"`
	Graph   string            `json:"graph"`
	Inputs  map[string]string `json:"inputs"`
	Outputs map[string]string `json:"outputs"`
}

// LoadGolden reads dir/golden.json.
func LoadGolden(dir string) (*Golden, error) {
	b, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		return nil, err
	}
	g := &Golden{}
	if err := json.Unmarshal(b, g); err != nil {
		return nil, fmt.Errorf("%s/golden.json: %w", dir, err)
	}
	if g.ATol == 0 {
		g.ATol = 1e-4
	}
	if g.RTol == 0 {
		g.RTol = 1e-4
	}
	return g, nil
}

// readNpys reads .npy files by name.
func readNpys(dir string, files map[string]string) (map[string]*tensor.Tensor, error) {
	set := map[string]*tensor.Tensor{}
	for name, file := range files {
		f, err := os.Open(filepath.Join(dir, filepath.FromSlash(file)))
		if err != nil {
			return nil, err
		}
		set[name], err = tensor.ReadNpy(f)
		f.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	}
	return set, nil
}

func runGolden(t *testing.T, e engine.Engine, dir string, opts Options) {
	g, err := LoadGolden(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(g.Cases) == 0 {
		t.Fatalf("%s holds no cases", dir)
	}
	opened := map[string]func() (engine.Session, error){} // once for all cases of a graph
	for _, c := range g.Cases {
		if opened[c.Graph] == nil {
			opened[c.Graph] = sync.OnceValues(func() (engine.Session, error) {
				file := filepath.Join(dir, filepath.FromSlash(c.Graph))
				s, err := e.Open(t.Context(), engine.FileSource(file), opts.Open)
				if err == nil {
					t.Cleanup(func() { s.Close() }) // after the cases, which are t's subtests
				}
				return s, err
			})
		}
		t.Run(c.Name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			s, err := opened[c.Graph]()
			if err != nil {
				t.Fatal(err)
			}
			in, err := readNpys(dir, c.Inputs)
			if err != nil {
				t.Fatal(err)
			}
			want, err := readNpys(dir, c.Outputs)
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for name := range want {
				names = append(names, name)
			}
			got, err := s.Run(ctx, in, names...)
			if err != nil {
				t.Fatal(err)
			}
			for name, w := range want {
				if err := Compare(got[name], w, g.RTol, g.ATol); err != nil {
					t.Errorf("output %q: %v", name, err)
				}
			}
		})
	}
}
