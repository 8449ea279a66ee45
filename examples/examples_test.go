package examples

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// programs are run from the module's root; says is in what they print.
var programs = []struct {
	name string
	args []string
	says string
}{
	{"caption", []string{"testdata/images/apple.png", "nowhere.png", "testdata/images/rocket.png"},
		"testdata/images/apple.png: red apple\ntestdata/images/rocket.png: rocket (unsure)\n"},
	{"search", []string{"a guitar", "testdata/images/dog.png", "testdata/images/ATTRIBUTION.md", "testdata/images/guitar.png"},
		"testdata/images/guitar.png\n"},
	{"fewshot", []string{"testdata/images/dog.png", "testdata/images/pizza.png=zudo", "testdata/images/dog.png=wemi"}, "wemi\n"},
	{"stream", []string{"testdata/images/scene.png", "how many dogs are there?"}, " 2\n"},
	{"transcribe", []string{"testdata/speech/jfk.flac"}, "s: And so my fellow Americans ask not what your country can do for you"},
	{"ownmodel", []string{"models/mini/clip-mini", "testdata/images/guitar.png"}, "clip-mini on go is for [classify match embed]\n[{a guitar 0.99"},
	{"batch", []string{"testdata/images"}, `{"file":"testdata/images/apple.png","caption":{"text":"red apple",`},
}

// The programs are short, and all are compiled.
func TestPrograms(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("*/main.go")
	if err != nil || len(files) != 8 {
		t.Fatalf("%d programs: %v", len(files), err)
	}
	for _, file := range files {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(source, []byte("\n")); n >= 60 {
			t.Errorf("%s has %d lines", file, n)
		}
	}
	if out, err := exec.Command("go", "list", "-export", "./...").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// One is run here, package handler tests another, and TestAll, which is slow, runs the rest.
func TestCaption(t *testing.T) {
	t.Parallel()
	run(t, 0)
}

func run(t *testing.T, i int) {
	t.Helper()
	p := programs[i]
	cmd := exec.Command("go", append([]string{"run", "./examples/" + p.name}, p.args...)...)
	cmd.Dir = ".."
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || !strings.Contains(string(out), p.says) {
		t.Errorf("%s: %v\n%s\n%s\nwant %s", p.name, err, out, stderr.String(), p.says)
	}
}
