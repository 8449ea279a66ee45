package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
)

const goldenNote = "../../testdata/ocr/golden/note.png"

func TestReadText(t *testing.T) {
	t.Parallel()
	out := want(t, "read", "--engine", "go", goldenNote)
	for _, part := range []string{"Frühstück für Größe 38, weiß\n", "\n\nName:\tZoë Brontë\n"} {
		if !strings.Contains(out, part) {
			t.Errorf("printed %q, which lacks %q", out, part)
		}
	}
}

// Lines of JSON are pages; what fails is told in its place, and --resume goes on.
func TestReadLines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	picture, err := os.ReadFile(goldenNote)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"a.png": picture, "b.png": picture[:100]} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	lines := filepath.Join(dir, "lines.jsonl")
	args := []string{"read", "--engine", "go", dir, "--words", "--out", lines, "-q"}
	if code, _, stderr := xpipe(t, "", args...); code != 1 || !strings.Contains(stderr, "1 of 2 documents failed") {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	data, err := os.ReadFile(lines)
	if err != nil {
		t.Fatal(err)
	}
	first, second, _ := strings.Cut(string(data), "\n")
	var page api.Page
	if err := json.Unmarshal([]byte(first), &page); err != nil {
		t.Fatal(err)
	}
	if page.Number != 1 || page.Width != 640 || len(page.Lines) != 7 || len(page.Lines[0].Words) != 5 || page.Tables == nil {
		t.Errorf("page %+v", page)
	}
	if !strings.HasPrefix(second, `{"document":`) || !strings.Contains(second, `"error":`) {
		t.Errorf("the second line is %s", second)
	}
	if err := os.WriteFile(filepath.Join(dir, "b.png"), picture, 0o666); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := xpipe(t, "", append(args, "--resume")...); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	data, err = os.ReadFile(lines)
	if err != nil || strings.Count(string(data), "\n") != 2 || strings.Contains(string(data), `"error"`) {
		t.Errorf("after --resume: %s, %v", data, err)
	}
}
