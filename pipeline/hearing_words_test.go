package pipeline

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/tensor"
)

// align has a model read a text as it hears the first sound of g.
func align(t *testing.T, p *Pipeline, name string, features *tensor.Tensor, prompt, text []int64) *family.Alignment {
	t.Helper()
	m := p.model.(family.Aligner)
	states := hear(t, p, name, features)[0].Encoded.states
	begin, err := m.Hear(t.Context(), states)
	if err != nil {
		t.Fatal(err)
	}
	a, err := m.Align(t.Context(), begin, prompt, text, family.AlignOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// The maps that words are aligned by are the model's own for every token that it reads, in one pass.
func TestAlignment(t *testing.T) {
	t.Parallel()
	g := loadGolden(t, "whisper")
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		p := sharedGolden(t, g, eng)
		want := g.array(t, "cross_attn") // [layer,head,token,state]
		prompt, text := g.Rows[0].Start, g.Greedy.IDs[0]
		text = slices.DeleteFunc(slices.Clone(text), func(id int64) bool { return id == 0 || id >= prompt[0] })
		a := align(t, p, inputFeatures, g.array(t, inputFeatures), prompt, text)
		layers, heads, tokens, states := want.Dim(0), want.Dim(1), want.Dim(2), want.Dim(3)
		if len(a.Heads) != (layers-layers/2)*heads || a.States != states || len(a.Probabilities) != len(text) {
			t.Fatalf("%d heads, %d states, %d probabilities", len(a.Heads), a.States, len(a.Probabilities))
		}
		same := min(tokens, a.Tokens-1) // the golden maps are not of the end
		for h, head := range a.Heads {
			from := (layers/2*heads + h) * tokens * states
			nearly(t, fmt.Sprintf("head %d", h), head[:same*states], want.Float32s()[from:][:same*states])
		}
	})
}

func nearly(t *testing.T, what string, got, want []float32) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%s: %d numbers, not %d", what, len(got), len(want))
	}
	for i := range got {
		if math.Abs(float64(got[i]-want[i])) > 1e-4 {
			t.Fatalf("%s: %v at %d, want %v", what, got[i], i, want[i])
		}
	}
}

// Whatever files hold the decoder, and whichever engine runs it, the alignment is the same.
func TestAlignmentOfLayouts(t *testing.T) {
	t.Parallel()
	const merged = "onnx/decoder_model_merged.onnx"
	var g hearingGolden
	data, err := os.ReadFile(filepath.Join(layoutsDir, "whisper-transformersjs", "golden.json"))
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	features := tensor.Must(tensor.New(g.Shape, g.Values))
	text := slices.DeleteFunc(slices.Clone(g.Rows[0].IDs), func(id int64) bool { return id == 0 || id >= g.Rows[0].Start[0] })
	var first *family.Alignment
	for _, without := range [][]string{nil, {merged}, {merged, "onnx/decoder_with_past_model.onnx"}} {
		dir := layoutDir(t, "whisper-transformersjs", without...)
		mostlyGo(t, func(t *testing.T, eng engine.Engine) {
			p, err := Open(t.Context(), dir, WithEngine(eng))
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			a := align(t, p, g.Input, features, g.Rows[0].Start, text)
			if first == nil {
				first = a
			}
			for h, head := range a.Heads {
				nearly(t, fmt.Sprintf("head %d", h), head, first.Heads[h])
			}
			for i, p := range a.Probabilities {
				if math.Abs(p-first.Probabilities[i]) > 1e-4 {
					t.Errorf("token %d has the probability %v, not %v", i, p, first.Probabilities[i])
				}
			}
		})
	}
}

// A distilled model whose generation_config.json names heads of its teacher's is aligned as one that names
// none.
func TestAlignmentOfDistilled(t *testing.T) {
	t.Parallel()
	const config = "generation_config.json"
	dir := layoutDir(t, "whisper-transformersjs", "onnx/decoder_with_past_model.onnx")
	var g hearingGolden
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	features := tensor.Must(tensor.New(g.Shape, g.Values))
	text := slices.DeleteFunc(slices.Clone(g.Rows[0].IDs), func(id int64) bool { return id == 0 || id >= g.Rows[0].Start[0] })
	var none *family.Alignment
	for _, heads := range []string{"", `{"alignment_heads": [[1, 0], [7, 1]],`} {
		if heads != "" {
			if data, err = os.ReadFile(filepath.Join(dir, config)); err != nil {
				t.Fatal(err)
			}
			data = append([]byte(heads), data[1:]...)
			if err := os.WriteFile(filepath.Join(dir, config), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		p, err := Open(t.Context(), dir, WithEngine(goEngine))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		a := align(t, p, g.Input, features, g.Rows[0].Start, text)
		if none == nil {
			none = a
		}
		if len(a.Heads) != 2 {
			t.Fatalf("%d heads", len(a.Heads))
		}
		for h, head := range a.Heads {
			nearly(t, fmt.Sprintf("head %d", h), head, none.Heads[h])
		}
	}
}

// Words get the same times on both engines, to 10 ms, from whatever files hold the decoder. The tiny model
// hears nothing sensible, but it hears the same.
func TestWordTimes(t *testing.T) {
	t.Parallel()
	const merged = "onnx/decoder_model_merged.onnx"
	one, err := audio.DecodeFile(t.Context(), "../testdata/audio/16.wav", audio.WithoutFFmpeg())
	if err != nil {
		t.Fatal(err)
	}
	sound := &audio.Sound{Rate: one.Rate, Samples: slices.Repeat(one.Samples, 9)} // over three windows
	var first []SpokenWord
	for _, without := range [][]string{nil, {merged}} {
		dir := layoutDir(t, "whisper-transformersjs", without...)
		eachEngine(t, func(t *testing.T, eng engine.Engine) {
			p, err := Open(t.Context(), dir, WithEngine(eng))
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			heard, err := p.Transcribe(t.Context(), sound, WithWords(), WithLanguage("en"), func(o *Transcription) {
				o.Temperatures, o.NoSpeech, o.MaxNewTokens = []float64{0}, math.NaN(), 12
			})
			if err != nil {
				t.Fatal(err)
			}
			var words []SpokenWord
			for _, s := range heard.Segments {
				words = append(words, s.Words...)
			}
			if first == nil {
				first = words
			}
			if len(words) == 0 || len(words) != len(first) {
				t.Fatalf("%d words of %d segments, not %d", len(words), len(heard.Segments), len(first))
			}
			for i, w := range words {
				f := first[i]
				if w.Text != f.Text || max(math.Abs(w.Start-f.Start), math.Abs(w.End-f.End)) > 0.01 ||
					math.Abs(w.Probability-f.Probability) > 1e-4 {
					t.Errorf("%+v, not %+v", w, f)
				}
			}
		})
	}
}
