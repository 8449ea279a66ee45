package api_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/pipeline"
)

// Whatever --model of the command takes: an embedded model's name, a folder, or org/name in the cache
// of Hugging Face's hub.
func ExampleOpen() {
	ctx := context.Background()
	p, err := api.Open(ctx, "clip-mini")
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	fmt.Println(p.Tasks())
	_, err = api.Open(ctx, "clip-mega")
	fmt.Println(errors.Is(err, api.ErrNoModel))
	// Output:
	// [classify match embed]
	// true
}

// The command's choice of an engine: ONNX Runtime if its library is found and works, else Go. There
// is no output to check: it depends on the machine.
func ExampleSelectEngine() {
	choice, err := api.SelectEngine(api.AutoEngine, api.EngineConfig{})
	if err != nil {
		log.Fatal(err)
	}
	p, err := api.Open(context.Background(), "blip2-mini", pipeline.WithEngine(choice.Engine))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	fmt.Println(choice) // which engine, and why
}

// An error as an HTTP status and as a name for clients.
func ExampleKindOf() {
	kind := api.KindOf(&pipeline.LimitError{Field: "ImagePixels", Text: "too many pixels"})
	fmt.Println(kind.Status, kind.Name)
	// Output: 413 limit
}
