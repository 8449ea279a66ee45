package pipeline

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// decoderGolden is what transformers writes with a folder's model, made by
// python -m xpipe_export.golden.decoders.
type decoderGolden struct {
	New          int                `json:"new"` // tokens; 12 where it does not say
	Rows         []decoderRow       `json:"rows"`
	Conversation goldenConversation `json:"conversation"`
	Length       struct {
		MaxLength int     `json:"max_length"`
		Row       int     `json:"row"`
		IDs       []int64 `json:"ids"`
	} `json:"length"`
	Variants map[string][][]int64 `json:"variants"` // ids of ONNX Runtime on files of other types
}

type goldenConversation struct {
	System string `json:"system"`
	Turns  []struct {
		Say      string   `json:"say"`
		Images   []string `json:"images"`
		Text     string   `json:"text"`
		InputIDs int      `json:"input_ids"` // how many
		IDs      []int64  `json:"ids"`
		Answer   string   `json:"answer"`
	} `json:"turns"`
}

type decoderRow struct {
	Prompt   string `json:"prompt"`
	Messages []struct {
		Role    string          `json:"role"`
		Content json.RawMessage `json:"content"`
	} `json:"messages"`
	Images   []string      `json:"images"`
	Sounds   []string      `json:"sounds"`
	Text     string        `json:"text"`
	InputIDs []int64       `json:"input_ids"`
	IDs      []int64       `json:"ids"`
	BeamIDs  []int64       `json:"beam_ids"`
	Pixels   *goldenTensor `json:"pixels"`   // of the only picture, as the reference's processor makes them
	Features *goldenTensor `json:"features"` // of the only sound
}

// goldenTensor is some of a tensor's values.
type goldenTensor struct {
	Shape  []int     `json:"shape"`
	Every  int       `json:"every"` // value is there
	Values []float64 `json:"values"`
}

// checkPixels compares what is made of the row's picture with the reference's.
func (r *decoderRow) checkPixels(t *testing.T, p *Pipeline, name string) {
	t.Helper()
	if r.Pixels == nil {
		return
	}
	prepared, err := p.preparePictures(t.Context(), figure(t, r.Images[0]))
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	got := prepared.Tensors["pixel_values"]
	if !slices.Equal(got.Shape(), r.Pixels.Shape) {
		t.Errorf("%s: pixels %v, want %v", name, got.Shape(), r.Pixels.Shape)
		return
	}
	values := tensor.Data[float32](got)
	r.Pixels.check(t, name, values, 2e-6)
}

// check compares the values that are known with all of them.
func (g *goldenTensor) check(t *testing.T, name string, values []float32, tolerance float64) {
	t.Helper()
	for i, want := range g.Values {
		if diff := math.Abs(float64(values[i*g.Every]) - want); diff > tolerance {
			t.Errorf("%s: value %d is %v, want %v", name, i, values[i*g.Every], want)
			return
		}
	}
}

// checkFeatures compares what is made of the row's sound with the reference's.
func (r *decoderRow) checkFeatures(t *testing.T, p *Pipeline, name string) {
	t.Helper()
	if r.Features == nil {
		return
	}
	prepared, err := p.prepare(t.Context(), []media.Item{stretch(t, r.Sounds[0])})
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	got := prepared.Tensors[graph.InputFeatures]
	if want := r.Features.Shape[1:]; !slices.Equal(got.Shape(), want) {
		t.Errorf("%s: features %v, want %v", name, got.Shape(), want)
		return
	}
	r.Features.check(t, name, tensor.Data[float32](got), 1e-4)
}

// stretch is a part of a sound of package audio's tests that is played over and over: NAME@FROM-TO.
func stretch(t *testing.T, name string) *audio.Sound {
	t.Helper()
	file, samples, _ := strings.Cut(name, "@")
	var from, to int
	if _, err := fmt.Sscanf(samples, "%d-%d", &from, &to); err != nil {
		t.Fatal(err)
	}
	whole, err := audio.DecodeFile(t.Context(), filepath.Join("..", "testdata", "audio", file))
	if err != nil {
		t.Fatal(err)
	}
	repeated := slices.Repeat(whole.Samples, to/len(whole.Samples)+1)
	return &audio.Sound{Rate: whole.Rate, Samples: repeated[from:to]}
}

func loadDecoderGolden(t *testing.T, model string) decoderGolden {
	t.Helper()
	return decoderGoldenOf(t, filepath.Join(layoutsDir, model))
}

func decoderGoldenOf(t *testing.T, dir string) (g decoderGolden) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "golden.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	g.New = cmp.Or(g.New, 12)
	return g
}

// request is the row as a Request.
func (r *decoderRow) request(t *testing.T) Request {
	t.Helper()
	var parts []Part
	image, sound := 0, 0
	add := func(role string, p Part) {
		p.Role = role
		parts = append(parts, p)
	}
	next := func() Part {
		image++
		return Part{Image: figure(t, r.Images[image-1])}
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
			switch c.Type {
			case "image":
				add(m.Role, next())
			case "audio":
				sound++
				add(m.Role, Part{Item: stretch(t, r.Sounds[sound-1])})
			default:
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

// figure loads a picture of the families' tests; NAME@WxH is its upper left part.
func figure(t *testing.T, name string) image.Image {
	t.Helper()
	file, size, part := strings.Cut(name, "@")
	img := loadImage(t, filepath.Join(familiesDir, "images", file))
	if !part {
		return img
	}
	var w, h int
	if _, err := fmt.Sscanf(size, "%dx%d", &w, &h); err != nil {
		t.Fatal(err)
	}
	cut := image.NewRGBA(image.Rect(0, 0, w, h))
	draw.Draw(cut, cut.Bounds(), img, img.Bounds().Min, draw.Src)
	return cut
}

// Decoder-only models in other tools' layouts write PyTorch's ids, one at a time and in a batch of
// unequal lengths.
func TestDecodersEqualTransformers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		model, variant string
	}{
		{model: "llama-optimum"}, {model: "llama-genai"}, {model: "llava-transformersjs"},
		{model: "idefics3-transformersjs"}, {model: "qwen2vl-transformersjs"},
		{model: "smolvlm-transformersjs"}, {model: "docling-transformersjs"}, {model: "qwen2_5vl-transformersjs"},
		{model: "paligemma-transformersjs"}, {model: "paligemma-transformersjs", variant: "q4f16"},
		{model: "gemma3-transformersjs"}, {model: "gemma3-transformersjs", variant: "q4f16"},
		{model: "qwen3vl-transformersjs"}, {model: "onevision-transformersjs"},
		{model: "moondream-transformersjs"}, {model: "mistral3-transformersjs"}, {model: "lfm2vl-transformersjs"},
		{model: "gemma3n-transformersjs"}, {model: "gemma3n-transformersjs", variant: "fp16"},
		{model: "gemma3n-transformersjs", variant: "quantized"}, {model: "gemma3n-transformersjs", variant: "q4"},
		{model: "gemma3n-transformersjs", variant: "q4f16"},
		{model: "fastvlm-transformersjs"}, {model: "janus-transformersjs"},
		{model: "qwen2_5vl-genai"}, {model: "gemma3-genai"}, {model: "phi3v-genai"},
		{model: "smolvlm-transformersjs", variant: "fp16"}, {model: "smolvlm-transformersjs", variant: "q4"},
		{model: "smolvlm-transformersjs", variant: "quantized"},
		{model: "smolvlm-transformersjs", variant: "q4f16"}, {model: "docling-transformersjs", variant: "q4f16"},
	} {
		// A variant is the same graphs in other types, which fallback and ort test.
		if c.variant != "" && !sweep.KeepsName(c.model+c.variant, 3) {
			continue
		}
		t.Run(fmt.Sprint(c.model, " ", c.variant), func(t *testing.T) {
			dir, g := filepath.Join(layoutsDir, c.model), loadDecoderGolden(t, c.model)
			for i, ids := range g.Variants[c.variant] {
				g.Rows[i].IDs = ids
			}
			if c.model == "phi3v-genai" {
				g.Rows = g.Rows[1:]
				if !sweep.Whole {
					g.Rows = g.Rows[:1]
				}
			}
			// Phi-3's 17 crops a picture are seen once, and the quantized graphs have one scale for the
			// whole batch: rows depend on their neighbours.
			batched := c.model != "phi3v-genai" && c.variant != "quantized"
			if c.variant != "" && !sweep.Whole {
				g.Rows, g.Length.IDs = g.Rows[:min(2, len(g.Rows))], nil
			}
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				ctx := context.Background()
				p, err := Open(ctx, dir, WithEngine(sharing(t, eng)), WithVariant(c.variant))
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				for i, row := range g.Rows {
					row.checkPixels(t, p, fmt.Sprint("row ", i))
					row.checkFeatures(t, p, fmt.Sprint("row ", i))
				}
				most := func(o *Generation) { o.MaxNewTokens = g.New }
				var requests []Request
				for i, row := range g.Rows {
					requests = append(requests, row.request(t))
					if batched && i > 0 && !sweep.Keeps(i, 4) {
						continue
					}
					got, err := p.Generate(ctx, requests[i:i+1], most)
					if err != nil {
						t.Fatalf("row %d: %v", i, err)
					}
					upTo(got[0][0], c.variant, row)
					sameIDs(t, fmt.Sprint("row ", i), got[0][0], row.IDs)
					if c.variant != "" || eng.Name() != "go" || row.InputIDs == nil {
						continue
					}
					inputs, err := p.Inputs(ctx, requests[i])
					if err != nil {
						t.Fatal(err)
					}
					if !slices.Equal(inputs.TokenIDs, row.InputIDs) {
						t.Errorf("row %d: prompt %v, want %v", i, inputs.TokenIDs, row.InputIDs)
					}
				}
				if !batched {
					return
				}
				got, err := p.Generate(ctx, requests, most)
				if err != nil {
					t.Fatal(err)
				}
				for i, row := range g.Rows {
					upTo(got[i][0], c.variant, row)
					sameIDs(t, fmt.Sprint("row of a batch ", i), got[i][0], row.IDs)
				}
				if g.Length.IDs != nil {
					length := func(o *Generation) { o.MaxNewTokens, o.MaxLength = 0, g.Length.MaxLength }
					one, err := p.Generate(ctx, requests[g.Length.Row:][:1], length)
					if err != nil {
						t.Fatal(err)
					}
					if got := one[0][0].IDs; !slices.Equal(got, g.Length.IDs) {
						t.Errorf("with max_length: %v, want %v", got, g.Length.IDs)
					}
				}
				short := func(o *Generation) { o.MaxNewTokens, o.MaxLength = 0, 3 }
				if _, err := p.Generate(ctx, requests[:1], short); !errors.Is(err, ErrPrompt) {
					t.Errorf("a prompt beyond max_length: %v", err)
				}
				beams := func(g *Generation) { g.MaxNewTokens, g.NumBeams = 4, 2 }
				if _, err := p.Generate(ctx, requests, beams); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// upTo cuts a text of a variant where its golden ids end: as far as no two logits are near.
func upTo(text *Text, variant string, row decoderRow) {
	if variant != "" {
		text.Tokens = text.Tokens[:min(len(row.IDs), len(text.Tokens))]
	}
}

// Phi-3-vision as transformers.js lays it out: the graphs of the package under other names.
func TestPhi3VTransformersJS(t *testing.T) {
	t.Parallel()
	fsys := only(t, filepath.Join(layoutsDir, "phi3v-genai"), "genai_config.json", "processor_config.json")
	for from, to := range map[string]string{
		"vision.onnx": "vision_encoder", "embedding.onnx": "prepare_inputs_embeds", "text.onnx": "model",
	} {
		fsys["onnx/"+to+".onnx"] = fsys[from]
		delete(fsys, from)
	}
	golden := loadDecoderGolden(t, "phi3v-genai")
	fsys["config.json"] = &fstest.MapFile{Data: []byte(`{"model_type": "phi3_v", "max_position_embeddings": 4096}`)}
	fsys["preprocessor_config.json"] = &fstest.MapFile{Data: []byte(
		`{"image_processor_type": "Phi3VImageProcessor", "num_crops": 16, "num_img_tokens": 144}`)}
	rows := golden.Rows[2:] // a picture's 17 crops are many
	if sweep.Whole {
		rows = golden.Rows
	}
	p, err := OpenFS(t.Context(), fsys, WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i, row := range rows {
		got, err := p.Generate(t.Context(), []Request{row.request(t)}, func(o *Generation) { o.MaxNewTokens = golden.New })
		if err != nil {
			t.Fatal(err)
		}
		sameIDs(t, fmt.Sprint("row ", i), got[0][0], row.IDs)
	}
}

// LFM2 is the language model of LFM2-VL: alone, in a batch and with beams its layers' states go along.
func TestLFM2(t *testing.T) {
	t.Parallel()
	fsys := only(t, filepath.Join(layoutsDir, "lfm2vl-transformersjs"), "onnx/vision_encoder.onnx", "preprocessor_config.json")
	var whole struct {
		Text json.RawMessage `json:"text_config"`
	}
	if err := json.Unmarshal(fsys["config.json"].Data, &whole); err != nil {
		t.Fatal(err)
	}
	fsys["config.json"].Data = whole.Text
	p, err := OpenFS(t.Context(), fsys, WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	g := loadDecoderGolden(t, "lfm2vl-transformersjs")
	row := g.Rows[len(g.Rows)-1]
	other := Request{Parts: []Part{{Role: "user", Text: "hi"}}}
	for _, requests := range [][]Request{{row.request(t)}, {other, row.request(t), other}} {
		got, err := p.Generate(t.Context(), requests, func(o *Generation) { o.MaxNewTokens = g.New })
		if err != nil {
			t.Fatal(err)
		}
		sameIDs(t, fmt.Sprint(len(requests)), got[len(requests)/2][0], row.IDs)
	}
	beams := func(o *Generation) { o.MaxNewTokens, o.NumBeams = 6, 3 }
	alone, err := p.Generate(t.Context(), []Request{row.request(t)}, beams)
	if err != nil {
		t.Fatal(err)
	}
	together, err := p.Generate(t.Context(), []Request{other, row.request(t)}, beams)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(alone[0][0].IDs, together[1][0].IDs) {
		t.Errorf("beams %v, in a batch %v", alone[0][0].IDs, together[1][0].IDs)
	}
}

// What hubs hold and is not there is refused by the name of its type, with what is.
func TestTypesRefused(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{
		"gemma4", "llava_next", "qwen3_5", "voxtral",
		"glm_ocr", "lighton_ocr", "ultravox",
	} {
		fsys := only(t, filepath.Join(layoutsDir, "llava-transformersjs"))
		fsys["config.json"].Data = fmt.Appendf(nil, `{"model_type": %q}`, kind)
		_, err := OpenFS(t.Context(), fsys, WithEngine(goEngine))
		checkRefusal(t, kind, err)
	}
	for _, kind := range []string{"phi4mm", "gemma4", "fara", "mistral3", "qwen3_5", "videochat_flash_qwen", "parakeet_tdt"} {
		fsys := only(t, filepath.Join(layoutsDir, "gemma3-genai"))
		config := fsys["genai_config.json"].Data
		fsys["genai_config.json"].Data = bytes.Replace(config, []byte(`"type": "gemma3"`), fmt.Appendf(nil, `"type": %q`, kind), 1)
		_, err := OpenFS(t.Context(), fsys, WithEngine(goEngine))
		checkRefusal(t, kind, err)
	}
}

func checkRefusal(t *testing.T, kind string, err error) {
	t.Helper()
	for _, text := range []string{fmt.Sprintf("model_type %q is not supported", kind), "supported are", "qwen2_5_vl", "smolvlm"} {
		if !errors.Is(err, ErrBundle) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %s", kind, err, text)
		}
	}
}

// Model types that share a layout write what the type does whose folder they lie in.
func TestTypesOfOneLayout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ model, own, other string }{
		{"llava-transformersjs", "llava", "llava_qwen2"},
	} {
		t.Run(c.other, func(t *testing.T) {
			t.Parallel()
			fsys := only(t, filepath.Join(layoutsDir, c.model))
			own := fmt.Appendf(nil, `"model_type": %q`, c.own)
			config := fsys["config.json"].Data
			at := bytes.LastIndex(config, own) // that of the whole; sections come before it
			if at < 0 {
				t.Fatalf("config.json has no %s", own)
			}
			other := fmt.Appendf(nil, `"model_type": %q`, c.other)
			fsys["config.json"].Data = slices.Concat(config[:at], other, config[at+len(own):])
			p, err := OpenFS(t.Context(), fsys, WithEngine(goEngine))
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			for i, row := range loadDecoderGolden(t, c.model).Rows {
				got, err := p.Generate(t.Context(), []Request{row.request(t)}, func(g *Generation) { g.MaxNewTokens = 12 })
				if err != nil {
					t.Fatal(err)
				}
				sameIDs(t, fmt.Sprint("row ", i), got[0][0], row.IDs)
			}
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

// genai_config.json may name inputs and outputs otherwise, and leave the cache's sizes to itself.
func TestGenAINames(t *testing.T) {
	t.Parallel()
	fsys := only(t, filepath.Join(layoutsDir, "llama-genai"), "chat_template.jinja", "tokenizer_config.json")
	model := &pb.ModelProto{}
	if err := proto.Unmarshal(fsys["model.onnx"].Data, model); err != nil {
		t.Fatal(err)
	}
	other := strings.NewReplacer(
		"past_key_values.", "old_", ".key", "_k", ".value", "_v", "present.", "new_", "logits", "scores",
		"input_ids", "tokens", "attention_mask", "seen")
	rename := func(names []string) {
		for i := range names {
			if strings.HasPrefix(names[i], "present.") || strings.HasPrefix(names[i], "past_key_values.") ||
				slices.Contains([]string{"logits", "input_ids", "attention_mask"}, names[i]) {
				names[i] = other.Replace(names[i])
			}
		}
	}
	for _, n := range model.Graph.Node {
		rename(n.Input)
		rename(n.Output)
	}
	for _, v := range slices.Concat(model.Graph.Input, model.Graph.Output) {
		names := []string{*v.Name}
		rename(names)
		v.Name = &names[0]
		if dims := v.Type.GetTensorType().Shape.Dim; len(dims) == 4 {
			for _, i := range []int{1, 3} {
				dims[i].Value = &pb.TensorShapeProto_Dimension_DimParam{DimParam: "any"}
			}
		}
	}
	var err error
	if fsys["model.onnx"].Data, err = proto.Marshal(model); err != nil {
		t.Fatal(err)
	}
	config := fsys["genai_config.json"].Data
	for _, name := range []string{
		"past_key_values.%d.key", "past_key_values.%d.value", "present.%d.key", "present.%d.value", `: "logits"`,
		`: "input_ids"`, `: "attention_mask"`,
	} {
		if !bytes.Contains(config, []byte(name)) {
			t.Fatalf("genai_config.json has no %s", name)
		}
		config = bytes.ReplaceAll(config, []byte(name), []byte(other.Replace(name)))
	}
	fsys["genai_config.json"].Data = config
	g := loadDecoderGolden(t, "llama-genai")
	p, err := OpenFS(t.Context(), fsys, WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	for i, row := range g.Rows {
		if row.Messages != nil {
			continue // the template is not there
		}
		got, err := p.Generate(t.Context(), []Request{{Prompt: row.Prompt}}, func(g *Generation) { g.MaxNewTokens = 12 })
		if err != nil {
			t.Fatal(err)
		}
		sameIDs(t, fmt.Sprint("row ", i), got[0][0], row.IDs)
	}
	talk := Request{Parts: []Part{{Text: "hi", Role: "user"}}}
	if _, err := p.Generate(t.Context(), []Request{talk}); !errors.Is(err, ErrUnsupported) {
		t.Errorf("a conversation without a template: %v", err)
	}
}

// Places for pictures that do not fit the pictures are an error with both numbers; a prompt may have
// a place for each row.
func TestPlacesInPrompt(t *testing.T) {
	t.Parallel()
	p, err := Open(t.Context(), filepath.Join(layoutsDir, "llava-transformersjs"), WithEngine(goEngine))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	img := loadImage(t, filepath.Join(familiesDir, "images", "figure0.png"))
	few := func(g *Generation) { g.MaxNewTokens = 12 }
	write := func(prompt string) ([][]*Text, error) {
		return p.Generate(t.Context(), []Request{{Image: img, Prompt: prompt}}, few)
	}
	want := loadDecoderGolden(t, "llava-transformersjs")
	last := want.Rows[len(want.Rows)-1]
	for _, prompt := range []string{last.Prompt, last.Text, strings.Repeat("<image>", 16) + "\na photo of", "a photo of"} {
		got, err := write(prompt)
		if err != nil {
			t.Fatal(err)
		}
		sameIDs(t, prompt, got[0][0], last.IDs)
	}
	for prompt, wrong := range map[string]string{
		"<image><image> x":            `"<image>" 2 times, for 1 pictures of 16 rows`,
		strings.Repeat("<image>", 15): "15 times, for 1 pictures of 16 rows",
		strings.Repeat("<image>", 17): "17 times",
	} {
		if _, err := write(prompt); !errors.Is(err, ErrPrompt) || !strings.Contains(err.Error(), wrong) {
			t.Errorf("%q: %v, want %s", prompt, err, wrong)
		}
	}
	mixed := Request{Parts: []Part{{Text: "hi", Role: "user"}, {Text: "x"}}}
	if _, err := p.Generate(t.Context(), []Request{mixed}); !errors.Is(err, ErrPrompt) {
		t.Errorf("parts with and without a role: %v", err)
	}
}

// Files of other types write what their own weights give: float16 ones PyTorch's ids, for the weights
// are exact in it; those of 4 bits the same on both engines.
func TestDecoderVariants(t *testing.T) {
	t.Parallel()
	g := loadDecoderGolden(t, "llama-optimum")
	var requests []Request
	for _, row := range g.Rows {
		requests = append(requests, row.request(t))
	}
	write := func(eng engine.Engine, variant string) [][]*Text {
		p, err := Open(t.Context(), filepath.Join(layoutsDir, "llama-optimum"), WithEngine(sharing(t, eng)), WithVariant(variant))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		texts, err := p.Generate(t.Context(), requests, func(g *Generation) { g.MaxNewTokens = 12 })
		if err != nil {
			t.Fatal(err)
		}
		return texts
	}
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		for i, texts := range write(eng, "fp16") {
			sameIDs(t, fmt.Sprint("fp16, row ", i), texts[0], g.Rows[i].IDs)
		}
	})
	var first [][]*Text
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		texts := write(eng, "q4")
		if first == nil {
			first = texts
		}
		for i := range texts {
			var want []int64
			for _, token := range first[i][0].Tokens {
				want = append(want, token.ID)
			}
			sameIDs(t, fmt.Sprint("q4, row ", i), texts[i][0], want)
		}
	})
}
