package pipeline_test

import (
	"encoding/json"
	"errors"
	"image"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
)

const images = "../testdata/images"

// The text of ten picture-question pairs is PyTorch's, on both engines.
func TestDefaultModelSaysWhatPyTorchSays(t *testing.T) {
	t.Parallel()
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
	pipeline.EachEngine(t, func(t *testing.T, eng engine.Engine) {
		p := pipeline.SharedEmbedded(t, mini.Default, eng)
		for i, want := range golden.Texts {
			if eng.Name() != "go" && i > 0 && !sweep.Keeps(i, 6) {
				continue
			}
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
	})
}

// A model that was not made to describe pictures says so, and does not babble.
func TestCaptionIsNoTask(t *testing.T) {
	t.Parallel()
	p := pipeline.SharedEmbedded(t, mini.Flamingo, pipeline.GoEngine)
	img := image.NewGray(image.Rect(0, 0, 8, 8))
	if text, err := p.Caption(t.Context(), img); !errors.Is(err, pipeline.ErrUnsupported) || !strings.Contains(err.Error(), "converse") {
		t.Errorf("%v, %v", text, err)
	}
	if _, err := p.Generate(t.Context(), []pipeline.Request{{Image: img, Shots: []pipeline.Shot{{Image: img, Text: "kemi"}}}}); err != nil {
		t.Error("with an example:", err)
	}
}
