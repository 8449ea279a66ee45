package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
)

const goldenNote = "../../testdata/ocr/golden/note.png"

func TestReadText(t *testing.T) {
	t.Parallel()
	out := want(t, "read", "--engine", "go", goldenNote)
	for _, part := range []string{"Frühstück für Größe 38, weiß\n", "\nName:\tZoë Brontë\n"} {
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

const paged = "../../testdata/document/"

// A PDF file's own text is taken, with its tables; pages that are pictures are read.
func TestReadPDF(t *testing.T) {
	t.Parallel()
	var pages []api.Page
	for line := range strings.Lines(want(t, "read", "--engine", "go", paged+"pages.pdf", "--words", "--json")) {
		var page api.Page
		if err := json.Unmarshal([]byte(line), &page); err != nil {
			t.Fatal(err)
		}
		pages = append(pages, page)
	}
	if len(pages) != 5 {
		t.Fatalf("%d pages", len(pages))
	}
	for i, page := range pages {
		if page.Number != i+1 || page.Width <= 0 || page.Height <= 0 || string(page.Document) != paged+"pages.pdf" {
			t.Errorf("page %+v", page)
		}
	}
	if p := pages[0]; !strings.HasPrefix(p.Text, "1 Of words and boxes\n") || len(p.Lines) == 0 || len(p.Lines[0].Words) != 5 {
		t.Errorf("page 1: %+v", p)
	}
	rows := [][]string{{"cell 0 0", "cell 0 1", "cell 0 2"}, {"cell 1 0", "cell 1 1", "cell 1 2"}}
	if p := pages[1]; len(p.Tables) != 1 || !reflect.DeepEqual(p.Tables[0].Rows[:2], rows) || strings.Contains(p.Text, "\n\n\n") {
		t.Errorf("page 2: %+v", p)
	}
	if code, _, stderr := xpipe(t, "", "read", "--engine", "go", paged+"encrypted.pdf"); code != 3 || !strings.Contains(stderr, "--password") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// A scan in a PDF file is drawn and read; so is every page with --ocr always.
func TestReadScan(t *testing.T) {
	t.Parallel()
	out := want(t, "read", "--engine", "go", paged+"scan.pdf")
	if !strings.Contains(out, "Frühstück für Größe 38, weiß\n") || strings.Contains(out, "another program") {
		t.Errorf("printed %q", out)
	}
	if out := want(t, "read", "--engine", "go", paged+"scan.pdf", "--ocr", "never"); out != "what another program has read\n" {
		t.Errorf("without reading its picture: %q", out)
	}
	for _, args := range [][]string{{"--ocr", "perhaps"}, {"--dpi", "5"}} {
		if code, _, stderr := xpipe(t, "", append([]string{"read", paged + "scan.pdf"}, args...)...); code != 2 || !strings.Contains(stderr, args[0]) {
			t.Errorf("%v: exit %d, %s", args, code, stderr)
		}
	}
}

// What a page says of itself and what stands on its pictures is one text, nothing of it twice.
func TestReadMixed(t *testing.T) {
	t.Parallel()
	const around, picture = "What stands around a picture\n", "Frühstück für Größe 38, weiß\n"
	out := want(t, "read", "--engine", "go", paged+"mixed.pdf")
	at := -1
	for _, part := range []string{around, picture, "L'élève reçut ça à Noël.", "stamped", "Figure 1. A note"} {
		if n := strings.Count(out, part); n != 1 || strings.Index(out, part) < at {
			t.Errorf("printed %q, with %d of %q", out, n, part)
		}
		at = strings.Index(out, part)
	}
	out = want(t, "read", "--engine", "go", "--ocr", "never", paged+"mixed.pdf")
	if !strings.Contains(out, around) || strings.Contains(out, picture) {
		t.Errorf("without its pictures: %q", out)
	}
}
