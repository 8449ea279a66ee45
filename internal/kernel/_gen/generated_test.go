package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestGenerated runs the commands of package kernel's go:generate lines elsewhere, and compares
// what they write with the files there are.
func TestGenerated(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	folder := filepath.Join(root, "_gen")
	if err := os.Mkdir(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	gen := filepath.Join(root, "gen")
	if out, err := exec.Command("go", "build", "-o", gen, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	sources, err := filepath.Glob("../*.go")
	if err != nil {
		t.Fatal(err)
	}
	command := regexp.MustCompile(`(?m)^//go:generate sh -c "cd _gen && go run \. (.*)"$`)
	commands := 0
	for _, source := range sources {
		text, err := os.ReadFile(source)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range command.FindAllSubmatch(text, -1) {
			run := exec.Command(gen, strings.Fields(string(m[1]))...)
			run.Dir = folder
			if out, err := run.CombinedOutput(); err != nil {
				t.Fatalf("%s: %v\n%s", m[1], err, out)
			}
			commands++
		}
	}
	if commands != len(files) {
		t.Errorf("go generate makes %d of %d files", commands, len(files))
	}
	made, err := filepath.Glob(filepath.Join(root, "*_*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range made {
		if path == folder {
			continue
		}
		want, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(filepath.Join("..", filepath.Base(path)))
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s is stale: run go generate in internal/kernel (%v)",
				filepath.Base(path), err)
		}
	}
	for _, path := range sources {
		text, _ := os.ReadFile(path)
		if _, err := os.Stat(filepath.Join(root, filepath.Base(path))); err != nil && bytes.HasPrefix(text, []byte("// Code generated")) {
			t.Errorf("%s says that it is generated, and nothing makes it", filepath.Base(path))
		}
	}
}
