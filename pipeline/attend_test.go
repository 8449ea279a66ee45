package pipeline

import (
	"context"
	"errors"
	"image"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline/attend"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
)

// attendRequest is the first golden row as a request.
func attendRequest(t *testing.T, g *golden, name string) Request {
	t.Helper()
	switch name {
	case "lxmert-vqa", "lxmert-gqa":
		regions, err := LoadRegions(filepath.Join(g.dir, "regions.npz"))
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range regions {
			return Request{Regions: r, Question: g.Rows[0].Text}
		}
	case "clip", "clip-legacy", "siglip":
		return Request{Image: loadImage(t, filepath.Join(g.dir, g.Rows[0].Image))}
	}
	return g.requests(t, nil)[0]
}

func eightTokens(g *Generation) { g.MaxNewTokens, g.EOS, g.ForcedEOS = 8, nil, nil }

// Every family says where it looked, whatever its graphs were exported with: the
// Go engine taps them.
func TestAttend(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]struct{ tokens, stages, cells int }{
		"blip2-opt": {8, 2, 16}, "blip2-t5": {8, 2, 16}, "instructblip": {8, 2, 16},
		"blip-caption": {8, 1, 16}, "blip-vqa": {8, 2, 16},
		"idefics": {8, 2, 16}, "idefics-plain": {8, 1, 16}, "openflamingo-opt": {8, 2, 16},
		"clip": {1, 1, 16}, "siglip": {1, 1, 16}, "lxmert-vqa": {8, 1, 36}, "lxmert-gqa": {8, 1, 36},
	} {
		t.Run(name, func(t *testing.T) {
			g := loadGolden(t, name)
			p := sharedGolden(t, g, goEngine)
			request := attendRequest(t, g, name)
			a, err := p.Attend(t.Context(), request, eightTokens)
			if err != nil {
				t.Fatal(err)
			}
			if len(a.Tokens) != want.tokens || len(a.Stages) != want.stages {
				t.Fatalf("%d tokens %q in %d stages", len(a.Tokens), a.Tokens, len(a.Stages))
			}
			checkMaps(t, a, want.cells)
			if last := a.Stages[len(a.Stages)-1].Name; strings.Contains(last, "probe") != (name == "siglip") {
				t.Errorf("the last stage is %s", last)
			}
			if a.Text != nil && len(a.Text.Tokens) > 0 {
				texts, err := p.Generate(t.Context(), []Request{request}, eightTokens)
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(ids(texts[0][0]), ids(a.Text)) {
					t.Errorf("watched, the model writes %v; else %v", ids(a.Text), ids(texts[0][0]))
				}
			}
		})
	}
}

// checkMaps looks at every map of every layer and head.
func checkMaps(t *testing.T, a *Attention, cells int) {
	t.Helper()
	picks := [][]Pick{nil}
	for s, stage := range a.Stages {
		for l := range stage.Layers + 1 {
			for h := range stage.Heads + 1 {
				pick := make([]Pick, len(a.Stages))
				pick[s] = Pick{Layer: l, Head: h}
				picks = append(picks, pick)
			}
		}
		if stage.Rollout != nil {
			pick := make([]Pick, len(a.Stages))
			pick[s].Rollout = true
			picks = append(picks, pick)
		}
		// Rows are probabilities, less what leads elsewhere.
		cols := stage.Maps.Dim(3)
		for at, v := 0, tensor.Data[float32](stage.Maps); at < len(v); at += cols {
			sum := 0.0
			for _, x := range v[at : at+cols] {
				sum += float64(x)
			}
			if sum > 1+1e-5 || math.IsNaN(sum) {
				t.Fatalf("%s: row %d sums to %v", stage.Name, at/cols, sum)
			}
		}
	}
	for token := range a.Tokens {
		for _, pick := range picks {
			m, err := a.Map(token, pick...)
			if err != nil {
				t.Fatal(err)
			}
			sum := 0.0
			for _, v := range m.Weights {
				sum += float64(v)
				if !(v >= 0) {
					t.Fatalf("weight %v", v)
				}
			}
			if math.Abs(sum-1) > 1e-5 || len(m.Weights) != cells || m.Rows*m.Cols != cells || m.Share < 0 || m.Share > 1+1e-5 {
				t.Fatalf("token %d, %+v: %d cells of %dx%d sum to %v, share %v", token, pick, len(m.Weights), m.Rows, m.Cols, sum, m.Share)
			}
		}
	}
}

// What the Go engine taps is what exported outputs say, on both engines.
func TestTapsEqualOutputs(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"blip2-opt", "clip", "siglip", "idefics", "openflamingo-opt", "lxmert-vqa"} {
		t.Run(name, func(t *testing.T) {
			g := loadGolden(t, name)
			look := func(t *testing.T, eng engine.Engine, taps bool) (*Attention, *attend.Watch, []string) {
				p := openGolden(t, g, sharing(t, eng), WithShadow(unwanted{t}))
				w := p.watch()
				w.Taps = taps
				a, err := p.attend(t.Context(), attendRequest(t, g, name), w, func(ctx context.Context, request Request, a *Attention) (*Text, error) {
					if m, ok := p.model.(family.Embedder); ok {
						return nil, p.show(ctx, m, request, a)
					}
					g, err := p.generation([]GenerateOption{eightTokens}, 1)
					if err != nil {
						return nil, err
					}
					return one(firsts(p.generate(ctx, []Request{request}, g, nil, nil)))
				})
				if err != nil {
					t.Fatal(err)
				}
				return a, w, p.model.(family.Attender).Watched()
			}
			tapped, inside, roles := look(t, goEngine, true)
			eachEngine(t, func(t *testing.T, eng engine.Engine) {
				a, outside, _ := look(t, eng, false)
				for _, role := range roles {
					compareRuns(t, role, outside.Runs(role), inside.Runs(role))
				}
				for i, s := range tapped.Stages {
					compare(t, s.Name, a.Stages[i].Maps, s.Maps, 1e-5)
					if (s.Rollout == nil) != (a.Stages[i].Rollout == nil) {
						t.Errorf("%s: one has no rollout", s.Name)
					} else if s.Rollout != nil {
						compare(t, "rollout of "+s.Name, a.Stages[i].Rollout, s.Rollout, 1e-5)
					}
				}
			})
		})
	}
}

// unwanted is a shadow engine that is not to be asked: graphs say themselves where they look.
type unwanted struct{ *testing.T }

func (unwanted) Name() string { return "unwanted" }

func (u unwanted) Open(_ context.Context, source engine.Source, _ engine.Options) (engine.Session, error) {
	u.Errorf("%s says nothing of its attention: the shadow engine had to look", source.Name)
	return nil, engine.ErrEngine
}

// compareRuns compares what a graph shows with what is seen inside it, map by map.
func compareRuns(t *testing.T, role string, shown, tapped []attend.Run) {
	t.Helper()
	if len(shown) != len(tapped) {
		t.Fatalf("%s ran %d times and %d times", role, len(shown), len(tapped))
	}
	for i := range shown {
		for _, kind := range []attend.Kind{attend.SelfAttention, attend.CrossAttention, attend.VisualSelfAttention, attend.VisualCrossAttention} {
			for l, m := range tapped[i].Kind(kind) { // which lacks what reaches no result
				compare(t, role+" "+string(kind), shown[i].Kind(kind)[l].Tensor, m.Tensor, 1e-5)
			}
		}
	}
}

// The Q-Former's and LXMERT's maps are PyTorch's.
func TestMapsEqualPyTorch(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		g := loadGolden(t, "blip2-opt")
		a, err := sharedGolden(t, g, eng).Attend(t.Context(), attendRequest(t, g, "blip2-opt"), eightTokens)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, "qformer_cross_attn", a.Stages[1].Maps, g.array(t, "qformer_cross_attn"), 1e-5)
		g = loadGolden(t, "lxmert-vqa")
		if a, err = sharedGolden(t, g, eng).Attend(t.Context(), attendRequest(t, g, "lxmert-vqa")); err != nil {
			t.Fatal(err)
		}
		// The golden row stands in a batch whose questions may be longer.
		want := g.array(t, "cross_attn")
		compare(t, "cross_attn", a.Stages[0].Maps, want, 1e-5)
		if w := a.Words(); w[0].Text != "[CLS]" || w[len(w)-1].Text != "[SEP]" || strings.Contains(w[len(w)/2].Text, "##") {
			t.Errorf("words %v", w)
		}
		compare(t, "visual_cross_attn", a.Reverse.Maps, g.array(t, "visual_cross_attn"), 1e-5)
	})
}

// choiceLogProbs are those that Choose compares.
func choiceLogProbs(t *testing.T, p *Pipeline, r Request, choice string) ([]float64, error) {
	t.Helper()
	model := p.model.(family.Writer)
	prompts, err := p.prompts([]Request{r})
	if err != nil {
		return nil, err
	}
	encoded, err := p.encode(t.Context(), model, [][]media.Item{prompts[0].items}, new(Stats))
	if err != nil {
		return nil, err
	}
	return p.choiceLogProbs(t.Context(), model, prompts[0], encoded[0], []string{choice})
}

func TestAttendText(t *testing.T) {
	t.Parallel()
	g := loadGolden(t, "blip2-opt")
	p := openGolden(t, g, goEngine) // whose defaults change below
	request := attendRequest(t, g, "blip2-opt")
	a, err := p.AttendText(t.Context(), request, "a cat")
	if err != nil {
		t.Fatal(err)
	}
	checkMaps(t, a, 16)
	if a.Text.Text != "a cat" || len(a.Words()) != 2 || a.Words()[1].Text != "cat" {
		t.Errorf("%q in words %v", a.Text.Text, a.Words())
	}
	if m, err := a.WordMap(a.Words()[1]); err != nil || len(m.Weights) != 16 {
		t.Error(m, err)
	}
	// Choose adds that the text ends, which a model without an end always does.
	p.defaults.EOS = nil
	choice, err := choiceLogProbs(t, p, request, "a cat")
	if err != nil || math.Abs(a.Text.LogProb-choice[0]) > 1e-4 {
		t.Errorf("log-probability %v, as a choice %v, %v", a.Text.LogProb, choice, err)
	}
	for _, bad := range []Pick{{Layer: 9}, {Head: 9}, {Layer: -1}} {
		if _, err := a.Map(0, bad); !errors.Is(err, ErrOption) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := a.Map(99); !errors.Is(err, ErrOption) {
		t.Error(err)
	}
}

// Models without maps among their outputs look the same through ONNX Runtime,
// which the Go engine then shadows.
func TestAttendThroughShadow(t *testing.T) {
	t.Parallel()
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		for _, name := range []string{"blip2-t5", "openflamingo-mpt", "lxmert-gqa"} {
			g := loadGolden(t, name)
			request := attendRequest(t, g, name)
			a, err := sharedGolden(t, g, eng).Attend(t.Context(), request, eightTokens)
			if err != nil {
				t.Fatal(name, err)
			}
			b, err := sharedGolden(t, g, goEngine).Attend(t.Context(), request, eightTokens)
			if err != nil {
				t.Fatal(name, err)
			}
			for i := range a.Stages {
				compare(t, name, a.Stages[i].Maps, b.Stages[i].Maps, 1e-5)
			}
		}
	})
}

// A picture that is shown twice is in the resampler's batch once.
func TestAttendPictureShownTwice(t *testing.T) {
	t.Parallel()
	g := loadGolden(t, "openflamingo-opt")
	p := sharedGolden(t, g, goEngine)
	one := lastImage(g.requests(t, p)[0])
	other, again := negative(one), negative(negative(one)) // again has one's pixels
	look := func(second image.Image) *Attention {
		a, err := p.Attend(t.Context(), Request{Shots: []Shot{{Image: one, Text: "a"}, {Image: second, Text: "b"}}, Image: other}, eightTokens)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	a, b := look(one), look(again)
	for i := range a.Stages {
		compare(t, a.Stages[i].Name, a.Stages[i].Maps, b.Stages[i].Maps, 1e-6)
	}
}

// A convolutional encoder has a map of the text, and one of the picture as a whole.
func TestAttendConvolutional(t *testing.T) {
	t.Parallel()
	img, err := vision.DecodeFile("../testdata/images/scene.png")
	if err != nil {
		t.Fatal(err)
	}
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		p := sharedEmbedded(t, mini.CLIP, eng)
		best := map[string]int{}
		for _, text := range []string{"", "automobile", "red apple"} {
			a, err := p.Attend(t.Context(), Request{Image: img, Question: text})
			if err != nil {
				t.Fatal(err)
			}
			checkMaps(t, a, 49)
			m, err := a.Map(0)
			if err != nil {
				t.Fatal(err)
			}
			best[text] = graph.Argmax(m.Weights)
		}
		if best["automobile"] == best["red apple"] {
			t.Errorf("asked for two things, the model looks at cell %d for both", best["red apple"])
		}
	})
}

// Concept words pass the Q-Former, and lead to the cells that name them.
func TestAttendPlaces(t *testing.T) {
	t.Parallel()
	img, err := vision.DecodeFile("../testdata/images/red-circle.png")
	if err != nil {
		t.Fatal(err)
	}
	var before *Attention
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		p := sharedEmbedded(t, mini.BLIP2, eng)
		a, err := p.Attend(t.Context(), Request{Image: img})
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Stages) != 3 {
			t.Fatalf("%d stages", len(a.Stages))
		}
		checkMaps(t, a, 49)
		// 61 queries and 16 concept words, from 66 tokens, which lie on 49 cells.
		if s := a.Stages; s[0].Maps.Dim(3) != 77 || s[1].Maps.Dim(2) != 77 || s[1].Maps.Dim(3) != 66 || s[2].Maps.Dim(3) != 49 {
			t.Errorf("stages %v, %v, %v", s[0].Maps, s[1].Maps, s[2].Maps)
		}
		if before != nil {
			for i := range a.Stages {
				compare(t, a.Stages[i].Name, a.Stages[i].Maps, before.Stages[i].Maps, 1e-4)
			}
		}
		before = a
	})
}

// The attention in a decoder with a branch for its first step is seen at every step.
func TestAttendInBranches(t *testing.T) {
	t.Parallel()
	p, err := Open(t.Context(), filepath.Join(layoutsDir, "vit-gpt2-transformersjs"), WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	a, err := p.Attend(t.Context(), Request{Image: figure(t, "figure0.png")}, func(g *Generation) { g.MaxNewTokens = 4 })
	if err != nil {
		t.Fatal(err)
	}
	maps := a.Stages[0].Maps // [layer,head,token,patch]
	if len(a.Tokens) == 0 || maps.Dim(2) != len(a.Tokens) {
		t.Fatalf("%d tokens, maps %v", len(a.Tokens), maps)
	}
	for row := range slices.Chunk(maps.Float32s(), maps.Dim(3)) {
		sum := 0.0
		for _, v := range row {
			sum += float64(v)
		}
		if math.Abs(sum-1) > 1e-4 {
			t.Errorf("a row sums to %v", sum)
		}
	}
}

func TestAttendUnsupported(t *testing.T) {
	t.Parallel()
	g := loadGolden(t, "blip-itm")
	if _, err := sharedGolden(t, g, goEngine).Attend(t.Context(), Request{Image: loadImage(t, filepath.Join(g.dir, g.Rows[0].Image))}); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
	if _, err := sharedGolden(t, loadGolden(t, "clip"), goEngine).Attend(t.Context(), Request{}); !errors.Is(err, ErrImage) {
		t.Error(err)
	}
}

func TestSeen(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]vision.Region{"blip2-opt": {0, 0, 1, 1}, "clip": {0.25, 0, 0.75, 1}} {
		p := sharedGolden(t, loadGolden(t, name), goEngine)
		if got := p.images.Seen(200, 100); got != want {
			t.Errorf("%s sees %v of a wide picture, not %v", name, got, want)
		}
	}
}
