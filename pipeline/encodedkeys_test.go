package pipeline

import (
	"slices"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/media"
)

// encoded returns a request with handles in the place of its pictures.
func encoded(t *testing.T, p *Pipeline, r Request) Request {
	t.Helper()
	handle := func(item media.Item) media.Item {
		t.Helper()
		handles, err := p.Encode(t.Context(), item)
		if err != nil {
			t.Fatal(err)
		}
		return handles[0]
	}
	if r.Image != nil {
		r.Item, r.Image = handle(media.Picture{Image: r.Image}), nil
	}
	r.Parts = slices.Clone(r.Parts)
	for i, part := range r.Parts {
		if part.Image != nil {
			r.Parts[i].Item, r.Parts[i].Image = handle(media.Picture{Image: part.Image}), nil
		}
	}
	return r
}

// A handle holds the keys and values of its picture, which no question about it computes again: texts are
// those about the picture itself, one question at a time and several, with others that were not encoded.
func TestEncodedHoldsKeys(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"blip-caption", "vit-gpt2", "trocr", "donut", "pix2struct", "openflamingo-opt",
		"idefics", "idefics-plain", "mllama"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				g := loadGolden(t, name)
				c := newCounter()
				c.Engine = sharing(t, eng)
				p := openGolden(t, g, c)
				requests := g.requests(t, p)
				handles := make([]Request, len(requests))
				for i, r := range requests {
					handles[i] = encoded(t, p, r)
				}
				want, err := p.Generate(t.Context(), requests, unbounded(6))
				if err != nil {
					t.Fatal(err)
				}
				check := func(what string, from int, requests ...Request) {
					t.Helper()
					got, err := p.Generate(t.Context(), requests, unbounded(6))
					for i := range got {
						if !slices.Equal(ids(got[i][0]), ids(want[from+i][0])) {
							t.Errorf("%s, request %d: %v, of the picture itself %v", what, from+i, ids(got[i][0]), ids(want[from+i][0]))
						}
					}
					if err != nil {
						t.Error(what, err)
					}
				}
				c.take()
				for i := range handles {
					check("alone", i, handles[i])
				}
				if runs := c.take(); runs["cross_kv.onnx"]+runs["vision_encoder.onnx"] > 0 {
					t.Errorf("keys and values were made again: %v", runs)
				}
				check("together", 0, handles...)
				handles[0] = requests[0]
				check("beside a picture", 0, handles...)
			})
		})
	}
	p := sharedGolden(t, loadGolden(t, "blip-caption"), goEngine)
	handles, err := p.Encode(t.Context(), media.Picture{Image: blankImage})
	if err != nil {
		t.Fatal(err)
	}
	whole, alone := handles[0], handles[0].WithoutKeys()
	if states := alone.states.States; whole.Bytes() <= alone.Bytes() || alone.Bytes() != int64(4*states.Len()) {
		t.Errorf("%d bytes, %d without keys and values", whole.Bytes(), alone.Bytes())
	}
}
