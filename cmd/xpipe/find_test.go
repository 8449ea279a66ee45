package main

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
)

// A library is made of real files, and found in by all that the verbs offer.
func TestIndexAndFind(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, files := filepath.Join(dir, "library.db"), filepath.Join(dir, "files")
	for from, to := range map[string]string{
		pictures + "/apple.png": "apple.png", pictures + "/red-circle.png": "circle.png", goldenNote: "../read/scan.png",
		paged + "pages.pdf": "paper.pdf", "../../testdata/speech/jfk.flac": "speech.flac",
	} {
		data, err := os.ReadFile(from)
		if err = errors.Join(err, os.MkdirAll(filepath.Join(files, filepath.Dir(to)), 0o777), os.WriteFile(filepath.Join(files, to), data, 0o666)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"film.mp4", "broken.jpg"} {
		if err := os.WriteFile(filepath.Join(files, name), []byte("nothing"), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	code, out, stderr := xpipe(t, "", "index", files, "--engine", "go", "--store", store, "--json", "-q")
	var counts api.Indexed
	if err := json.Unmarshal([]byte(out), &counts); err != nil || code != api.ExitOther || counts.New != 4 || counts.Failed != 1 ||
		counts.Photos != 2 || counts.Pages != 5 || counts.Skipped[".mp4"] != 1 || !strings.Contains(stderr, "broken.jpg") {
		t.Fatalf("exit %d, %s, %s, %v", code, out, stderr, err)
	}
	want(t, "index", filepath.Join(dir, "read"), "--engine", "go", "--store", store, "--words")
	root := loadSchema(t)
	find := func(args ...string) (names []string, hits []api.Hit) {
		t.Helper()
		for line := range strings.Lines(want(t, append([]string{"find", "--engine", "go", "--store", store, "--json"}, args...)...)) {
			var hit api.Hit
			var value any
			if err := errors.Join(json.Unmarshal([]byte(line), &hit), json.Unmarshal([]byte(line), &value)); err != nil {
				t.Fatal(err)
			}
			if err := root.Defs["hit"].check(root, value, "hit"); err != nil {
				t.Error(err)
			}
			names, hits = append(names, filepath.Base(string(hit.Path))), append(hits, hit)
		}
		return names, hits
	}
	for _, c := range []struct {
		args string
		want string // the first hit
	}{
		{"a red circle|--in|photos|--explain", "circle.png"},
		{"Frühstück für Größe|--limit|1", "scan.png"},
		{"quick brown fox|--in|pages", "paper.pdf"},
		{"--like|" + pictures + "/apple.png", "apple.png"},
		{"--all|--in|sounds", "speech.flac"},
		{"--all|--where|" + filepath.Join(files, "a*"), "apple.png"},
	} {
		if names, _ := find(strings.Split(c.args, "|")...); len(names) == 0 || names[0] != c.want {
			t.Errorf("%s: %v", c.args, names)
		}
	}
	if names, _ := find("--all"); len(names) < 9 {
		t.Errorf("all: %v", names)
	}
	if names, _ := find("--duplicates"); names != nil {
		t.Errorf("duplicates: %v", names)
	}
	page := filepath.Join(dir, "found.html")
	want(t, "find", "--engine", "go", "--store", store, "apple", "-o", page)
	if data, err := os.ReadFile(page); err != nil || !strings.Contains(string(data), "apple.png") {
		t.Errorf("the page: %v", err)
	}
	if out := want(t, "find", "--engine", "go", "--store", store, "quick fox", "--in", "pages", "--limit", "1"); !strings.Contains(out, "paper.pdf, page 1  ") {
		t.Errorf("printed %q", out)
	}
	for args, says := range map[string]string{
		"find|--store|" + store: "needs a text", "find|x|--all|--store|" + store: "different things",
		"find|x|--store|" + dir + "/none": "xpipe index", "find|x|--store|" + page: "no library of xpipe", "find|x|-o|a.txt": ".html",
		"find|x|--in|fotos|--store|" + store: "photos", "index|" + dir + "/none|--store|" + store: "none",
		"index|--store|" + dir + "/new.db": "name a folder", "find|x|--limit|-1": "--limit", "find| ": "empty",
		"index|" + files + "|--model|blip2-mini|--store|" + store: "makes no vectors",
		"index|" + files + "|--batch|0|--store|" + store:          "--batch",
		"find|x|--model|blip2-mini|--like|x.png|--store|" + store: "makes no vectors",
		"serve|--store|" + dir + "/none|--listen|127.0.0.1:0":     "xpipe index",
		"find|--like|" + files + "/broken.jpg|--store|" + store:   "broken.jpg",
		"find|x|--after|tomorrow|--store|" + store:                "no date",
	} {
		if code, _, stderr := xpipe(t, "", strings.Split(args, "|")...); code == 0 || !strings.Contains(stderr, says) {
			t.Errorf("%s: exit %d, %s", args, code, stderr)
		}
	}
}
