package api

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/ort/orttest"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/compare"
	"github.com/crossattn/xpipe/tensor"
)

// twin is the Go engine under another name, which runs graphs operator by operator and is off by 1
// in the first value of an output.
type twin struct {
	engine.Engine
	wrong string // the output; "": none
}

func (twin) Name() string { return "twin" }

func (e twin) Open(
	ctx context.Context, source engine.Source, opts engine.Options,
) (engine.Session, error) {
	opts.NoFusion = true
	s, err := e.Engine.Open(ctx, source, opts)
	return twinSession{s, e.wrong}, err
}

type twinSession struct {
	engine.Session
	wrong string
}

func (s twinSession) Run(
	ctx context.Context, in map[string]*tensor.Tensor, names ...string,
) (map[string]*tensor.Tensor, error) {
	out, err := s.Session.Run(ctx, in, names...)
	if t := out[s.wrong]; err == nil && t != nil {
		tensor.Data[float32](t)[0]++
	}
	return out, err
}

// openBundle opens a bundle of testdata/families for Verify.
func openBundle(t *testing.T, name string) func(...pipeline.Option) (*pipeline.Pipeline, error) {
	return func(opts ...pipeline.Option) (*pipeline.Pipeline, error) {
		return Open(t.Context(), families+name+"/bundle", opts...)
	}
}

// The stages, and what goes into them, are the same on every machine and from version to version,
// so that reports can be compared.
func TestVerify(t *testing.T) {
	t.Parallel()
	second := fallback.New()
	firsts := []engine.Engine{twin{Engine: second}}
	if library, found := orttest.Find(); found {
		config := EngineConfig{Libraries: map[string]string{Engines[1].Name: library}}
		if choice, err := SelectEngine(Engines[1].Name, config); err == nil {
			firsts = append(firsts, choice.Engine)
		}
	}
	for _, c := range []struct {
		bundle, prompt, ids string
		pixels              string // the first digits of their hash
		stages              []string
	}{
		{"clip", "a photo of a red circle",
			"[622 320 555 518 320 615 66 618 66 75 324 623]", "9e070c1c19347607",
			[]string{"vision_encoder:pooled_output", "text_model:pooled_output"}},
		{"blip2-opt", "Question: what color is the shape? Answer:",
			"[2 317 29 315 309 311 262 326 75 68 83 72 34 319 29]", "a909ebd45014e560",
			[]string{"vision_encoder:image_embeds", "qformer:query_output",
				"embed_tokens:inputs_embeds", "decoder_model_merged:logits",
				"decoder_model_merged:present.0.key", "decoder_model_merged:present.0.value",
				"decoder_model_merged:present.1.key", "decoder_model_merged:present.1.value"}},
		{"lxmert-vqa", "what color is the shape?",
			"[2 103 95 90 88 23 54 47 62 51 43 3]", "",
			[]string{"model:logits"}},
	} {
		for _, first := range firsts {
			r, err := Verify(t.Context(), first, second, VerifyRequest{}, openBundle(t, c.bundle))
			if err != nil {
				t.Fatal(c.bundle, first.Name(), err)
			}
			var stages []string
			for _, s := range r.Stages {
				graph := strings.TrimSuffix(strings.TrimPrefix(s.Graph, "onnx/"), ".onnx")
				stages = append(stages, graph+":"+s.Output)
				if s.Runs == 0 || s.Largest == 0 {
					t.Errorf("%s: %+v", c.bundle, s)
				}
			}
			if !slices.Equal(stages, c.stages) {
				t.Errorf("%s: stages %q", c.bundle, stages)
			}
			if r.Prompt != c.prompt || fmt.Sprint(r.TokenIDs) != c.ids {
				t.Errorf("%s: prompt %q, %v", c.bundle, r.Prompt, r.TokenIDs)
			}
			if !strings.HasPrefix(r.PixelHash, c.pixels) || (r.Pixels == nil) != (c.pixels == "") {
				t.Errorf("%s: pixels %v, hash %s", c.bundle, r.Pixels, r.PixelHash)
			}
			if len(r.Breaches()) > 0 || r.Tolerance != compare.Tolerance("float32") ||
				r.Engines != [2]string{first.Name(), second.Name()} {
				t.Errorf("%s: %+v", c.bundle, r)
			}
		}
	}
}

// A model that hears is run on a sound.
func TestVerifyHearing(t *testing.T) {
	t.Parallel()
	const layout = "../testdata/layouts/whisper-transformersjs"
	open := func(opts ...pipeline.Option) (*pipeline.Pipeline, error) { return Open(t.Context(), layout, opts...) }
	second := fallback.New()
	r, err := Verify(t.Context(), twin{Engine: second}, second, VerifyRequest{}, open)
	if err != nil {
		t.Fatal(err)
	}
	graphs := map[string]bool{}
	for _, s := range r.Stages {
		graphs[s.Graph] = s.Runs > 0 && s.Largest > 0
	}
	if !r.Heard || r.Pixels != nil || len(r.Breaches()) > 0 || !graphs["onnx/encoder_model.onnx"] || !graphs["onnx/decoder_model_merged.onnx"] {
		t.Errorf("%+v", r)
	}
	slower := VerifyRequest{Sound: &audio.Sound{Rate: 8000, Samples: make([]float32, 800)}}
	if _, err := Verify(t.Context(), twin{Engine: second}, second, slower, open); err != nil {
		t.Errorf("a sound of another rate: %v", err)
	}
}

// A model that compares sounds with texts is run on a sound, at its own rate.
func TestVerifySoundsWithTexts(t *testing.T) {
	t.Parallel()
	second := fallback.New()
	r, err := Verify(t.Context(), twin{Engine: second}, second, VerifyRequest{}, openBundle(t, "clap-fused"))
	if err != nil {
		t.Fatal(err)
	}
	if !r.Heard || len(r.Breaches()) > 0 || len(r.Stages) != 2 || len(r.TokenIDs) == 0 {
		t.Errorf("%+v", r)
	}
}

// A fault shows in the stage where it arises and in no later one.
func TestVerifyBreach(t *testing.T) {
	t.Parallel()
	other := twin{fallback.New(), "query_output"}
	request := VerifyRequest{Image: picture(t, "apple.png").Image, Prompt: "a photo of"}
	r, err := Verify(t.Context(), fallback.New(), other, request, openBundle(t, "blip2-opt"))
	if err != nil {
		t.Fatal(err)
	}
	bad := r.Breaches()
	if len(bad) != 1 || bad[0].Output != "query_output" || math.Abs(bad[0].MaxDiff-1) > 1e-3 {
		t.Errorf("%+v", bad)
	}
	if r.Prompt != request.Prompt || r.Text == "" {
		t.Errorf("prompt %q, text %q", r.Prompt, r.Text)
	}
	request.Tolerance = 2
	r, err = Verify(t.Context(), fallback.New(), other, request, openBundle(t, "blip2-opt"))
	if err != nil || r.Tolerance != 2 || len(r.Breaches()) > 0 {
		t.Errorf("%v: %+v", err, r)
	}
}

// A model that was opened on other engines is no model without differences.
func TestVerifyNothing(t *testing.T) {
	t.Parallel()
	open := func(...pipeline.Option) (*pipeline.Pipeline, error) { return openBundle(t, "clip")() }
	_, err := Verify(t.Context(), fallback.New(), fallback.New(), VerifyRequest{}, open)
	wantError(t, err, ExitOther, "nothing was compared")
	broken := errors.New("broken")
	open = func(...pipeline.Option) (*pipeline.Pipeline, error) { return nil, broken }
	_, err = Verify(t.Context(), fallback.New(), fallback.New(), VerifyRequest{}, open)
	if !errors.Is(err, broken) {
		t.Error(err)
	}
}
