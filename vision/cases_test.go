package vision

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

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
