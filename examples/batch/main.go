// Command batch captions every file of a folder, writes one line of JSON for each, and says on
// standard error how far it is. Memory does not grow with the number of files.
//
//	go run ./examples/batch testdata/images > captions.jsonl
package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"

	blip2mini "github.com/crossattn/xpipe/models/mini/blip2-mini"
	"github.com/crossattn/xpipe/pipeline"
)

// line is a file's caption or its error.
type line struct {
	File    string         `json:"file"`
	Caption *pipeline.Text `json:"caption,omitempty"`
	Error   string         `json:"error,omitempty"`
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: batch FOLDER")
	}
	paths, err := filepath.Glob(filepath.Join(os.Args[1], "*.*"))
	if err != nil {
		log.Fatal(err)
	}
	ctx := context.Background()
	p, err := pipeline.OpenFS(ctx, blip2mini.FS())
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	out := json.NewEncoder(os.Stdout)
	done, failed := 0, 0
	for caption, err := range p.CaptionAll(ctx, p.DecodeFiles(paths...)) {
		l := line{File: paths[done], Caption: caption}
		if err != nil {
			l.Error = err.Error()
			failed++
		}
		if err := out.Encode(l); err != nil {
			log.Fatal(err)
		}
		done++
		fmt.Fprintf(os.Stderr, "\r%d of %d, %d failed", done, len(paths), failed)
	}
	fmt.Fprintln(os.Stderr)
}
