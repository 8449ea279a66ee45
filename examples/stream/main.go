// Command stream answers a question about a picture and writes the words as they come. Ctrl-C stops
// the model.
//
//	go run ./examples/stream testdata/images/scene.png "how many dogs are there?"
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	blip2mini "github.com/crossattn/xpipe/models/mini/blip2-mini"
	"github.com/crossattn/xpipe/pipeline"
)

func main() {
	if len(os.Args) != 3 {
		log.Fatal("usage: stream FILE QUESTION")
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	p, err := pipeline.OpenFS(ctx, blip2mini.FS())
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	img, err := p.DecodeFile(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	request := pipeline.Request{Image: img, Question: os.Args[2]}
	for token, err := range p.Stream(ctx, request, pipeline.WithMaxNewTokens(30)) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Print(token.Text)
	}
	fmt.Println()
}
