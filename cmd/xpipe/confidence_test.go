package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/models/mini"
)

// A calibrated model gives each caption a confidence, and marks those below its threshold.
func TestUnsure(t *testing.T) {
	t.Parallel()
	files, err := mini.FS(mini.BLIP2)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, files); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "xpipe.json")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var manifest map[string]any
	if err := json.Unmarshal(data, &manifest); err != nil {
		t.Fatal(err)
	}
	for _, threshold := range []float64{0, 1} {
		manifest["calibration"] = map[string]any{"caption": map[string]float64{"slope": 1, "intercept": 0, "threshold": threshold}}
		data, err := json.Marshal(manifest)
		if err == nil {
			err = os.WriteFile(path, data, 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
		said := want(t, "caption", "--engine", "go", "-m", dir, apple)
		if unsure := strings.HasSuffix(said, " (unsure)\n"); unsure != (threshold == 1) {
			t.Errorf("threshold %v: %q", threshold, said)
		}
		line := lines(t, want(t, "caption", "--json", "--engine", "go", "-m", dir, apple))[0]
		if c, ok := line["confidence"].(float64); !ok || c <= 0 || c >= 1 || (line["unsure"] == true) != (threshold == 1) {
			t.Errorf("threshold %v: %v", threshold, line)
		}
	}
}
