package vision

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/tensor"
)

// TestNullFlags compares what configurations with null in place of a switch make of a picture with
// what the slow image processors of transformers 4.57.6 do.
func TestNullFlags(t *testing.T) {
	t.Parallel()
	dir := testdata + "/cases/10-preprocessor-null-flags"
	m, err := DecodeFile(dir + "/picture.png")
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(dir + "/*-null.json")
	if err != nil || len(files) != 5 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		config, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := ParseConfig(config)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		got, err := p.Preprocess(t.Context(), m)
		if err != nil {
			t.Errorf("%s: %v", file, err)
			continue
		}
		want, err := tensor.LoadNpy(strings.TrimSuffix(file, ".json") + ".expected.npy")
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(got.Shape(), want.Shape()) {
			t.Errorf("%s: shape %v, want %v", file, got.Shape(), want.Shape())
			continue
		}
		values := tensor.Data[float32](got)
		for i, v := range tensor.Data[float32](want) {
			if math.Abs(float64(values[i])-float64(v)) > 1e-6 {
				t.Errorf("%s: value %d is %g, want %g", file, i, values[i], v)
				break
			}
		}
	}
}

// TestRandomConfigs compares configurations of random keys, read by their class or not, null or not,
// with transformers 4.57.6 (testdata/vision/processors.py): equal to the bit, or refused by both.
func TestRandomConfigs(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(testdata + "/processors_random.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Config json.RawMessage
		Shape  []int
		SHA256 string
		Error  string
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	m, err := DecodeFile(testdata + "/images/orientation.png")
	if err != nil {
		t.Fatal(err)
	}
	equal, asked := 0, 0
	for i, c := range cases {
		if !sweep.Keeps(i, 4) {
			continue
		}
		asked++
		p, err := ParseConfig(c.Config)
		var out *tensor.Tensor
		if err == nil {
			out, err = p.Preprocess(t.Context(), m)
		}
		switch {
		case err != nil && c.Error == "":
			t.Errorf("%s: %v", c.Config, err)
		case err != nil:
		case c.Error != "":
			t.Errorf("%s is read; the reference has %s", c.Config, c.Error)
		case !slices.Equal(out.Shape(), c.Shape):
			t.Errorf("%s: shape %v, want %v", c.Config, out.Shape(), c.Shape)
		case floatHash(tensor.Data[float32](out)) != c.SHA256:
			t.Errorf("%s: the values differ", c.Config)
		default:
			equal++
		}
	}
	t.Logf("%d of %d cases; make test-full runs all", asked, len(cases))
	if equal*2 < asked {
		t.Errorf("only %d of %d are equal", equal, asked)
	}
}
