package pipeline

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/pipeline/decode"
)

// Encoder-decoder models as transformers.js and optimum lay them out, made by
// python -m xpipe_export.golden.encdec_layouts.
type layoutTexts struct {
	golden
	Unprompted []int64              `json:"unprompted"`
	Variants   map[string][][]int64 `json:"variants"`
}

func loadLayoutTexts(t *testing.T, name string) *layoutTexts {
	t.Helper()
	g := &layoutTexts{}
	g.dir = filepath.Join(layoutsDir, name)
	data, err := os.ReadFile(filepath.Join(g.dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, g); err != nil {
		t.Fatal(err)
	}
	for i := range g.Rows {
		g.Rows[i].Image = filepath.Join("../../families/images", g.Rows[i].Image)
	}
	return g
}

// layoutDir is a layout's directory, copied without some of its files where any are named.
func layoutDir(t *testing.T, name string, without ...string) string {
	t.Helper()
	dir := filepath.Join(layoutsDir, name)
	if len(without) == 0 {
		return dir
	}
	less := t.TempDir()
	if err := os.CopyFS(less, only(t, dir, without...)); err != nil {
		t.Fatal(err)
	}
	return less
}

// The ids that PyTorch's generate gives, whatever files hold the decoder, in a batch and alone;
// for variants, those of ONNX Runtime on the same files.
func TestEncoderDecoderLayouts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		model, variant string
		without        []string
		rename         [2]string
	}{
		{model: "vit-gpt2-transformersjs"}, // one graph with a branch, no cache of the encoder's
		{model: "vit-gpt2-transformersjs", variant: "fp16"},
		{model: "vit-gpt2-transformersjs", variant: "quantized"},
		{model: "vit-gpt2-transformersjs", variant: "q4"},
		{model: "vit-gpt2-transformersjs", without: []string{"generation_config.json", "special_tokens_map.json", "tokenizer_config.json"}},
		{model: "vit-gpt2-transformersjs", rename: [2]string{"onnx/decoder_model_merged.onnx", "decoder_model.onnx"},
			without: []string{"onnx/decoder_model_merged_q4.onnx", "onnx/decoder_model_merged_fp16.onnx", "onnx/decoder_model_merged_quantized.onnx"}},
		{model: "trocr-optimum"}, // two graphs
		{model: "trocr-optimum", without: []string{"generation_config.json"}},
		{model: "trocr-optimum", without: []string{"decoder_with_past_model.onnx"}}, // no cache
		{model: "donut-transformersjs"},                                             // external data; prompts of several lengths
		{model: "donut-transformersjs", variant: "fp16"},
		{model: "donut-transformersjs", without: []string{"generation_config.json"}},
		{model: "florence2-transformersjs"}, // embeddings, an encoder between, forced first ids
	} {
		name := strings.Join(append([]string{c.model, c.variant}, c.without...), " ")
		if c.variant != "" && !sweep.KeepsName(name, 3) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := loadLayoutTexts(t, c.model)
			want := g.Greedy.IDs
			if c.variant != "" {
				want = g.Variants[c.variant]
			}
			dir := layoutDir(t, c.model, c.without...)
			if c.rename[0] != "" {
				if err := os.Rename(filepath.Join(dir, c.rename[0]), filepath.Join(dir, c.rename[1])); err != nil {
					t.Fatal(err)
				}
			}
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				p, err := Open(t.Context(), dir, WithEngine(sharing(t, eng)), WithVariant(c.variant))
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				requests := g.requests(t, p)
				together, err := p.Generate(t.Context(), requests, unbounded(g.Greedy.MaxNewTokens))
				if err != nil {
					t.Fatal(err)
				}
				for i, row := range want {
					got := ids(together[i][0])
					if c.variant == "quantized" {
						// One scale for the whole batch: rows depend on their neighbours.
						alone, err := p.Generate(t.Context(), requests[i:i+1], unbounded(g.Greedy.MaxNewTokens))
						if err != nil {
							t.Fatal(err)
						}
						got = ids(alone[0][0])
					}
					if !slices.Equal(got, row) {
						t.Errorf("row %d: %v, want %v", i, got, row)
					}
				}
				// Files that are missing change what is read, not how it runs: a sample of those.
				if c.variant == "" && (c.without == nil || sweep.KeepsName(name, 4)) {
					alone, err := p.Generate(t.Context(), requests[1:2], unbounded(g.Greedy.MaxNewTokens))
					if err != nil {
						t.Fatal(err)
					}
					if got := ids(alone[0][0]); !slices.Equal(got, want[1]) {
						t.Errorf("alone: %v, want %v", got, want[1])
					}
					checkBeams(t, p, &g.golden)
					checkUnprompted(t, p, g)
					checkTogether(t, p, &g.golden)
				}
			})
		})
	}
}

// checkUnprompted compares a text without a prompt, under the model's own parameters: its start,
// its end, and the end that is forced where the length is reached.
func checkUnprompted(t *testing.T, p *Pipeline, g *layoutTexts) {
	t.Helper()
	request := g.requests(t, p)[0]
	request.Prompt = ""
	texts, err := p.Generate(context.Background(), []Request{request}, func(o *Generation) {
		o.MaxNewTokens = g.Greedy.MaxNewTokens
	})
	if err != nil {
		t.Fatal(err)
	}
	want := g.Unprompted
	for _, end := range p.defaults.EOS {
		if at := slices.Index(want, end); at >= 0 {
			want = want[:at]
		}
	}
	if got := ids(texts[0][0]); !slices.Equal(got, want) {
		t.Errorf("unprompted: %v, want %v", got, want)
	}
	if got := texts[0][0].IDs; !slices.Equal(got, g.Unprompted) {
		t.Errorf("unprompted ids: %v, want %v", got, g.Unprompted)
	}
	// A max_length counts the start token, too.
	texts, err = p.Generate(context.Background(), []Request{request}, func(o *Generation) {
		o.MaxNewTokens, o.MaxLength = 0, g.Greedy.MaxNewTokens+1
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := texts[0][0].IDs; !slices.Equal(got, g.Unprompted) {
		t.Errorf("with max_length: %v, want %v", got, g.Unprompted)
	}
}

// checkTogether compares beams of prompts of several lengths, some of which end early, in one batch
// with those of each alone.
func checkTogether(t *testing.T, p *Pipeline, g *golden) {
	t.Helper()
	opts := func(o *Generation) {
		o.NumBeams, o.NumReturnSequences, o.MaxNewTokens = 3, 2, 9
		o.EOS = []int64{g.Stop.EOS, g.Greedy.IDs[1][1]}
	}
	requests := g.requests(t, p)
	together, err := p.Generate(context.Background(), requests, opts)
	if err != nil {
		t.Fatal(err)
	}
	for i := range requests {
		alone, err := p.Generate(context.Background(), requests[i:i+1], opts)
		if err != nil {
			t.Fatal(err)
		}
		for j, want := range alone[0] {
			if got := together[i][j]; !slices.Equal(ids(got), ids(want)) || math.Abs(got.Score-want.Score) > 1e-4 {
				t.Errorf("row %d, sequence %d in a batch: %v score %v, alone %v score %v",
					i, j, ids(got), got.Score, ids(want), want.Score)
			}
		}
	}
}

func checkBeams(t *testing.T, p *Pipeline, g *golden) {
	t.Helper()
	all := g.requests(t, p)
	for n, c := range g.Beams {
		var requests []Request
		for _, r := range c.Rows {
			requests = append(requests, all[r])
		}
		q := c.Parameters
		early, err := decode.ParseEarlyStopping(strings.Trim(string(q.EarlyStopping), `"`))
		if err != nil {
			t.Fatal(err)
		}
		texts, err := p.Generate(context.Background(), requests, func(o *Generation) {
			o.NumBeams, o.MaxNewTokens, o.MinNewTokens, o.LengthPenalty = q.NumBeams, q.MaxNewTokens, q.MinNewTokens, q.LengthPenalty
			o.EOS, o.NumReturnSequences, o.EarlyStopping = []int64{q.EOS}, max(1, q.NumReturnSequences), early
			o.ForcedEOS = nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, got := range slices.Concat(texts...) {
			want, whole := c.IDs[i], c.IDs[i]
			if end := slices.Index(want, q.EOS); end >= 0 {
				want, whole = want[:end], want[:end+1] // padding follows
			}
			if !slices.Equal(got.IDs, whole) {
				t.Errorf("beams %d, sequence %d: new ids %v, want %v", n, i, got.IDs, whole)
			}
			if !slices.Equal(ids(got), want) || math.Abs(got.Score-c.Scores[i]) > 1e-4*max(1, math.Abs(c.Scores[i])) {
				t.Errorf("beams %d %+v, sequence %d: %v score %v, want %v score %v", n, q, i, ids(got), got.Score, want, c.Scores[i])
			}
		}
	}
}

// Answers of Florence-2 name places in pixels of the picture, and texts lack <s>.
func TestFlorencePlaces(t *testing.T) {
	t.Parallel()
	g := loadLayoutTexts(t, "florence2-transformersjs")
	p, err := Open(t.Context(), g.dir, WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	request := g.requests(t, p)[0]
	text, err := p.Caption(t.Context(), request.Image)
	if err != nil {
		t.Fatal(err)
	}
	if text.Tokens[0].ID != 0 || strings.Contains(text.Text, "<s>") || !strings.Contains(text.Text, "<loc_") {
		t.Errorf("%q, first id %d", text.Text, text.Tokens[0].ID)
	}
	size := request.Image.Bounds()
	found, err := p.Find(Request{Image: request.Image, Prompt: "<OD>"}, "cat<loc_0><loc_499><loc_999><loc_999>")
	if err != nil || len(found.Places) != 1 || found.Text != "cat" || !p.Abilities().Find {
		t.Fatal(found, err)
	}
	w, h := float64(size.Dx()), float64(size.Dy())
	for i, want := range []float64{0.0005 * w, 0.4995 * h, 0.9995 * w, 0.9995 * h} {
		near(t, "corner", found.Places[0].Box[i], want, 1e-9)
	}
	if _, err := p.Find(Request{Prompt: "<OD>"}, ""); !errors.Is(err, ErrImage) {
		t.Errorf("without a picture: %v", err)
	}
	_, err = p.Generate(t.Context(), []Request{{Image: request.Image, Prompt: "<OD> of cats"}})
	if !errors.Is(err, ErrPrompt) {
		t.Errorf("a task with text: %v", err)
	}
}

// A Donut without questions' token says what its prompts are.
func TestDonutWithoutQuestions(t *testing.T) {
	t.Parallel()
	g := loadLayoutTexts(t, "donut-transformersjs")
	fsys := only(t, g.dir)
	tokenizer := bytes.ReplaceAll(fsys["tokenizer.json"].Data, []byte("<s_docvqa>"), []byte("<s_other>"))
	fsys["tokenizer.json"] = &fstest.MapFile{Data: tokenizer}
	p, err := OpenFS(t.Context(), fsys, WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	_, err = p.Answer(t.Context(), g.requests(t, p)[0].Image, "what?")
	if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "<s_docvqa>") {
		t.Error(err)
	}
}
