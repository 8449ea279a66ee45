// Command search finds the pictures that fit some words best, among files. A program that searches
// often keeps the vectors: they are the same from run to run.
//
//	go run ./examples/search "a guitar" testdata/images/*.png
package main

import (
	"context"
	"fmt"
	"log"
	"os"

	clipmini "github.com/crossattn/xpipe/models/mini/clip-mini"
	"github.com/crossattn/xpipe/pipeline"
)

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: search TEXT FILE...")
	}
	ctx := context.Background()
	p, err := pipeline.OpenFS(ctx, clipmini.FS())
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	paths := os.Args[2:]
	rows := make([][]float32, 0, len(paths)) // nil for a file that cannot be read
	for row, err := range p.EmbedAll(ctx, p.DecodeFiles(paths...)) {
		if err != nil {
			log.Print(err)
		}
		rows = append(rows, row)
	}
	query, err := p.EmbedTexts(ctx, os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	for _, hit := range pipeline.TopK(query[0], rows, 5) {
		fmt.Printf("%.3f %s\n", hit.Similarity, paths[hit.Index])
	}
}
