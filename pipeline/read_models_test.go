package pipeline_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/models/ocr"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
)

// Models that write pages down read them, with places or without; others say what they do.
func TestReadByOtherModels(t *testing.T) {
	t.Parallel()
	img := vision.NewRGB(60, 40)
	for path, says := range map[string]string{
		"layouts/florence2-transformersjs": "places", "layouts/docling-transformersjs": "places",
		"layouts/donut-transformersjs": "fields", "families/donut/bundle": "fields", "families/pix2struct/bundle": "text",
		"layouts/trocr-optimum": "WithLinesBy", "families/trocr/bundle": "WithLinesBy",
		"layouts/smolvlm-transformersjs": "caption", "families/vit-gpt2/bundle": "caption",
	} {
		p, err := pipeline.Open(t.Context(), "../testdata/"+path)
		if err != nil {
			t.Error(err)
			continue
		}
		defer p.Close()
		page, err := p.Read(t.Context(), img)
		can := p.Abilities()
		switch says {
		case "places", "fields", "text":
			placeless := says != "places"
			if err != nil || page.Width != 60 || page.Height != 40 || !can.Read || can.Placeless != placeless || can.ReadLines ||
				(page.Fields != nil) != (says == "fields") || placeless && (page.Text() == "" || page.Lines != nil) {
				t.Errorf("%s: %+v, %v; %+v", path, page, err, can)
			}
		default:
			if !errors.Is(err, pipeline.ErrUnsupported) || !strings.Contains(err.Error(), says) ||
				can.Read || can.Placeless || can.ReadLines != (says == "WithLinesBy") {
				t.Errorf("%s: %v; %+v", path, err, can)
			}
		}
	}
}

// A text is what the model writes of the page; a prompt takes the place of its own, and what stands in
// it behind the task is a part of the page.
func TestReadByPrompt(t *testing.T) {
	t.Parallel()
	img := vision.NewRGB(60, 40)
	for _, c := range []struct{ path, prompt, begins string }{
		{"layouts/florence2-transformersjs", "<OD>", ""},
		{"families/pix2struct/bundle", "a", "*"},
		{"families/donut/bundle", "<s_cord-v2>", "*"},
		{"families/donut/bundle", "<s_docvqa><s_question>dog?</s_question><s_answer>", "dog?\n"},
	} {
		p, err := pipeline.Open(t.Context(), "../testdata/"+c.path)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		page, err := p.Read(t.Context(), img, pipeline.WithPagePrompt(c.prompt))
		if c.begins == "" {
			if !errors.Is(err, pipeline.ErrUnsupported) {
				t.Errorf("%s: %v", c.path, err)
			}
			continue
		}
		if err != nil || page.Text() == "" {
			t.Errorf("%s: %+v, %v", c.path, page, err)
			continue
		}
		if c.begins == "*" {
			continue
		}
		if fields, ok := page.Fields.(map[string]any); !ok || fields["question"] != "dog?" || !strings.HasPrefix(page.Text(), c.begins) {
			t.Errorf("%s: %q, %v", c.path, page.Text(), page.Fields)
		}
	}
}

// A model of single lines writes down those that another finds, each as it would by itself; places and order
// stay the same.
func TestReadLinesByAnother(t *testing.T) {
	t.Parallel()
	finder, err := pipeline.OpenFS(t.Context(), ocr.FS())
	if err != nil {
		t.Fatal(err)
	}
	defer finder.Close()
	img, err := finder.DecodeFile("../testdata/ocr/golden/note.png")
	if err != nil {
		t.Fatal(err)
	}
	own, err := finder.Read(t.Context(), img)
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"families/trocr/bundle", "layouts/trocr-optimum"} {
		p, err := pipeline.Open(t.Context(), "../testdata/"+path)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		page, err := finder.Read(t.Context(), img, pipeline.WithLinesBy(p), pipeline.WithPlacedWords())
		if err != nil || len(page.Lines) != len(own.Lines) || page.Text() == "" {
			t.Fatalf("%s: %+v, %v", path, page, err)
		}
		alone, err := finder.Read(t.Context(), img, func(r *pipeline.Reading) {
			r.WriteLines = func(ctx context.Context, lines []*vision.RGB) (texts []string, err error) {
				for _, l := range lines {
					text, err := p.Generate(ctx, []pipeline.Request{{Image: l}}, pipeline.WithMaxNewTokens(200))
					if err != nil {
						return nil, err
					}
					texts = append(texts, text[0][0].Text)
				}
				return texts, nil
			}
		})
		if err != nil || !reflect.DeepEqual(alone.Lines, page.Lines) {
			t.Errorf("%s: together %+v, alone %+v, %v", path, page.Lines, alone, err)
		}
		for i, l := range page.Lines {
			if !reflect.DeepEqual(l.Quad, own.Lines[i].Quad) || l.Text == "" || l.Confidence != 1 || l.Words != nil {
				t.Errorf("%s: line %d is %+v, where the finder has %+v", path, i, l, own.Lines[i])
			}
		}
		for name, opt := range map[string]pipeline.ReadOption{
			"a finder as a writer": pipeline.WithLinesBy(finder), "a prompt": pipeline.WithPagePrompt("x"),
		} {
			if _, err := finder.Read(t.Context(), img, opt); !errors.Is(err, pipeline.ErrUnsupported) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}
