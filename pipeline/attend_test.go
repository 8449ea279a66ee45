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
	"github.com/crossattn/xpipe/fallback"
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
	return g.requests(t)[0]
}

func eightTokens(g *Generation) { g.MaxNewTokens, g.EOS = 8, nil }

// Every family says where it looked, whatever its graphs were exported with: the
// Go engine taps them.
func TestAttend(t *testing.T) {
	for name, want := range map[string]struct{ tokens, stages, cells int }{
		"blip2-opt": {8, 2, 16}, "blip2-t5": {8, 2, 16}, "instructblip": {8, 2, 16},
		"blip-caption": {8, 1, 16}, "blip-vqa": {8, 2, 16},
		"idefics": {8, 2, 16}, "idefics-plain": {8, 1, 16}, "openflamingo-opt": {8, 2, 16},
		"clip": {1, 1, 16}, "siglip": {1, 1, 16}, "lxmert-vqa": {8, 1, 36}, "lxmert-gqa": {8, 1, 36},
	} {
		t.Run(name, func(t *testing.T) {
			g := loadGolden(t, name)
			p := openGolden(t, g, fallback.New())
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
	for _, name := range []string{"blip2-opt", "clip", "siglip", "idefics", "openflamingo-opt", "lxmert-vqa"} {
		t.Run(name, func(t *testing.T) {
			g := loadGolden(t, name)
			look := func(eng engine.Engine, w *watch) (*Attention, error) {
				p := openGolden(t, g, eng)
				request := attendRequest(t, g, name)
				a, err := p.attend(t.Context(), request, w, func(ctx context.Context, request Request) (*Text, error) {
					if _, writes := p.model.(generator); !writes && name != "lxmert-vqa" {
						return nil, nil
					}
					return first(firsts(p.generate(ctx, []Request{request}, []GenerateOption{eightTokens}, nil)))
				})
				var graphs *graphOpener
				switch m := p.model.(type) {
				case *blip2:
					graphs = m.graphOpener
				case *clip:
					graphs = m.graphOpener
				case *flamingo:
					graphs = m.graphOpener
				case *lxmert:
					graphs = m.graphOpener
				}
				for _, s := range graphs.opened {
					if s, ok := s.(*watchedSession); ok && s.shadow != nil {
						t.Errorf("%s says nothing of its attention: the Go engine had to look", s.role)
					}
				}
				return a, err
			}
			inside := &watch{taps: true}
			tapped, err := look(fallback.New(), inside)
			if err != nil {
				t.Fatal(err)
			}
			eachEngine(t, func(t *testing.T, eng engine.Engine) {
				outside := &watch{}
				a, err := look(eng, outside)
				for role, runs := range outside.runs {
					compareRuns(t, role, runs, inside.runs[role])
				}
				if err != nil {
					t.Fatal(err)
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

// compareRuns compares what a graph shows with what is seen inside it, map by map.
func compareRuns(t *testing.T, role string, shown, tapped []watchedRun) {
	t.Helper()
	if len(shown) != len(tapped) {
		t.Fatalf("%s ran %d times and %d times", role, len(shown), len(tapped))
	}
	for i := range shown {
		for _, kind := range []attentionKind{selfAttention, crossAttention, visualSelfAttention, visualCrossAttention} {
			for l, m := range tapped[i].kind(kind) { // which lacks what reaches no result
				compare(t, role+" "+string(kind), shown[i].kind(kind)[l].Tensor, m.Tensor, 1e-5)
			}
		}
	}
}

// The Q-Former's and LXMERT's maps are PyTorch's.
func TestMapsEqualPyTorch(t *testing.T) {
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		g := loadGolden(t, "blip2-opt")
		a, err := openGolden(t, g, eng).Attend(t.Context(), attendRequest(t, g, "blip2-opt"), eightTokens)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, "qformer_cross_attn", a.Stages[1].Maps, g.array(t, "qformer_cross_attn"), 1e-5)
		g = loadGolden(t, "lxmert-vqa")
		if a, err = openGolden(t, g, eng).Attend(t.Context(), attendRequest(t, g, "lxmert-vqa")); err != nil {
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

func TestAttendText(t *testing.T) {
	g := loadGolden(t, "blip2-opt")
	p := openGolden(t, g, fallback.New())
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
	choice, err := p.choiceLogProbs(t.Context(), p.model.(generator), request, []string{"a cat"})
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
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		for _, name := range []string{"blip2-t5", "openflamingo-mpt", "lxmert-gqa"} {
			g := loadGolden(t, name)
			request := attendRequest(t, g, name)
			a, err := openGolden(t, g, eng).Attend(t.Context(), request, eightTokens)
			if err != nil {
				t.Fatal(name, err)
			}
			b, err := openGolden(t, g, fallback.New()).Attend(t.Context(), request, eightTokens)
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
	g := loadGolden(t, "openflamingo-opt")
	p := openGolden(t, g, fallback.New())
	one := lastImage(g.requests(t)[0])
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
	img, err := vision.DecodeFile("../testdata/images/scene.png")
	if err != nil {
		t.Fatal(err)
	}
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		p := OpenEmbedded(t, "clip-mini", WithEngine(eng))
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
			best[text] = argmax(m.Weights)
		}
		if best["automobile"] == best["red apple"] {
			t.Errorf("asked for two things, the model looks at cell %d for both", best["red apple"])
		}
	})
}

// Concept words pass the Q-Former, and lead to the cells that name them.
func TestAttendPlaces(t *testing.T) {
	img, err := vision.DecodeFile("../testdata/images/red-circle.png")
	if err != nil {
		t.Fatal(err)
	}
	var before *Attention
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		p := OpenEmbedded(t, "blip2-mini", WithEngine(eng))
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

// What an encoder says of its tokens and cells is checked before it is believed.
func TestAttendOddStates(t *testing.T) {
	m := OpenEmbedded(t, "clip-mini", WithEngine(fallback.New())).model.(*clip)
	state := func(shape ...int) attentionMap {
		return attentionMap{Tensor: tensor.Must(tensor.Zeros(tensor.Float32, shape...))}
	}
	a := &Attention{Tokens: []string{"apple"}}
	if err := m.activation(t.Context(), a, state(1, 49, 1280), state(1, 1280)); err != nil || len(a.Stages) != 1 {
		t.Error("cells that hold nothing:", err)
	}
	negative := state(1, 49, 1280)
	tensor.Data[float32](negative.Tensor)[77] = -1
	for name, bad := range map[string][2]attentionMap{
		"a transformer's states": {negative, state(1, 1280)},
		"another width":          {state(1, 49, 8), state(1, 8)},
		"no picture":             {state(0, 49, 1280), state(0, 1280)},
		"pooled otherwise":       {state(1, 49, 1280), state(1, 64)},
	} {
		if err := m.activation(t.Context(), a, bad[0], bad[1]); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := passedBeside(state(1, 1, 2, 3).Tensor, 2); err != nil {
		t.Error(err)
	}
}

func TestAttendUnsupported(t *testing.T) {
	g := loadGolden(t, "blip-itm")
	if _, err := openGolden(t, g, fallback.New()).Attend(t.Context(), Request{Image: loadImage(t, filepath.Join(g.dir, g.Rows[0].Image))}); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
	if _, err := openGolden(t, loadGolden(t, "clip"), fallback.New()).Attend(t.Context(), Request{}); !errors.Is(err, ErrImage) {
		t.Error(err)
	}
}

// Coarse cells spread over the finest grid by area, and lose nothing.
func TestPlaces(t *testing.T) {
	m := make([]float64, 6)
	if got := (place{0, 0, 1, 2}).spread(m, 2, 3, 1); got != 1 {
		t.Error(got)
	}
	for i, want := range []float64{1.0 / 3, 1.0 / 6, 0, 1.0 / 3, 1.0 / 6, 0} {
		if math.Abs(m[i]-want) > 1e-12 {
			t.Errorf("spread as %v", m)
			break
		}
	}
	if got := (place{}).spread(m, 2, 3, 1); got != 0 {
		t.Error("a token without a place lies somewhere")
	}
	var a Attention
	p := openGolden(t, loadGolden(t, "blip2-opt"), fallback.New())
	for n, want := range map[int][3]int{16: {4, 4, 0}, 17: {4, 4, 1}, 257: {16, 16, 1}} {
		a = Attention{}
		if err := a.setGrids(p.bundle, n); err != nil {
			t.Fatal(err)
		}
		if a.rows != want[0] || a.cols != want[1] || len(a.columns) != n || a.columns[want[2]].rows == 0 || want[2] == 1 && a.columns[0].rows != 0 {
			t.Errorf("%d tokens are a grid of %dx%d", n, a.rows, a.cols)
		}
	}
	if err := (&Attention{}).setGrids(p.bundle, 12); !errors.Is(err, ErrBundle) {
		t.Error(err)
	}
}

func TestSeen(t *testing.T) {
	for name, want := range map[string]vision.Region{"blip2-opt": {0, 0, 1, 1}, "clip": {0.25, 0, 0.75, 1}} {
		p := openGolden(t, loadGolden(t, name), fallback.New())
		if got := p.images.Seen(200, 100); got != want {
			t.Errorf("%s sees %v of a wide picture, not %v", name, got, want)
		}
	}
}
