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
