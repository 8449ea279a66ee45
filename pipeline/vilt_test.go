package pipeline

import (
	"encoding/json"
	"errors"
	"image"
	"math"
	"os"
	"path/filepath"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/tensor"
)

// The pixels, logits and answers are those of transformers, of each picture alone and of three of
// different sizes in a batch.
func TestViLTEqualsTransformers(t *testing.T) {
	t.Parallel()
	g := loadGolden(t, "vilt-vqa")
	var more struct {
		Rows []struct {
			Text, Label string
		} `json:"rows"`
	}
	data, err := os.ReadFile(filepath.Join(g.dir, "golden.json"))
	if err == nil {
		err = json.Unmarshal(data, &more)
	}
	if err != nil {
		t.Fatal(err)
	}
	var requests []Request
	var items []media.Item
	var questions []string
	for i, row := range more.Rows {
		img := loadImage(t, filepath.Join(g.dir, g.Rows[i].Image))
		requests = append(requests, Request{Image: img, Question: row.Text})
		items, questions = append(items, media.Picture{Image: img}), append(questions, row.Text)
	}
	want := g.array(t, "logits")
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		p := sharedGolden(t, g, eng)
		prepared, err := p.prepare(t.Context(), items)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, "pixel_values", prepared.Tensors["pixel_values"], g.array(t, "pixel_values"), 1e-6)
		mask := tensor.Data[int64](g.array(t, "pixel_mask"))
		for i, seen := range tensor.Data[bool](prepared.Tensors["pixel_mask"]) {
			if seen != (mask[i] != 0) {
				t.Fatalf("pixel_mask differs at %d", i)
			}
		}
		got, err := p.model.(family.Picker).Pick(t.Context(), prepared, []int{0, 1, 2}, questions)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, "logits", got, want, 1e-4)
		texts, err := p.Generate(t.Context(), requests)
		if err != nil {
			t.Fatal(err)
		}
		for i, row := range more.Rows {
			logs := decode.LogSoftmax(want.Float32s()[i*want.Dim(1) : (i+1)*want.Dim(1)])
			alone, err := p.Answer(t.Context(), requests[i].Image, row.Text)
			if err != nil {
				t.Fatal(err)
			}
			for _, text := range []*Text{texts[i][0], alone} {
				best := float64(logs[decode.OrderBy(logs, func(a, b int) int { return decode.Descending(logs[a], logs[b]) })[0]])
				if text.Text != row.Label || math.Abs(text.LogProb-best) > 1e-4 {
					t.Errorf("row %d: %q %v, want %q %v", i, text.Text, text.LogProb, row.Label, best)
				}
			}
		}
	})
}

// Questions about one picture share it; what was prepared answers as its picture does; other requests
// are refused.
func TestViLTRequests(t *testing.T) {
	t.Parallel()
	g := loadGolden(t, "vilt-vqa")
	p := sharedGolden(t, g, goEngine)
	if a := p.Abilities(); !a.Pick || a.Write || a.Regions || p.Tasks()[0] != "answer" {
		t.Errorf("%+v, %v", a, p.Tasks())
	}
	var imgs []image.Image
	var requests, ready []Request
	for i := range 4 {
		img := loadImage(t, filepath.Join(g.dir, g.Rows[i%3].Image))
		if i == 3 {
			img = imgs[0]
		}
		imgs = append(imgs, img)
		item, err := p.Prepare(t.Context(), img)
		if err != nil {
			t.Fatal(err)
		}
		question := []string{"what color is it?", "is there a dog?"}[i/3]
		requests = append(requests, Request{Image: img, Question: question})
		ready = append(ready, Request{Item: item, Question: question})
	}
	want, err := p.Generate(t.Context(), requests)
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Generate(t.Context(), ready)
	if err != nil {
		t.Fatal(err)
	}
	for i := range want {
		if d := math.Abs(got[i][0].LogProb - want[i][0].LogProb); got[i][0].Text != want[i][0].Text || d > 1e-5 {
			t.Errorf("request %d: %q by %v, want %q", i, got[i][0].Text, d, want[i][0].Text)
		}
	}
	for _, r := range []Request{
		{Question: "what?"},
		{Parts: []Part{{Image: imgs[0]}, {Image: imgs[1]}, {Text: "what?"}}},
	} {
		if _, err := p.Generate(t.Context(), []Request{r}); !errors.Is(err, ErrPrompt) && !errors.Is(err, ErrUnsupported) &&
			!errors.Is(err, ErrImage) {
			t.Errorf("%v: %v", r, err)
		}
	}
}
