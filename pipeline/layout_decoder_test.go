package pipeline

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/engine"
)

// decoderGolden is what transformers writes with a folder's model, made by
// python -m xpipe_export.golden.decoders.
type decoderGolden struct {
	Rows []decoderRow `json:"rows"`
}

type decoderRow struct {
	Prompt   string `json:"prompt"`
	Messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
	Images   []string `json:"images"`
	Text     string   `json:"text"`
	InputIDs []int64  `json:"input_ids"`
	IDs      []int64  `json:"ids"`
}

// request is the row as a Request.
func (r *decoderRow) request(t *testing.T) Request {
	t.Helper()
	var parts []Part
	image := 0
	add := func(role string, p Part) {
		p.Role = role
		parts = append(parts, p)
	}
	next := func() Part {
		image++
		return Part{Image: loadImage(t, filepath.Join(familiesDir, "images", r.Images[image-1]))}
	}
	for _, m := range r.Messages {
		var text string
		if json.Unmarshal(m.Content, &text) == nil {
			add(m.Role, Part{Text: text})
			continue
		}
		var list []struct{ Type, Text string }
		if err := json.Unmarshal(m.Content, &list); err != nil {
			t.Fatal(err)
		}
		for _, c := range list {
			if c.Type == "image" {
				add(m.Role, next())
			} else {
				add(m.Role, Part{Text: c.Text})
			}
		}
	}
	if r.Messages == nil {
		for range r.Images {
			add("", next())
		}
		add("", Part{Text: r.Prompt})
	}
	return Request{Parts: parts}
}

// Decoder-only models in other tools' layouts write PyTorch's ids, one at a time and in a batch of
// unequal lengths.
func TestDecodersEqualTransformers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ model, variant string }{
		{model: "llama-optimum"}, {model: "llama-genai"}, {model: "llava-transformersjs"},
		{model: "idefics3-transformersjs"}, {model: "qwen2vl-transformersjs"},
	} {
		t.Run(fmt.Sprint(c.model, " ", c.variant), func(t *testing.T) {
			dir := filepath.Join(layoutsDir, c.model)
			data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
			if err != nil {
				t.Fatal(err)
			}
			var g decoderGolden
			if err := json.Unmarshal(data, &g); err != nil {
				t.Fatal(err)
			}
			eachEngine(t, func(t *testing.T, eng engine.Engine) {
				ctx := context.Background()
				p, err := Open(ctx, dir, WithEngine(eng), WithVariant(c.variant))
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				twelve := func(g *Generation) { g.MaxNewTokens = 12 }
				var requests []Request
				for i, row := range g.Rows {
					requests = append(requests, row.request(t))
					got, err := p.Generate(ctx, requests[i:i+1], twelve)
					if err != nil {
						t.Fatalf("row %d: %v", i, err)
					}
					sameIDs(t, fmt.Sprint("row ", i), got[0][0], row.IDs)
				}
				got, err := p.Generate(ctx, requests, twelve)
				if err != nil {
					t.Fatal(err)
				}
				for i, row := range g.Rows {
					sameIDs(t, fmt.Sprint("row of a batch ", i), got[i][0], row.IDs)
				}
				beams := func(g *Generation) { g.MaxNewTokens, g.NumBeams = 4, 2 }
				if _, err := p.Generate(ctx, requests, beams); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

func sameIDs(t *testing.T, name string, got *Text, want []int64) {
	t.Helper()
	var ids []int64
	for _, token := range got.Tokens {
		ids = append(ids, token.ID)
	}
	if !slices.Equal(ids, want) {
		t.Errorf("%s: ids %v, want %v", name, ids, want)
	}
}
