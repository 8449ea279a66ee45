package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/crossattn/xpipe/api"
)

const processorCase = visionData + "cases/14-processor-config-of-transformers-5/"

// TestProcessorConfig runs a checkpoint that transformers 5 saved: its processor_config.json has
// the image processor inside, and there is no preprocessor_config.json.
func TestProcessorConfig(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(dir, os.DirFS("../../testdata/layouts/clip-optimum")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "preprocessor_config.json")); err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile(processorCase + "processor_config.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "processor_config.json"), config, 0o666); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(processorCase + "expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var expected struct {
		Probability, Similarity []float64
		Texts                   []string
		Picture                 string
	}
	if err := json.Unmarshal(data, &expected); err != nil || len(expected.Texts) != 2 {
		t.Fatal(err, expected)
	}
	args := append([]string{"match", "-m", dir, "--engine", "go", "--json", "../../" + expected.Picture},
		expected.Texts...)
	found := map[string]api.Match{}
	for _, line := range decodeLines[api.Match](t, want(t, args...)) {
		found[line.Text] = line
	}
	for i, text := range expected.Texts {
		line := found[text]
		if math.Abs(float64(line.Similarity)-expected.Similarity[i]) > 1e-4 ||
			line.Probability == nil || math.Abs(*line.Probability-expected.Probability[i]) > 1e-4 {
			t.Errorf("%s: %+v, want %v and %v", text, line, expected.Probability[i], expected.Similarity[i])
		}
	}
	picture := "../../" + expected.Picture
	byModel := want(t, "preprocess", "-m", dir, picture)
	byFile := want(t, "preprocess", "--config", processorCase+"processor_config.json", picture)
	if byModel != byFile {
		t.Errorf("the model's folder gives %q, the file %q", byModel, byFile)
	}
}

// decodeLines decodes a JSON object a line.
func decodeLines[T any](t *testing.T, text string) (list []T) {
	t.Helper()
	for _, line := range lines(t, text) {
		b, err := json.Marshal(line)
		if err != nil {
			t.Fatal(err)
		}
		var v T
		if err := json.Unmarshal(b, &v); err != nil {
			t.Fatal(err)
		}
		list = append(list, v)
	}
	return list
}
