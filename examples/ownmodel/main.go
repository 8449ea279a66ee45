// Command ownmodel opens a model's folder, on the Go engine or on ONNX Runtime, and does what the
// model was made for with a picture.
//
//	go run ./examples/ownmodel models/mini/clip-mini testdata/images/guitar.png
//	go run ./examples/ownmodel FOLDER photo.jpg /usr/lib/libonnxruntime.so
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"slices"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/ort"
	"github.com/crossattn/xpipe/pipeline"
)

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: ownmodel FOLDER FILE [LIBRARY]")
	}
	var eng engine.Engine = fallback.New()
	if len(os.Args) > 3 {
		var err error
		if eng, err = ort.New(ort.WithLibrary(os.Args[3])); err != nil {
			log.Fatal(err)
		}
	}
	ctx := context.Background()
	p, err := pipeline.Open(ctx, os.Args[1], pipeline.WithEngine(eng))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	tasks := p.Tasks()
	fmt.Println(p.Bundle().Name, "on", eng.Name(), "is for", tasks)
	img, err := p.DecodeFile(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	var result any
	switch {
	case slices.Contains(tasks, "caption"):
		result, err = p.Caption(ctx, img)
	case slices.Contains(tasks, "classify"):
		result, err = p.Classify(ctx, img, "a guitar", "a dog", "an apple")
	default:
		result, err = p.Answer(ctx, img, "what is this?")
	}
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(result)
}
