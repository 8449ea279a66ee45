package pipeline_test

import (
	"context"
	"encoding/json"
	"errors"
	"image"
	"image/color"
	"image/draw"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
)

// Things found in Go are where the scene was drawn, and the answers from boxes are
// PyTorch's, on both engines.
func TestRegionAnswersArePyTorchs(t *testing.T) {
	t.Parallel()
	const dir = "../testdata/golden/lxmert-mini"
	data, err := os.ReadFile(filepath.Join(dir, "answers.json"))
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Image   string
		Boxes   [][4]int // x1, y1, x2, y2 in pixels
		Answers []struct {
			Question, Answer string
			LogProb          float64
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	img, err := vision.DecodeFile(filepath.Join(dir, golden.Image))
	if err != nil {
		t.Fatal(err)
	}
	boxes := make([]image.Rectangle, len(golden.Boxes))
	for i, b := range golden.Boxes {
		boxes[i] = image.Rect(b[0], b[1], b[2], b[3])
	}
	found, err := vision.PlainObjects(t.Context(), img, 35)
	if err != nil || len(found) != len(boxes) {
		t.Fatalf("%d things, want %d (%v)", len(found), len(boxes), err)
	}
	for _, f := range found {
		if !slices.ContainsFunc(boxes, func(b image.Rectangle) bool { return f.In(b.Inset(-2)) && b.Inset(2).In(f) }) {
			t.Errorf("nothing was drawn at %v; boxes %v", f, boxes)
		}
	}
	pipeline.EachEngine(t, func(t *testing.T, eng engine.Engine) {
		p := pipeline.SharedEmbedded(t, mini.LXMERT, eng)
		regions, err := p.Regions(t.Context(), img, boxes...)
		if err != nil {
			t.Fatal(err)
		}
		var requests []pipeline.Request
		for _, a := range golden.Answers {
			requests = append(requests, pipeline.Request{Regions: regions, Question: a.Question}, pipeline.Request{Image: img, Question: a.Question})
		}
		texts, err := p.AnswerBatch(t.Context(), requests)
		if err != nil {
			t.Fatal(err)
		}
		for i, a := range golden.Answers {
			given, found := texts[2*i], texts[2*i+1]
			if d := given.LogProb - a.LogProb; given.Text != a.Answer || d < -1e-3 || d > 1e-3 {
				t.Errorf("%s: %q: %q (%.5f), want %q (%.5f)", eng.Name(), a.Question, given.Text, given.LogProb, a.Answer, a.LogProb)
			}
			if found.Text != a.Answer {
				t.Errorf("%s: %q from regions found: %q, want %q", eng.Name(), a.Question, found.Text, a.Answer)
			}
		}
	})
}

// Boxes that are given are taken as they are, wherever the picture's bounds start;
// without a thing in sight there is a grid.
func TestRegionsOfBoxes(t *testing.T) {
	t.Parallel()
	p := pipeline.SharedEmbedded(t, mini.LXMERT, pipeline.GoEngine)
	at := func(img image.Image, boxes ...image.Rectangle) []float32 {
		t.Helper()
		r, err := p.Regions(t.Context(), img, boxes...)
		if err != nil {
			t.Fatal(err)
		}
		return tensor.Data[float32](r.Boxes)
	}
	plain := image.NewRGBA(image.Rect(100, -50, 300, 50))
	draw.Draw(plain, plain.Rect, image.White, image.Point{}, draw.Src)
	if got := at(plain); len(got) != 4*10 || got[3] != 1 || got[4*5] != 0.33 {
		t.Errorf("a blank picture: %v", got)
	}
	if got := at(plain, image.Rect(150, -50, 400, 0)); len(got) != 8 || [4]float32(got[4:]) != [4]float32{0.25, 0, 1, 0.5} {
		t.Errorf("a box over the edge: %v", got)
	}
	draw.Draw(plain, image.Rect(120, -30, 160, 10), image.NewUniform(color.RGBA{200, 0, 0, 255}), image.Point{}, draw.Src)
	if got := at(plain); len(got) != 8 || [4]float32(got[4:]) != [4]float32{0.1, 0.2, 0.3, 0.6} {
		t.Errorf("one thing: %v", got)
	}
	tall := image.NewGray(image.Rect(0, 0, 1, 2000))
	if got := at(tall); len(got) < 8 {
		t.Errorf("one column: %v", got)
	}
}

func TestRegionsOfNothing(t *testing.T) {
	t.Parallel()
	p := pipeline.OpenEmbedded(t, mini.LXMERT, pipeline.WithLimits(pipeline.Limits{ImagePixels: 1 << 16}))
	small := image.NewRGBA(image.Rect(0, 0, 20, 20))
	for name, c := range map[string]struct {
		img   image.Image
		boxes []image.Rectangle
		err   error
	}{
		"no picture":             {nil, nil, pipeline.ErrImage},
		"a picture of no pixels": {image.NewRGBA(image.Rectangle{}), nil, pipeline.ErrImage},
		"a picture too large":    {image.NewAlpha(image.Rect(0, 0, 1<<10, 1<<7)), nil, pipeline.ErrLimit},
		"a box outside":          {small, []image.Rectangle{image.Rect(30, 30, 40, 40)}, pipeline.ErrRegions},
		"more boxes than fit":    {small, make([]image.Rectangle, 400), pipeline.ErrLimit},
	} {
		if _, err := p.Regions(t.Context(), c.img, c.boxes...); !errors.Is(err, c.err) {
			t.Errorf("%s: %v, want %v", name, err, c.err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.Answer(ctx, small, "is there a dog?"); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}
	captions := pipeline.SharedEmbedded(t, mini.BLIP2, pipeline.GoEngine)
	if _, err := captions.Regions(t.Context(), small); !errors.Is(err, pipeline.ErrUnsupported) {
		t.Errorf("a model without a region encoder: %v", err)
	}
}

// Both engines agree on both graphs, and attention is over the regions found.
func TestRegionEncoderTwinsAndAttention(t *testing.T) {
	t.Parallel()
	p := pipeline.SharedEmbedded(t, mini.LXMERT, pipeline.GoEngine)
	img := image.NewRGBA(image.Rect(0, 0, 200, 200))
	draw.Draw(img, img.Rect, image.White, image.Point{}, draw.Src)
	draw.Draw(img, image.Rect(20, 20, 80, 80), image.NewUniform(color.RGBA{200, 0, 0, 255}), image.Point{}, draw.Src)
	a, err := p.Attend(t.Context(), pipeline.Request{Image: img, Question: "is there a dog?"})
	if err != nil {
		t.Fatal(err)
	}
	if len(a.Boxes) != 2 || a.Text == nil || a.Text.Text == "" {
		t.Fatalf("boxes %v, text %v", a.Boxes, a.Text)
	}
	bundle := os.DirFS("../models/mini/lxmert-mini")
	report, err := api.Verify(t.Context(), pipeline.GoEngine, pipeline.RuntimeEngine(t), api.VerifyRequest{}, func(opts ...pipeline.Option) (*pipeline.Pipeline, error) {
		return pipeline.OpenFS(t.Context(), bundle, opts...)
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(report.Stages) != 2 || len(report.Breaches()) > 0 {
		t.Errorf("stages %v, breaches %v", report.Stages, report.Breaches())
	}
}
