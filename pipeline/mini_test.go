package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"log"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/ort"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
)

const images = "../testdata/images"

// The text of ten picture-question pairs is PyTorch's, on both engines.
func TestDefaultModelSaysWhatPyTorchSays(t *testing.T) {
	data, err := os.ReadFile("../testdata/golden/blip2-mini/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Texts []struct {
			Image    string `json:"image"`
			Question string `json:"question"`
			Text     string `json:"text"`
		} `json:"texts"`
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Texts) < 10 {
		t.Fatalf("%d golden texts", len(golden.Texts))
	}
	engines := []engine.Engine{fallback.New()}
	if eng, err := ort.New(ort.WithLibrary(pipeline.TestLibrary())); err == nil {
		engines = append(engines, eng)
	} else if os.Getenv("XPIPE_REQUIRE_REFS") == "1" {
		t.Fatal(err)
	} else {
		t.Log("on the Go engine only:", err)
	}
	for _, eng := range engines {
		p := openMini(t, eng)
		for _, want := range golden.Texts {
			img, err := vision.DecodeFile(filepath.Join(images, want.Image))
			if err != nil {
				t.Fatal(err)
			}
			texts, err := p.Generate(t.Context(), []pipeline.Request{{Image: img, Question: want.Question}})
			if err != nil {
				t.Fatal(err)
			}
			if got := texts[0][0].Text; got != want.Text {
				t.Errorf("%s: %s %q: %q, want %q", eng.Name(), want.Image, want.Question, got, want.Text)
			}
		}
	}
}

func openMini(t testing.TB, eng engine.Engine) *pipeline.Pipeline {
	t.Helper()
	return pipeline.OpenEmbedded(t, mini.Default, pipeline.WithEngine(eng))
}

// A model that was not made to describe pictures says so, and does not babble.
func TestCaptionIsNoTask(t *testing.T) {
	p := pipeline.OpenEmbedded(t, "flamingo-mini", pipeline.WithEngine(fallback.New()))
	img := image.NewGray(image.Rect(0, 0, 8, 8))
	if text, err := p.Caption(t.Context(), img); !errors.Is(err, pipeline.ErrUnsupported) || !strings.Contains(err.Error(), "converse") {
		t.Errorf("%v, %v", text, err)
	}
	if _, err := p.Generate(t.Context(), []pipeline.Request{{Image: img, Shots: []pipeline.Shot{{Image: img, Text: "kemi"}}}}); err != nil {
		t.Error("with an example:", err)
	}
}

func Example() {
	ctx := context.Background()
	bundle, err := mini.FS(mini.Default)
	if err != nil {
		log.Fatal(err)
	}
	p, err := pipeline.OpenFS(ctx, bundle)
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

func ExamplePipeline_Stream() {
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

	img, err := vision.DecodeFile("../testdata/images/blue-triangle.png")
	if err != nil {
		log.Fatal(err)
	}
	for token, err := range p.Stream(ctx, pipeline.Request{Image: img}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%q ", token.Text)
	}
	// Output: " a" " blue" " triangle"
}

func ExamplePipeline_Choose() {
	ctx := context.Background()
	bundle, err := mini.FS(mini.Default)
	if err != nil {
		log.Fatal(err)
	}
	p, err := pipeline.OpenFS(ctx, bundle)
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	img, err := vision.DecodeFile("../testdata/images/blue-triangle.png")
	if err != nil {
		log.Fatal(err)
	}
	choices, err := p.Choose(ctx, pipeline.Request{Image: img, Question: "what color is the shape?"}, "red", "blue", "green")
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
