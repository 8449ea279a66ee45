package pipeline

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
)

// Golden files are made by `make golden` from tiny seeded models of the real
// transformers classes; see tools/export/README.md.
const familiesDir = "../testdata/families"

// golden is a golden.json.
type golden struct {
	dir    string
	Arrays map[string]struct {
		File string `json:"file"`
	} `json:"arrays"`
	Rows []struct {
		Image    string   `json:"image"`
		Audio    string   `json:"audio"`
		IsLonger bool     `json:"is_longer"`
		Text     string   `json:"text"`
		Prompt   []string `json:"prompt"` // pictures and text in between
		InputIDs []int64  `json:"input_ids"`
		Start    []int64  `json:"start"` // of a sound's text
	} `json:"rows"`
	Greedy struct {
		MaxNewTokens int       `json:"max_new_tokens"`
		IDs          [][]int64 `json:"ids"`
		Text         []string  `json:"text"`
	} `json:"greedy"`
	Stop struct {
		EOS          int64   `json:"eos_token_id"`
		MaxNewTokens int     `json:"max_new_tokens"`
		IDs          []int64 `json:"ids"`
	} `json:"stop"`
	Beams []goldenBeams `json:"beams"`
	// Chat is what models write that converse: captions, answers and whole conversations.
	Chat decoderGolden `json:"chat"`
}

type goldenBeams struct {
	Rows       []int `json:"rows"`
	Parameters struct {
		NumBeams           int             `json:"num_beams"`
		MaxNewTokens       int             `json:"max_new_tokens"`
		MinNewTokens       int             `json:"min_new_tokens"`
		EOS                int64           `json:"eos_token_id"`
		LengthPenalty      float64         `json:"length_penalty"`
		EarlyStopping      json.RawMessage `json:"early_stopping"`
		NumReturnSequences int             `json:"num_return_sequences"`
	} `json:"parameters"`
	IDs    [][]int64 `json:"ids"`
	Scores []float64 `json:"scores"`
}

func loadGolden(t *testing.T, name string) *golden {
	t.Helper()
	g := &golden{dir: filepath.Join(familiesDir, name)}
	data, err := os.ReadFile(filepath.Join(g.dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, g); err != nil {
		t.Fatal(err)
	}
	return g
}

func (g *golden) array(t *testing.T, name string) *tensor.Tensor {
	t.Helper()
	a, err := tensor.LoadNpy(filepath.Join(g.dir, g.Arrays[name].File))
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// requests are the rows as requests with their whole prompts. Only a model that hears, which has no
// front end, needs p.
func (g *golden) requests(t *testing.T, p *Pipeline) []Request {
	t.Helper()
	if _, hears := g.Arrays[inputFeatures]; hears {
		return hear(t, p, inputFeatures, g.array(t, inputFeatures))
	}
	var requests []Request
	for _, row := range g.Rows {
		if len(row.Prompt) > 0 {
			requests = append(requests, Request{Parts: goldenParts(t, g, row.Prompt, row.Text)})
			continue
		}
		requests = append(requests, Request{Image: loadImage(t, filepath.Join(g.dir, row.Image)), Prompt: row.Text})
	}
	return requests
}

// goldenParts turns a prompt of pictures and text into parts. Where the whole
// text closes a piece with the end of a chunk, so does the part.
func goldenParts(t *testing.T, g *golden, pieces []string, whole string) []Part {
	var parts []Part
	for _, piece := range pieces {
		if strings.HasSuffix(piece, ".png") {
			parts = append(parts, Part{Image: loadImage(t, filepath.Join(g.dir, piece))})
			continue
		}
		if end := piece + "<|endofchunk|>"; strings.Contains(whole, end) {
			piece = end
		}
		parts = append(parts, Part{Text: piece})
	}
	return parts
}

func loadImage(t testing.TB, path string) image.Image {
	t.Helper()
	img, err := vision.DecodeFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// generative lists the golden models that write text.
func generative(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(familiesDir, "*", "golden.json"))
	if err != nil || len(files) == 0 {
		t.Fatal("no golden files", err)
	}
	var names []string
	for _, f := range files {
		name := filepath.Base(filepath.Dir(f))
		if g := loadGolden(t, name); len(g.Greedy.IDs) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// unbounded lets g run for exactly n tokens.
func unbounded(n int) GenerateOption {
	return func(g *Generation) { g.MaxNewTokens, g.EOS, g.ForcedEOS = n, nil, nil }
}

func ids(t *Text) []int64 {
	list := []int64{}
	for _, token := range t.Tokens {
		list = append(list, token.ID)
	}
	return list
}

// The ids that transformers generates, in a batch with padding and row by row.
func TestGreedyEqualsTransformers(t *testing.T) {
	t.Parallel()
	for _, name := range generative(t) {
		g := loadGolden(t, name)
		t.Run(name, func(t *testing.T) {
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				p := sharedGolden(t, g, eng)
				requests := g.requests(t, p)
				texts, err := p.Generate(context.Background(), requests, unbounded(g.Greedy.MaxNewTokens))
				if err != nil {
					t.Fatal(err)
				}
				for i, want := range g.Greedy.IDs {
					if got := ids(texts[i][0]); !slices.Equal(got, want) {
						t.Errorf("row %d in a batch: %v, want %v", i, got, want)
					}
					if i > 0 && !sweep.Keeps(i, 4) {
						continue
					}
					alone, err := p.Generate(context.Background(), requests[i:i+1], unbounded(g.Greedy.MaxNewTokens))
					if err != nil {
						t.Fatal(err)
					}
					if got := ids(alone[0][0]); !slices.Equal(got, want) {
						t.Errorf("row %d alone: %v, want %v", i, got, want)
					}
				}
			})
		})
	}
}

// recorder keeps the logits a language model gives.
type recorder struct {
	decode.Sequences
	logits [][]float32 // of each step, [B,V]
}

func (r *recorder) Prefill(ctx context.Context) (*tensor.Tensor, error) {
	return r.keep(r.Sequences.Prefill(ctx))
}

func (r *recorder) Step(ctx context.Context, ids []int64) (*tensor.Tensor, error) {
	return r.keep(r.Sequences.Step(ctx, ids))
}

func (r *recorder) keep(logits *tensor.Tensor, err error) (*tensor.Tensor, error) {
	if err == nil {
		r.logits = append(r.logits, tensor.Data[float32](logits))
	}
	return logits, err
}

// The pixels, token ids and logits of every step, within 1e-4 of transformers.
func TestStagesEqualTransformers(t *testing.T) {
	t.Parallel()
	for _, name := range generative(t) {
		g := loadGolden(t, name)
		t.Run(name, func(t *testing.T) {
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				ctx := context.Background()
				p := sharedGolden(t, g, eng)
				requests := g.requests(t, p)
				prompts, err := p.prompts(requests)
				if err != nil {
					t.Fatal(err)
				}
				if g.Rows[0].Image != "" { // the rows of the others are in another order, or sounds
					var items []media.Item
					for _, q := range prompts {
						items = append(items, q.items...)
					}
					prepared, err := p.prepare(ctx, items)
					if err != nil {
						t.Fatal(err)
					}
					pixels := graph.PixelValues
					if _, flat := g.Arrays["flattened_patches"]; flat {
						pixels = "flattened_patches"
					}
					compare(t, pixels, prepared.Tensors[pixels], g.array(t, pixels), 1e-6)
				}
				model := p.model.(family.Writer)
				segments, err := p.compose(ctx, model, prompts, new(Stats))
				if err != nil {
					t.Fatal(err)
				}
				batch, err := model.Begin(ctx, segments)
				if err != nil {
					t.Fatal(err)
				}
				r := &recorder{Sequences: batch}
				s := decode.Search{Options: p.defaults}
				s.EOS, s.ForcedEOS, s.MaxNewTokens = nil, nil, g.Greedy.MaxNewTokens
				if _, err := s.Run(ctx, r); err != nil {
					t.Fatal(err)
				}
				want := g.array(t, "logits") // [B,steps,V]
				rows, steps, vocabulary := want.Dim(0), want.Dim(1), want.Dim(2)
				if len(r.logits) != steps {
					t.Fatalf("%d steps, want %d", len(r.logits), steps)
				}
				got := make([]float32, 0, want.Len())
				for b := range rows {
					for _, step := range r.logits {
						got = append(got, step[b*vocabulary:(b+1)*vocabulary]...)
					}
				}
				compare(t, "logits", tensor.Must(tensor.New(want.Shape(), got)), want, 1e-4)
			})
		})
	}
}

// compare fails where a shape differs, or a value by more than tolerance, which
// is relative to the largest value where that is above 1.
func compare(t *testing.T, what string, got, want *tensor.Tensor, tolerance float64) {
	t.Helper()
	if !slices.Equal(got.Shape(), want.Shape()) {
		t.Errorf("%s: shape %v, want %v", what, got.Shape(), want.Shape())
		return
	}
	worst, at, largest := 0.0, 0, 1.0
	w := want.Float32s()
	for _, v := range w {
		largest = max(largest, math.Abs(float64(v)))
	}
	for i, v := range got.Float32s() {
		d := math.Abs(float64(v) - float64(w[i]))
		if d > worst || math.IsNaN(d) {
			worst, at = d, i
		}
	}
	if !(worst <= tolerance*largest) {
		t.Errorf("%s: differs by %v at %d, more than %v of %v", what, worst, at, tolerance, largest)
	}
}

func TestStopsAtEOS(t *testing.T) {
	t.Parallel()
	for _, name := range generative(t) {
		g := loadGolden(t, name)
		if len(g.Stop.IDs) == 0 {
			continue
		}
		t.Run(name, func(t *testing.T) {
			p := sharedGolden(t, g, goEngine)
			texts, err := p.Generate(context.Background(), g.requests(t, p)[:1], func(o *Generation) {
				o.EOS, o.MaxNewTokens = []int64{g.Stop.EOS}, g.Stop.MaxNewTokens
			})
			if err != nil {
				t.Fatal(err)
			}
			want := g.Stop.IDs[:len(g.Stop.IDs)-1] // the end itself is not part of the text
			if got := ids(texts[0][0]); !slices.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
			if got := texts[0][0].IDs; !slices.Equal(got, g.Stop.IDs) { // but of the new ids
				t.Errorf("ids %v, want %v", got, g.Stop.IDs)
			}
		})
	}
}

// Beam search gives transformers' ids and scores.
// TestMinLengthCountsPlaceholders has min_length count the ids that stand for the picture, as
// transformers' generate does: six of them and the text's twelve come before the answer.
func TestMinLengthCountsPlaceholders(t *testing.T) {
	t.Parallel()
	g := loadGolden(t, "blip2-opt")
	p := sharedGolden(t, g, goEngine)
	const before, stop = 6 + 12, 6
	for length, early := range map[int]bool{before + stop: true, before + stop + 1: false} {
		texts, err := p.Generate(t.Context(), g.requests(t, p)[:1], func(o *Generation) {
			o.MaxNewTokens, o.EOS, o.MinLength = g.Stop.MaxNewTokens, []int64{g.Stop.EOS}, length
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := len(ids(texts[0][0])); (got == stop) != early {
			t.Errorf("min_length %d: %d ids", length, got)
		}
	}
}

func TestBeamsEqualTransformers(t *testing.T) {
	t.Parallel()
	for _, name := range generative(t) {
		g := loadGolden(t, name)
		t.Run(name, func(t *testing.T) {
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				p := sharedGolden(t, g, eng)
				all := g.requests(t, p)
				for n, c := range g.Beams {
					if n > 0 && !sweep.KeepsName(fmt.Sprint(name, n), 4) {
						continue
					}
					var requests []Request
					for _, r := range c.Rows {
						requests = append(requests, all[r])
					}
					var err error
					texts, err := p.Generate(context.Background(), requests, func(o *Generation) {
						q := c.Parameters
						o.NumBeams, o.MaxNewTokens, o.MinNewTokens, o.LengthPenalty = q.NumBeams, q.MaxNewTokens, q.MinNewTokens, q.LengthPenalty
						o.EOS, o.ForcedEOS, o.NumReturnSequences = []int64{q.EOS}, nil, max(1, q.NumReturnSequences)
						if o.EarlyStopping, err = decode.ParseEarlyStopping(strings.Trim(string(q.EarlyStopping), `"`)); err != nil {
							t.Fatal(err)
						}
					})
					if err != nil {
						t.Fatal(err)
					}
					for i, got := range slices.Concat(texts...) {
						want := c.IDs[i]
						if end := slices.Index(want, c.Parameters.EOS); end >= 0 {
							want = want[:end]
						}
						if !slices.Equal(ids(got), want) || math.Abs(got.Score-c.Scores[i]) > 1e-4*max(1, math.Abs(c.Scores[i])) {
							t.Errorf("case %d %+v, sequence %d: %v score %v, want %v score %v", n, c.Parameters, i, ids(got), got.Score, want, c.Scores[i])
						}
					}
				}
			})
		})
	}
}

// Streamed tokens are those of Generate, and their text joins to its text.
func TestStream(t *testing.T) {
	t.Parallel()
	g := loadGolden(t, "blip2-opt")
	p := sharedGolden(t, g, goEngine)
	request := g.requests(t, p)[0]
	want, err := p.Generate(context.Background(), []Request{request}, unbounded(20))
	if err != nil {
		t.Fatal(err)
	}
	var got []Token
	for token, err := range p.Stream(context.Background(), request, unbounded(20)) {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, token)
	}
	if !reflect.DeepEqual(got, want[0][0].Tokens) {
		t.Errorf("streamed %v, want %v", got, want[0][0].Tokens)
	}
	n := 0
	for range p.Stream(context.Background(), request, unbounded(20)) {
		if n++; n == 3 {
			break
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var last error
	n = 0
	for _, err := range p.Stream(ctx, request, unbounded(20)) {
		if n++; n == 3 {
			cancel()
		}
		last = err
	}
	if !errors.Is(last, context.Canceled) || n != 4 {
		t.Errorf("cancelled at token 3: %d pairs, the last with %v", n, last)
	}
}
