package pipeline

import (
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
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// goldenSounds decodes the rows' sounds at the rate that p hears.
func goldenSounds(t *testing.T, g *golden, p *Pipeline) []media.Item {
	t.Helper()
	var items []media.Item
	for _, row := range g.Rows {
		sound, err := audio.DecodeFile(t.Context(), filepath.Join(g.dir, row.Audio), audio.WithRate(p.HearingRate()), audio.WithoutFFmpeg())
		if err != nil {
			t.Fatal(err)
		}
		items = append(items, sound)
	}
	return items
}

// sameRow compares a vector with row i of an array.
func sameRow(t *testing.T, what string, got []float32, want *tensor.Tensor, i int) {
	t.Helper()
	compare(t, what, tensor.Must(tensor.New([]int{len(got)}, got)), tensor.Must(tensor.New([]int{len(got)}, graph.Row(want, i))), 1e-4)
}

// Features, embeddings and probabilities of CLAP, with fusion of long sounds and without, against
// transformers, sound by sound and all at once.
func TestCLAPEqualsTransformers(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"clap", "clap-fused"} {
		g := loadGolden(t, name)
		t.Run(name, func(t *testing.T) {
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				p := sharedGolden(t, g, eng)
				if can := p.Abilities(); !can.Match || !can.Embed || can.Attend || can.Transcribe || !slices.Equal(can.Media, []media.Kind{media.Sounds}) {
					t.Errorf("abilities %+v", can)
				}
				items, texts := goldenSounds(t, g, p), goldenTexts(t, g)
				prepared, err := p.hearing().Prepare(t.Context(), items)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, "features in decibels", prepared.Tensors[inputFeatures], g.array(t, inputFeatures), 1e-3)
				for i, longer := range tensor.Data[bool](prepared.Tensors["is_longer"]) {
					if longer != g.Rows[i].IsLonger {
						t.Errorf("sound %d is longer: %v", i, longer)
					}
				}
				words, err := p.EmbedTexts(t.Context(), texts...)
				if err != nil {
					t.Fatal(err)
				}
				for i, w := range words {
					sameRow(t, "embedding of "+texts[i], w, g.array(t, "text_embeds"), i)
				}
				together, err := p.EmbedItems(t.Context(), items...)
				if err != nil {
					t.Fatal(err)
				}
				all, err := p.MatchItems(t.Context(), items, texts...)
				if err != nil {
					t.Fatal(err)
				}
				probabilities := g.array(t, "probabilities")
				for i, item := range items {
					alone, err := p.EmbedItems(t.Context(), item)
					if err != nil {
						t.Fatal(err)
					}
					sameRow(t, "sound", alone[0], g.array(t, "audio_embeds"), i)
					sameRow(t, "sound in a batch", together[i], g.array(t, "audio_embeds"), i)
					one, err := p.MatchItems(t.Context(), []media.Item{item}, texts...)
					if err != nil {
						t.Fatal(err)
					}
					for j, m := range one[0] {
						want := float64(graph.Row(probabilities, i)[j])
						near(t, "probability of "+m.Text, m.Probability, want, 1e-4)
						near(t, "probability in a batch of "+m.Text, all[i][j].Probability, want, 1e-4)
					}
				}
				if _, err := p.Match(t.Context(), figure(t, "figure0.png"), texts...); !errors.Is(err, ErrUnsupported) || !strings.Contains(err.Error(), "takes a sound") {
					t.Errorf("a picture: %v", err)
				}
				empty := &audio.Sound{Rate: p.HearingRate()}
				if _, err := p.EmbedItems(t.Context(), items[0], empty); !errors.Is(err, ErrSound) || !strings.Contains(err.Error(), "empty") {
					t.Errorf("an empty sound: %v", err)
				}
			})
		})
	}
}

// A folder as transformers.js lays CLAP out gives what the class gives: two graphs, which lack the scale
// of the logits, or the whole model in one.
func TestCLAPLayout(t *testing.T) {
	t.Parallel()
	const name = "clap-transformersjs"
	var want struct {
		Texts         []string    `json:"texts"`
		TextEmbeds    [][]float32 `json:"text_embeds"`
		AudioEmbeds   [][]float32 `json:"audio_embeds"`
		Probabilities [][]float64 `json:"probabilities"`
	}
	data, err := os.ReadFile(filepath.Join(layoutsDir, name, "golden.json"))
	if err == nil {
		err = json.Unmarshal(data, &want)
	}
	if err != nil {
		t.Fatal(err)
	}
	sounds := loadGolden(t, "clap") // the same
	towers := []string{"onnx/audio_model.onnx", "onnx/text_model.onnx", "onnx/audio_model_fp16.onnx", "onnx/text_model_fp16.onnx"}
	for _, c := range []struct {
		variant   string
		without   []string
		tolerance float64
	}{{"", nil, 1e-5}, {"", []string{"onnx/model.onnx"}, 1e-5}, {"", towers, 1e-5}, {"fp16", nil, 5e-3}} {
		t.Run(strings.Join(append([]string{c.variant}, c.without...), " "), func(t *testing.T) {
			t.Parallel()
			dir := layoutDir(t, name, c.without...)
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				p, err := Open(t.Context(), dir, WithEngine(eng), WithVariant(c.variant))
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				items := goldenSounds(t, sounds, p)
				heard, err := p.EmbedItems(t.Context(), items...)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, "sounds", matrix(heard), matrix(want.AudioEmbeds), c.tolerance)
				words, err := p.EmbedTexts(t.Context(), want.Texts...)
				if err != nil {
					t.Fatal(err)
				}
				compare(t, "texts", matrix(words), matrix(want.TextEmbeds), c.tolerance)
				all, err := p.MatchItems(t.Context(), items, want.Texts...)
				if err != nil {
					t.Fatal(err)
				}
				for i, matches := range all {
					for j, m := range matches {
						if m.Unscaled != (len(c.without) == 1 || c.variant != "") {
							t.Fatalf("%+v", m)
						}
						if !m.Unscaled {
							near(t, "probability of "+m.Text, m.Probability, want.Probabilities[i][j], 10*c.tolerance)
						}
					}
				}
			})
		})
	}
}
