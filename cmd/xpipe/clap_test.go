package main

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/tensor"
)

// TestSoundsInPicturesPlace matches, classifies and embeds sounds with CLAP; testdata/families/clap says
// what transformers gives.
func TestSoundsInPicturesPlace(t *testing.T) {
	t.Parallel()
	const dir = "../../testdata/families/clap"
	model := dir + "/bundle"
	var golden struct {
		Texts []struct {
			Text string `json:"text"`
		} `json:"texts"`
	}
	data, err := os.ReadFile(dir + "/golden.json")
	if err == nil {
		err = json.Unmarshal(data, &golden)
	}
	if err != nil {
		t.Fatal(err)
	}
	var texts []string
	for _, row := range golden.Texts {
		texts = append(texts, row.Text)
	}
	probabilities, embeds := npy(t, dir+"/probabilities.npy"), npy(t, dir+"/audio_embeds.npy")
	args := append([]string{"match", "-m", model, "--engine", "go", "--json", dir}, texts...)
	lines := decodeLines[api.Match](t, want(t, args...))
	if len(lines) != 3*len(texts) {
		t.Fatalf("%d lines", len(lines))
	}
	for i, line := range lines {
		if filepath.Base(string(line.Audio)) != "sound"+string(rune('0'+i/len(texts)))+".wav" || line.Image != "" ||
			math.Abs(*line.Probability-float64(probabilities[i])) > 1e-4 {
			t.Errorf("line %d: %+v, want %v", i, line, probabilities[i])
		}
	}
	out := filepath.Join(t.TempDir(), "x.npy")
	want(t, "embed", "-m", model, "--engine", "go", "--batch", "3", "--out", out, dir, "--text", "rain")
	rows := npy(t, out)
	for i, v := range embeds {
		if math.Abs(float64(rows[i]-v)) > 1e-4 {
			t.Fatalf("row %d: %v, want %v", i, rows[i], v)
		}
	}
	names, err := os.ReadFile(api.VectorNames(out))
	if err != nil || strings.Count(string(names), `"audio":`) != 3 || strings.Contains(string(names), `"image":`) {
		t.Errorf("%s, %v", names, err)
	}
	want(t, "embed", "-m", model, "--engine", "go", "--out", out, "--resume", dir, "--text", "rain")
	if again := npy(t, out); len(again) != len(rows) {
		t.Errorf("%d values, %d before", len(again), len(rows))
	}
	labels := decodeLines[api.Label](t, want(t, "classify", "-m", model, "--engine", "go", "--json", dir+"/sound0.wav", "a dog", "rain"))
	matched := decodeLines[api.Match](t, want(t, "match", "-m", model, "--engine", "go", "--json", dir+"/sound0.wav",
		"This is a sound of a dog.", "This is a sound of rain."))
	for _, label := range labels {
		i := 0
		if label.Label == "rain" {
			i = 1
		}
		if label.Audio == "" || math.Abs(*label.Probability-*matched[i].Probability) > 1e-6 {
			t.Errorf("%+v beside %+v", label, matched[i])
		}
	}
}

func npy(t *testing.T, path string) []float32 {
	t.Helper()
	x, err := tensor.LoadNpy(path)
	if err != nil {
		t.Fatal(err)
	}
	return x.Float32s()
}
