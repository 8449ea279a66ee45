package pipeline_test

import (
	"context"
	"fmt"
	"image"
	"log"
	"time"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
)

// open opens the default model and a picture for the examples that show something else.
func open(picture string) (*pipeline.Pipeline, image.Image) {
	p, err := pipeline.Open(context.Background(), "../models/mini/blip2-mini")
	if err != nil {
		log.Fatal(err)
	}
	img, err := vision.DecodeFile(picture)
	if err != nil {
		log.Fatal(err)
	}
	return p, img
}

func Example() {
	ctx := context.Background()
	p, err := pipeline.Open(ctx, "../models/mini/blip2-mini") // embedded: the example of package mini
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	img, err := vision.DecodeFile("../testdata/images/blue-triangle.png")
	if err != nil {
		log.Fatal(err)
	}
	caption, err := p.Caption(ctx, img)
	if err != nil {
		log.Fatal(err)
	}
	answer, err := p.Answer(ctx, img, "what color is the shape?")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(caption.Text)
	fmt.Println(answer.Text)
	// Output:
	// a blue triangle
	// blue
}

func ExampleOpen() {
	p, err := pipeline.Open(context.Background(), "../models/mini/clip-mini",
		pipeline.WithLimits(pipeline.Limits{Batch: 8}))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	fmt.Println(p.Bundle().Name)
	// Output: clip-mini
}

func ExamplePipeline_Stream() {
	p, img := open("../testdata/images/blue-triangle.png")
	defer p.Close()
	for token, err := range p.Stream(context.Background(), pipeline.Request{Image: img}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%q ", token.Text)
	}
	// Output: " a" " blue" " triangle"
}

func ExamplePipeline_Choose() {
	p, img := open("../testdata/images/blue-triangle.png")
	defer p.Close()
	request := pipeline.Request{Image: img, Question: "what color is the shape?"}
	choices, err := p.Choose(context.Background(), request, "red", "blue", "green")
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range choices {
		fmt.Printf("%s %.2f\n", c.Text, c.Probability)
	}
	// Output:
	// red 0.00
	// blue 1.00
	// green 0.00
}

// Which part of the picture made the model say "circle"?
func ExamplePipeline_Attend() {
	p, img := open("../testdata/images/red-circle.png")
	defer p.Close()
	a, err := p.AttendText(context.Background(), pipeline.Request{Image: img}, "a red circle")
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

func ExampleWithLimits() {
	l := pipeline.DefaultLimits()
	fmt.Println(l.OutputTokens, l.Time)
	l.OutputTokens, l.Time = 64, 30*time.Second
	p, err := pipeline.Open(context.Background(), "../models/mini/clip-mini",
		pipeline.WithLimits(l))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	// Output: 4096 10m0s
}
