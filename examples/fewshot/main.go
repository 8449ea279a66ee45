// Command fewshot teaches a model names by examples: FILE=NAME ..., and asks it for the name of
// another picture.
//
//	go run ./examples/fewshot testdata/images/dog.png testdata/images/pizza.png=zudo \
//		testdata/images/dog.png=wemi
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strings"

	flamingomini "github.com/crossattn/xpipe/models/mini/flamingo-mini"
	"github.com/crossattn/xpipe/pipeline"
)

func main() {
	if len(os.Args) < 3 {
		log.Fatal("usage: fewshot FILE EXAMPLE=NAME...")
	}
	ctx := context.Background()
	p, err := pipeline.OpenFS(ctx, flamingomini.FS())
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	var shots []pipeline.Shot
	for _, arg := range os.Args[2:] {
		path, name, ok := strings.Cut(arg, "=")
		if !ok {
			log.Fatalf("%q is not FILE=NAME", arg)
		}
		img, err := p.DecodeFile(path)
		if err != nil {
			log.Fatal(err)
		}
		shots = append(shots, pipeline.Shot{Image: img, Text: name})
	}
	img, err := p.DecodeFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	answer, err := p.AnswerShots(ctx, img, "what is this?", shots)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer)
}
