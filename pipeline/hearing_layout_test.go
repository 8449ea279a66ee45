package pipeline

import (
	"archive/zip"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/attend"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// hearingGolden is what transformers and, for variants, ONNX Runtime write for given features, made by
// python -m xpipe_export.golden.hearing_layouts.
type hearingGolden struct {
	Input  string    `json:"input"`
	Shape  []int     `json:"shape"`
	Values []float32 `json:"values"`
	Rows   []struct {
		Start []int64 `json:"start"`
		IDs   []int64 `json:"ids"`
		Text  string  `json:"text"`
	} `json:"rows"`
	Variants map[string][][]int64 `json:"variants"`
}

// Models that hear write PyTorch's ids for features given as a tensor, whatever files hold the
// decoder: sound itself has no front end yet.
func TestHearingLayouts(t *testing.T) {
	t.Parallel()
	const merged = "onnx/decoder_model_merged.onnx"
	for _, c := range []struct {
		model, variant string
		without        []string
	}{
		{model: "whisper-transformersjs"}, // one graph with a branch; it shows its cross-attention
		{model: "whisper-transformersjs", without: []string{merged}},
		{model: "whisper-transformersjs", without: []string{merged, "onnx/decoder_with_past_model.onnx"}},
		{model: "whisper-transformersjs", variant: "fp16"},
		{model: "whisper-transformersjs", variant: "quantized"},
		{model: "whisper-transformersjs", variant: "q4"},
		{model: "whisper-transformersjs", variant: "q4f16"},
	} {
		t.Run(strings.Join(append([]string{c.model, c.variant}, c.without...), " "), func(t *testing.T) {
			t.Parallel()
			var g hearingGolden
			data, err := os.ReadFile(filepath.Join(layoutsDir, c.model, "golden.json"))
			if err == nil {
				err = json.Unmarshal(data, &g)
			}
			if err != nil {
				t.Fatal(err)
			}
			dir := layoutDir(t, c.model, c.without...)
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				p, err := Open(t.Context(), dir, WithEngine(eng), WithVariant(c.variant))
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				requests := hear(t, p, g.Input, tensor.Must(tensor.New(g.Shape, g.Values)))
				twelve := func(g *Generation) { g.MaxNewTokens = 12 }
				for i, row := range g.Rows {
					got, err := p.Generate(t.Context(), requests[i:i+1], twelve)
					if err != nil {
						t.Fatal(err)
					}
					want, text := row.IDs, got[0][0]
					if c.variant != "" {
						want = g.Variants[c.variant][i]
						text.Tokens = text.Tokens[:min(len(want), len(text.Tokens))]
					} else if text.Text != strings.TrimSpace(row.Text) {
						t.Errorf("row %d: %q, want %q", i, text.Text, row.Text)
					}
					sameIDs(t, "row", text, want)
				}
				if c.variant != "" {
					return
				}
				together, err := p.Generate(t.Context(), requests, twelve)
				if err != nil {
					t.Fatal(err)
				}
				for i, row := range g.Rows {
					sameIDs(t, "row of a batch", together[i][0], row.IDs)
				}
			})
		})
	}
}

const inputFeatures = "input_features"

// hear encodes features [B,mels,frames], which p calls name, for a request each.
func hear(t *testing.T, p *Pipeline, name string, features *tensor.Tensor) (requests []Request) {
	t.Helper()
	prepared := media.Prepared{Tensors: map[string]*tensor.Tensor{name: features}}
	for i := range features.Dim(0) {
		prepared.Rows = append(prepared.Rows, [2]int{i, i + 1})
	}
	states, err := p.model.(family.Writer).Encode(t.Context(), prepared)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range states {
		requests = append(requests, Request{Encoded: &Encoded{of: p, kind: media.Sounds, states: s}})
	}
	return requests
}

// A model that hears takes a prompt as it stands, in place of its own beginning, and says that it
// takes no picture.
func TestHearingPrompts(t *testing.T) {
	t.Parallel()
	var g hearingGolden
	dir := filepath.Join(layoutsDir, "whisper-transformersjs")
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(t.Context(), dir, WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	if kinds := p.Abilities().Media; !slices.Equal(kinds, []media.Kind{media.Sounds}) {
		t.Errorf("it takes %v", kinds)
	}
	request := hear(t, p, g.Input, tensor.Must(tensor.New(g.Shape, g.Values)))[0]
	language, _ := p.texts.IDToToken(g.Rows[0].Start[1])
	for _, prompt := range []string{
		"<|startoftranscript|>" + language + "<|transcribe|><|notimestamps|>", language + "<|transcribe|><|notimestamps|>",
	} {
		request.Prompt = prompt
		got, err := p.Generate(t.Context(), []Request{request}, func(g *Generation) { g.MaxNewTokens = 12 })
		if err != nil {
			t.Fatal(err)
		}
		sameIDs(t, prompt, got[0][0], g.Rows[0].IDs)
	}
	img := figure(t, "figure0.png")
	_, captions := p.Caption(t.Context(), img)
	_, answers := p.Answer(t.Context(), img, "what is it?")
	_, prompted := p.Generate(t.Context(), []Request{{Image: img, Prompt: "x"}})
	for _, err := range []error{captions, answers, prompted} {
		if !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "hears") {
			t.Errorf("a picture: %v", err)
		}
	}
}

// A sound gives what the features give that transformers' extractor makes of it.
func TestHearingSounds(t *testing.T) {
	t.Parallel()
	var g hearingGolden
	dir := filepath.Join(layoutsDir, "whisper-transformersjs")
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	p, err := Open(t.Context(), dir, WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	const sounds = "../testdata/audio"
	sound, err := audio.DecodeFile(t.Context(), filepath.Join(sounds, "16.wav"), audio.WithoutFFmpeg())
	if err != nil {
		t.Fatal(err)
	}
	archive, err := zip.OpenReader(filepath.Join(sounds, "golden.npz"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	file, err := archive.Open("mel/8/second.npy")
	if err != nil {
		t.Fatal(err)
	}
	features, err := tensor.ReadNpy(file)
	if err != nil {
		t.Fatal(err)
	}
	g.Shape, g.Values = append([]int{1}, features.Shape()...), features.Float32s()
	twelve := func(g *Generation) { g.MaxNewTokens = 12 }
	want, err := p.Generate(t.Context(), hear(t, p, g.Input, tensor.Must(tensor.New(g.Shape, g.Values))), twelve)
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Generate(t.Context(), []Request{{Item: sound}, {Item: sound}}, twelve)
	if err != nil {
		t.Fatal(err)
	}
	for i := range got {
		sameIDs(t, "sound", got[i][0], ids(want[0][0]))
	}
	inputs, err := p.Inputs(t.Context(), Request{Item: sound})
	if err != nil || inputs.Tensors["input_features"] == nil {
		t.Errorf("the inputs of a sound: %+v, %v", inputs, err)
	}
	other := &audio.Sound{Rate: 8000, Samples: sound.Samples}
	if _, err := p.Generate(t.Context(), []Request{{Item: other}}); !errors.Is(err, audio.ErrSound) {
		t.Errorf("a sound of another rate: %v", err)
	}
}

// The cross-attention over a sound's states, from which the times of words are found, is the model's at
// every token, from its start on.
func TestHearingAttention(t *testing.T) {
	t.Parallel()
	g := loadGolden(t, "whisper")
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		p := sharedGolden(t, g, eng)
		request := g.requests(t, p)[0]
		for _, id := range g.Rows[0].Start { // or the language is found out in a run of its own
			token, _ := p.texts.IDToToken(id)
			request.Prompt += token
		}
		w := attend.NewWatch(p.bundle.Graphs, graph.Decoder)
		if _, err := p.Generate(attend.Under(t.Context(), w), []Request{request}, unbounded(20)); err != nil {
			t.Fatal(err)
		}
		want := g.array(t, "cross_attn") // [layer,head,token,state]
		heads, tokens, states := want.Dim(1), want.Dim(2), want.Dim(3)
		values := want.Float32s()
		at := 0
		for _, run := range w.Runs(graph.Decoder) {
			layers := run.Kind(attend.CrossAttention)
			if len(layers) != want.Dim(0) {
				t.Fatalf("%d layers show cross-attention, not %d", len(layers), want.Dim(0))
			}
			length := layers[0].Dim(2)
			for l, layer := range layers {
				var expected []float32
				for h := range heads {
					from := ((l*heads+h)*tokens + at) * states
					expected = append(expected, values[from:from+length*states]...)
				}
				shape := []int{1, heads, length, states}
				compare(t, "cross-attention", layer.Tensor, tensor.Must(tensor.New(shape, expected)), 1e-5)
			}
			at += length
		}
		if at < tokens-1 { // the last token's own is of a step that is not made
			t.Errorf("%d of %d tokens", at, tokens)
		}
	})
}
