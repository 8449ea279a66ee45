package pipeline_test

import (
	"context"
	"fmt"
	"log"

	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
)

// Which part of the picture made the model say "circle"?
func ExamplePipeline_Attend() {
	ctx := context.Background()
	bundle, err := mini.FS(mini.Default)
	if err != nil {
		log.Fatal(err)
	}
	p, err := pipeline.OpenFS(ctx, bundle, pipeline.WithEngine(fallback.New()))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	img, err := vision.DecodeFile("../testdata/images/red-circle.png")
	if err != nil {
		log.Fatal(err)
	}
	a, err := p.AttendText(ctx, pipeline.Request{Image: img}, "a red circle")
	if err != nil {
		log.Fatal(err)
	}
	for _, word := range a.Words() {
		m, err := a.WordMap(word)
		if err != nil {
			log.Fatal(err)
		}
		sum := float32(0)
		for _, w := range m.Weights {
			sum += w
		}
		fmt.Printf("%s: %d by %d weights, sum %.2f\n", word.Text, m.Rows, m.Cols, sum)
	}
	// Output:
	// a: 7 by 7 weights, sum 1.00
	// red: 7 by 7 weights, sum 1.00
	// circle: 7 by 7 weights, sum 1.00
}
