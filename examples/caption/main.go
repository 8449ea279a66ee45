// Command caption describes the pictures named on the command line.
//
//	go run ./examples/caption testdata/images/*.png
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	blip2mini "github.com/crossattn/xpipe/models/mini/blip2-mini"
	"github.com/crossattn/xpipe/pipeline"
)

func main() {
	ctx := context.Background()
	p, err := pipeline.OpenFS(ctx, blip2mini.FS())
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	for _, path := range os.Args[1:] {
		caption, err := p.CaptionFile(ctx, path)
		if err != nil {
			log.Print(err) // it names the file
			continue
		}
		unsure := ""
		if c := caption.Confidence; c != nil && c.Unsure {
			unsure = " (unsure)"
		}
		fmt.Printf("%s: %v%s\n", path, caption, unsure)
	}
}
