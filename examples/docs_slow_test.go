//go:build slow

package examples

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The code in docs/go.md compiles, each piece behind the ones before it.
func TestDocs(t *testing.T) {
	doc, err := os.ReadFile("../docs/go.md")
	if err != nil {
		t.Fatal(err)
	}
	var b strings.Builder
	b.WriteString(`package main

import (
	"context"
	"fmt"
	"image"
	"log"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/ort"
	"github.com/crossattn/xpipe/pipeline"
)

func main() { log.Fatal(run(nil, nil, "", nil, nil, nil)) }

func run(ctx context.Context, paths []string, dir string, img, first, second image.Image) error {
`)
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(doc), -1)
	for _, block := range blocks {
		b.WriteString(block[1])
	}
	b.WriteString("_, _, _, _, _, _, _ = answer, caption, sure, choices, labels, matches, own\nreturn err\n}\n")
	file := filepath.Join(t.TempDir(), "main.go")
	if err := os.WriteFile(file, []byte(b.String()), 0o666); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "vet", file).CombinedOutput(); err != nil || len(blocks) < 8 {
		t.Errorf("%d blocks, %v\n%s\n%s", len(blocks), err, out, b.String())
	}
}

// So does the code in README.md, each piece for itself.
func TestREADME(t *testing.T) {
	doc, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	imports := regexp.MustCompile(`(?s)^import \((.*?)\n\)\n`)
	names := regexp.MustCompile(`(?m)^([a-z]+(?:, [a-z]+)*) :=`)
	var head, body strings.Builder
	blocks := regexp.MustCompile("(?s)```go\n(.*?)```").FindAllStringSubmatch(string(doc), -1)
	for _, block := range blocks {
		code := block[1]
		if m := imports.FindStringSubmatch(code); m != nil {
			head.WriteString(m[1])
			code = code[len(m[0]):]
		}
		body.WriteString("{\n" + code)
		for _, m := range names.FindAllStringSubmatch(code, -1) {
			for name := range strings.SplitSeq(m[1], ", ") {
				body.WriteString("_ = " + name + "\n")
			}
		}
		body.WriteString("}\n")
	}
	file := filepath.Join(t.TempDir(), "main.go")
	source := "package main\n\nimport (\n\"context\"\n\"image\"\n" + head.String() + `
)

func main() {}

func _(ctx context.Context, clip, flamingo *pipeline.Pipeline, img image.Image, images []image.Image,
	shots []pipeline.Shot) {
` + body.String() + "}\n"
	if err := os.WriteFile(file, []byte(source), 0o666); err != nil {
		t.Fatal(err)
	}
	// Not go vet: the pieces leave errors and Close out.
	out, err := exec.Command("go", "build", "-o", os.DevNull, file).CombinedOutput()
	if err != nil || len(blocks) < 4 {
		t.Errorf("%d blocks, %v\n%s\n%s", len(blocks), err, out, source)
	}
}
