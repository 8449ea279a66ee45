package pipeline_test

import (
	"context"
	"fmt"
	"image"
	"log"
	"time"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
)

const pictures = "../testdata/images/"

// shared is the Go engine; each graph is opened once for all examples.
var shared = enginetest.Share(pipeline.GoEngine)

// open opens one of the small models and a picture for the examples that show something else.
func open(model, picture string) (*pipeline.Pipeline, image.Image) {
	p, err := pipeline.Open(context.Background(), "../models/mini/"+model, pipeline.WithEngine(shared))
	if err != nil {
		log.Fatal(err)
	}
	img, err := p.DecodeFile(pictures + picture)
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

	img, err := p.DecodeFile("../testdata/images/blue-triangle.png")
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
	fmt.Println(caption)
	fmt.Println(answer)
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
	p, img := open("blip2-mini", "blue-triangle.png")
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
	p, img := open("blip2-mini", "blue-triangle.png")
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
	p, img := open("blip2-mini", "red-circle.png")
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

// A caption in JSON has the keys of the command's lines.
func ExamplePipeline_CaptionFile() {
	p, _ := open("blip2-mini", "apple.png")
	defer p.Close()
	caption, err := p.CaptionFile(context.Background(), pictures+"apple.png")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(caption, len(caption.Tokens), caption.Confidence.Unsure)
	// Output: red apple 2 false
}

// The pictures that cannot be used are named, and the others have their captions.
func ExamplePipeline_CaptionBatch() {
	p, apple := open("blip2-mini", "apple.png")
	defer p.Close()
	captions, err := p.CaptionBatch(context.Background(), []image.Image{apple, nil})
	for _, failed := range pipeline.ItemErrors(err) {
		fmt.Println(failed)
	}
	fmt.Println(captions[0])
	// Output:
	// picture 2: image: there is no picture
	// red apple
}

// Any number of files, in bounded memory.
func ExamplePipeline_CaptionAll() {
	p, _ := open("blip2-mini", "apple.png")
	defer p.Close()
	files := p.DecodeFiles(pictures+"apple.png", pictures+"umbrella.png")
	for caption, err := range p.CaptionAll(context.Background(), files) {
		if err != nil {
			fmt.Println(err) // this picture's
			continue
		}
		fmt.Println(caption)
	}
	// Output:
	// red apple
	// umbrella
}

// Two questions about one picture, which is encoded once.
func ExamplePipeline_Encode() {
	ctx := context.Background()
	p, img := open("blip2-mini", "scene.png")
	defer p.Close()
	encoded, err := p.Encode(ctx, media.Picture{Image: img})
	if err != nil {
		log.Fatal(err)
	}
	answers, err := p.AnswerBatch(ctx, []pipeline.Request{
		{Encoded: encoded[0], Question: "how many dogs are there?"},
		{Encoded: encoded[0], Question: "what color is the car?"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answers)
	// Output: [2 blue]
}

// Three texts by beam search, the best first.
func ExamplePipeline_Generate() {
	p, img := open("blip2-mini", "apple.png")
	defer p.Close()
	texts, err := p.Generate(context.Background(), []pipeline.Request{{Image: img}},
		pipeline.WithNumBeams(3), pipeline.WithNumReturnSequences(3))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(len(texts[0]), texts[0][0])
	// Output: 3 red apple
}

// Learning made-up names from one picture each.
func ExamplePipeline_AnswerShots() {
	p, dog := open("flamingo-mini", "dog.png")
	defer p.Close()
	pizza, err := p.DecodeFile(pictures + "pizza.png")
	if err != nil {
		log.Fatal(err)
	}
	answer, err := p.AnswerShots(context.Background(), dog, "what is this?", []pipeline.Shot{
		{Image: pizza, Text: "zudo"}, {Image: dog, Text: "wemi"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answer)
	// Output: wemi
}

func ExamplePipeline_Classify() {
	p, img := open("clip-mini", "guitar.png")
	defer p.Close()
	labels, err := p.Classify(context.Background(), img, "violin", "guitar", "frying pan")
	if err != nil {
		log.Fatal(err)
	}
	for _, l := range labels {
		fmt.Printf("%.2f %s\n", l.Probability, l.Label)
	}
	// Output:
	// 0.99 guitar
	// 0.01 violin
	// 0.00 frying pan
}

func ExamplePipeline_Match() {
	p, img := open("clip-mini", "guitar.png")
	defer p.Close()
	matches, err := p.Match(context.Background(), img, "a guitar", "a violin")
	if err != nil {
		log.Fatal(err)
	}
	for _, m := range matches {
		fmt.Printf("%s: cosine %.2f, probability %.2f\n", m.Text, m.Similarity, m.Probability)
	}
	// Output:
	// a guitar: cosine 0.42, probability 0.99
	// a violin: cosine 0.27, probability 0.01
}

// Search: embed the pictures once, then compare texts with them.
func ExamplePipeline_EmbedAll() {
	ctx := context.Background()
	p, _ := open("clip-mini", "apple.png")
	defer p.Close()
	files := []string{"apple.png", "dog.png", "guitar.png", "umbrella.png"}
	var paths []string
	for _, f := range files {
		paths = append(paths, pictures+f)
	}
	var rows [][]float32
	for row, err := range p.EmbedAll(ctx, p.DecodeFiles(paths...)) {
		if err != nil {
			log.Print(err)
		}
		rows = append(rows, row)
	}
	query, err := p.EmbedTexts(ctx, "an umbrella")
	if err != nil {
		log.Fatal(err)
	}
	for _, hit := range pipeline.TopK(query[0], rows, 1) {
		fmt.Println(files[hit.Index])
	}
	// Output: umbrella.png
}

// A question that LXMERT answers from regions, which its region encoder finds.
func ExamplePipeline_Regions() {
	ctx := context.Background()
	p, img := open("lxmert-mini", "scene.png")
	defer p.Close()
	regions, err := p.Regions(ctx, img)
	if err != nil {
		log.Fatal(err)
	}
	answers, err := p.AnswerBatch(ctx, []pipeline.Request{
		{Regions: regions, Question: "is the apple above the car?"},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(answers[0])
	// Output: yes
}

// Engine and cores. ort.New(ort.WithLibrary(path)) makes the engine over ONNX Runtime.
func ExampleWithEngine() {
	p, err := pipeline.Open(context.Background(), "../models/mini/clip-mini",
		pipeline.WithEngine(fallback.New()),
		pipeline.WithEngineOptions(engine.Options{Threads: 1}))
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()
	fmt.Println(p.Engine().Name(), p.Tasks())
	// Output: go [classify match embed]
}

func ExampleCosine() {
	fmt.Printf("%.2f\n", pipeline.Cosine([]float32{1, 0}, []float32{1, 1}))
	// Output: 0.71
}
