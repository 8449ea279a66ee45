package pipeline

import (
	"context"
	"errors"
	"image"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/vision"
)

// oddItem is an item of no kind that a front end knows.
type oddItem struct{}

func (*oddItem) Kind() media.Kind { return "smell" }

// Items that are nil, typed or not, are refused by every call, as what they are.
func TestNilItems(t *testing.T) {
	t.Parallel()
	p := OpenEmbedded(t, mini.Flamingo)
	for _, c := range []struct {
		name string
		item media.Item
		want error
	}{
		{"picture of nothing", media.Picture{}, ErrImage},
		{"picture of a nil image", media.Picture{Image: (*image.RGBA)(nil)}, ErrImage},
		{"nil picture", (*media.Picture)(nil), ErrImage},
		{"nil odd item", (*oddItem)(nil), ErrImage},
		{"odd item", &oddItem{}, ErrUnsupported},
		{"nothing encoded", (*Encoded)(nil), ErrPrompt},
		{"nil regions", (*Regions)(nil), ErrRegions},
	} {
		r := Request{Parts: []Part{{Item: c.item}, {Text: "what is this?"}}}
		for call, do := range map[string]func(context.Context) error{
			"Generate": func(ctx context.Context) error { _, err := p.Generate(ctx, []Request{r}); return err },
			"Choose":   func(ctx context.Context) error { _, err := p.Choose(ctx, r, "a", "b"); return err },
			"Attend":   func(ctx context.Context) error { _, err := p.Attend(ctx, r); return err },
			"Inputs":   func(ctx context.Context) error { _, err := p.Inputs(ctx, r); return err },
			"Encode":   func(ctx context.Context) error { _, err := p.Encode(ctx, c.item); return err },
			"Stream": func(ctx context.Context) (err error) {
				for _, err = range p.Stream(ctx, r) {
				}
				return err
			},
		} {
			if err := do(t.Context()); !errors.Is(err, c.want) {
				t.Errorf("%s of a %s: %v, want %v", call, c.name, err, c.want)
			}
		}
	}
	if _, err := p.Encode(t.Context(), nil); !errors.Is(err, ErrImage) {
		t.Error("Encode of nil:", err)
	}
}

// What a program forgot to make is an error, or nothing, and neither a panic nor a wait.
func TestForgotten(t *testing.T) {
	t.Parallel()
	if _, err := OpenFS(t.Context(), nil); !errors.Is(err, ErrBundle) {
		t.Error("OpenFS of nil:", err)
	}
	if _, err := new(Pipeline).Caption(t.Context(), vision.NewRGB(8, 8)); !errors.Is(err, ErrClosed) {
		t.Error("a Pipeline that was not opened:", err)
	}
	p := OpenEmbedded(t, mini.BLIP2)
	if _, err := p.Decode(nil); !errors.Is(err, ErrImage) {
		t.Error("Decode of nil:", err)
	}
	if _, err := p.Caption(t.Context(), &vision.RGB{Width: 8, Height: 8}); !errors.Is(err, ErrImage) {
		t.Error("an RGB without pixels:", err)
	}
	for range p.CaptionAll(t.Context(), nil) {
		t.Error("CaptionAll of nil gives something")
	}
}

// A model that sees pixels does not look at a request's regions.
func TestRegionsBesideAPicture(t *testing.T) {
	t.Parallel()
	p := openGolden(t, loadGolden(t, "blip2-opt"), fallback.New())
	img := loadImage(t, familiesDir+"/images/figure0.png")
	want, err := p.Answer(t.Context(), img, "what is it?", unbounded(4))
	if err != nil {
		t.Fatal(err)
	}
	r := Request{Image: img, Question: "what is it?", Regions: &Regions{}}
	got, err := p.Generate(t.Context(), []Request{r}, unbounded(4))
	if err != nil || !slices.Equal(ids(got[0][0]), ids(want)) {
		t.Errorf("with regions: %v (%v), without %v", got, err, ids(want))
	}
	r.Image = nil
	if _, err := p.Generate(t.Context(), []Request{r}); !errors.Is(err, ErrImage) {
		t.Error("regions alone:", err)
	}
}

// Each of several requests to choose for needs a picture, also where a prompt may do without.
func TestChooseNeedsPictures(t *testing.T) {
	t.Parallel()
	p := OpenEmbedded(t, mini.Flamingo)
	dog := loadImage(t, "../testdata/images/dog.png")
	_, err := p.ChooseBatch(t.Context(), []Request{
		{Image: dog, Question: "what is this?"}, {Parts: []Part{{Text: "what is this?"}}},
	}, "zudo", "wemi")
	if !errors.Is(err, ErrImage) || !strings.Contains(err.Error(), "request 2") {
		t.Error(err)
	}
}

// The picture and the text of a CLIP model's request may be parts.
func TestAttendCLIPByParts(t *testing.T) {
	t.Parallel()
	p := OpenEmbedded(t, "clip-mini")
	dog := loadImage(t, "../testdata/images/dog.png")
	var maps [2]Map
	for i, r := range []Request{
		{Image: dog, Question: "a dog"},
		{Parts: []Part{{Item: media.Picture{Image: dog}}, {Text: "a "}, {Text: "dog"}}, Question: "not read"},
	} {
		a, err := p.Attend(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(a.Tokens, []string{"a dog"}) {
			t.Errorf("tokens %q", a.Tokens)
		}
		if maps[i], err = a.Map(0); err != nil {
			t.Fatal(err)
		}
	}
	if !slices.Equal(maps[0].Weights, maps[1].Weights) {
		t.Error("parts show another map than the short form")
	}
}
