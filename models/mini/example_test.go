package mini_test

import (
	"context"
	"log"

	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
)

// A program that brings no bundle opens an embedded one.
func Example() {
	bundle, err := mini.FS(mini.Default)
	if err != nil {
		log.Fatal(err)
	}
	p, err := pipeline.OpenFS(context.Background(), bundle)
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
}
