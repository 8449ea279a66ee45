package pipeline

import (
	"errors"
	"image"
	"reflect"
	"testing"

	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/vision"
)

// What was prepared gives the results that its picture gives, alone, in batches and amid pictures.
func TestPrepared(t *testing.T) {
	t.Parallel()
	const families = "../testdata/families/"
	var pictures []image.Image
	for _, name := range []string{"figure0.png", "figure1.png"} {
		img, err := vision.DecodeFile(families + "images/" + name)
		if err != nil {
			t.Fatal(err)
		}
		pictures = append(pictures, img)
	}
	openTiny := func(bundle string) (*Pipeline, []media.Item) {
		p, err := Open(t.Context(), families+bundle+"/bundle", WithEngine(fallback.New()))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		items := make([]media.Item, len(pictures))
		for i, img := range pictures {
			if items[i], err = p.Prepare(t.Context(), img); err != nil {
				t.Fatal(err)
			}
		}
		return p, items
	}
	same := func(what string, want, got any, errs ...error) {
		t.Helper()
		if err := errors.Join(errs...); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, want %v: %v", what, got, want, err)
		}
	}
	p, items := openTiny("blip2-opt")
	ids := func(texts [][]*Text) (ids []int64) {
		for _, list := range texts {
			for _, token := range list[0].Tokens {
				ids = append(ids, token.ID)
			}
		}
		return ids
	}
	want, err := p.Generate(t.Context(), []Request{{Image: pictures[0]}, {Image: pictures[1], Question: "what?"}})
	for _, first := range []Request{{Item: items[0]}, {Image: pictures[0]}} {
		got, err2 := p.Generate(t.Context(), []Request{first, {Item: items[1], Question: "what?"}})
		same("text", ids(want), ids(got), err, err2)
	}
	wantChoice, err := p.Choose(t.Context(), Request{Image: pictures[0], Question: "what?"}, "a", "b")
	gotChoice, err2 := p.Choose(t.Context(), Request{Item: items[0], Question: "what?"}, "a", "b")
	same("choice", wantChoice, gotChoice, err, err2)
	wantRows, err := p.Encode(t.Context(), media.Picture{Image: pictures[0]})
	gotRows, err2 := p.Encode(t.Context(), items[0])
	same("encoded", wantRows[0].bounds, gotRows[0].bounds, err, err2)

	for _, bundle := range []string{"clip", "siglip", "blip2-itm"} {
		p, items := openTiny(bundle)
		texts := []string{"a cat", "a dog"}
		first, err := p.Match(t.Context(), pictures[0], texts...)
		second, err2 := p.Match(t.Context(), pictures[1], texts...)
		for range 2 { // the second time the texts are known
			got, err3 := p.MatchItems(t.Context(), items[:1], texts...)
			same(bundle, [][]Match{first}, got, err, err2, err3)
		}
		both, err := p.MatchItems(t.Context(), items, texts...)
		if err != nil || len(both) != 2 {
			t.Fatalf("%s: %v, %v", bundle, both, err)
		}
		for i, want := range [][]Match{first, second} {
			for j, m := range want {
				if d := both[i][j].Similarity - m.Similarity; both[i][j].Text != m.Text || d > 1e-5 || d < -1e-5 {
					t.Errorf("%s: %v, alone %v", bundle, both[i][j], m)
				}
			}
		}
		labels, err := p.Classify(t.Context(), pictures[0], "cat", "dog")
		items1, err2 := p.ClassifyItems(t.Context(), items[:1], "cat", "dog")
		same(bundle+" labels", [][]Label{labels}, items1, err, err2)
		if !p.Abilities().Embed {
			continue
		}
		vectors, err := p.EmbedImages(t.Context(), pictures[0])
		embedded, err2 := p.EmbedItems(t.Context(), items[0])
		same(bundle+" vectors", vectors, embedded, err, err2)
		other, _ := openTiny("blip2-opt")
		if _, err := other.Generate(t.Context(), []Request{{Item: items[0]}}); !errors.Is(err, ErrPrompt) {
			t.Errorf("another model's: %v", err)
		}
		if _, err := p.EmbedItems(t.Context(), (*Prepared)(nil)); !errors.Is(err, ErrPrompt) {
			t.Errorf("nil: %v", err)
		}
	}
}

// Pictures in tiles or patches have several rows and tensors of several types; they are joined too.
func TestPreparedInTiles(t *testing.T) {
	t.Parallel()
	var pictures []image.Image
	for _, name := range []string{"apple.png", "cat.jpg", "scene.png"} {
		img, err := vision.DecodeFile("../testdata/images/" + name)
		if err != nil {
			t.Fatal(err)
		}
		pictures = append(pictures, img)
	}
	for _, model := range []string{
		"layouts/idefics3-transformersjs", "layouts/qwen2vl-transformersjs", "families/idefics2/bundle",
		"families/llava-onevision/bundle",
	} {
		p, err := Open(t.Context(), "../testdata/"+model, WithEngine(fallback.New()))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		few := WithMaxNewTokens(3)
		var requests []Request
		var want []string
		for _, img := range pictures {
			text, err := p.Caption(t.Context(), img, few)
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, text.Text)
			item, err := p.Prepare(t.Context(), img)
			if err != nil {
				t.Fatal(err)
			}
			requests = append(requests, Request{Item: item})
		}
		texts, err := p.Generate(t.Context(), requests, few)
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range texts {
			if text[0].Text != want[i] {
				t.Errorf("%s: picture %d: %q, want %q", model, i+1, text[0].Text, want[i])
			}
		}
	}
}
