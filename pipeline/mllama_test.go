package pipeline

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/tensor"
)

// mllamaGolden is what golden.json of mllama has beside the keys of all families.
type mllamaGolden struct {
	*golden
	TextOnly struct {
		Text     string  `json:"text"`
		InputIDs []int64 `json:"input_ids"`
		IDs      []int64 `json:"ids"`
	} `json:"text_only"`
	Chat struct {
		Messages []struct {
			Role    string `json:"role"`
			Content []struct {
				Type, Text string
			} `json:"content"`
		} `json:"messages"`
		Images   []string `json:"images"`
		Text     string   `json:"text"`
		InputIDs []int64  `json:"input_ids"`
		IDs      []int64  `json:"ids"`
	} `json:"chat"`
}

func loadMllama(t *testing.T) *mllamaGolden {
	t.Helper()
	g := &mllamaGolden{golden: loadGolden(t, "mllama")}
	data, err := os.ReadFile(filepath.Join(g.dir, "golden.json"))
	if err == nil {
		err = json.Unmarshal(data, g)
	}
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// The tiles, the arrangement's id and the mask are MllamaImageProcessor's, the states the model's.
func TestMllamaPictures(t *testing.T) {
	t.Parallel()
	g := loadMllama(t)
	p := sharedGolden(t, g.golden, goEngine)
	var items []media.Item
	for _, name := range []string{"figure0.png", "figure1.png", "figure2.png"} {
		items = append(items, media.Picture{Image: figure(t, name)})
	}
	prepared, err := p.prepare(t.Context(), items)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, "pixel_values", prepared.Tensors["pixel_values"], g.array(t, "pixel_values"), 1e-6)
	for _, name := range []string{"aspect_ratio_ids", "aspect_ratio_mask"} {
		got, want := tensor.Data[int64](prepared.Tensors[name]), tensor.Data[int64](g.array(t, name))
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	encoded, err := p.model.(family.Writer).Encode(t.Context(), prepared)
	if err != nil {
		t.Fatal(err)
	}
	want := g.array(t, "image_embeds")
	for i, e := range encoded {
		row, err := want.Slice(i, i+1)
		if err != nil {
			t.Fatal(err)
		}
		compare(t, "image_embeds", e.States, row, 1e-4)
	}
}

// The logits at every position of a prompt are transformers', those before the first picture, too.
func TestMllamaPromptLogits(t *testing.T) {
	t.Parallel()
	g := loadMllama(t)
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		got := promptLogits(t, openGolden(t, g.golden, &capture{Engine: sharing(t, eng)}), g.requests(t, nil)[1])
		want := g.array(t, "prompt_logits")
		compare(t, "prompt_logits", tensor.Must(got.Reshape(want.Shape()...)), want, 1e-4)
	})
}

// A text without a picture is written on, alone and in a batch with prompts that have some.
func TestMllamaWithoutPicture(t *testing.T) {
	t.Parallel()
	g := loadMllama(t)
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		p := sharedGolden(t, g.golden, eng)
		text := Request{Parts: []Part{{Text: g.TextOnly.Text}}}
		alone, err := p.Generate(t.Context(), []Request{text}, unbounded(20))
		if err != nil {
			t.Fatal(err)
		}
		sameIDs(t, "alone", alone[0][0], g.TextOnly.IDs)
		mixed, err := p.Generate(t.Context(), append(g.requests(t, p), text), unbounded(20))
		if err != nil {
			t.Fatal(err)
		}
		sameIDs(t, "beside pictures", mixed[3][0], g.TextOnly.IDs)
		sameIDs(t, "a picture beside a text", mixed[0][0], g.Greedy.IDs[0])
	})
}

// A conversation about two pictures is laid out by the chat template, and a question is one of a
// single turn.
func TestMllamaChat(t *testing.T) {
	t.Parallel()
	g := loadMllama(t)
	p := sharedGolden(t, g.golden, goEngine)
	var messages []Message
	pictures := g.Chat.Images
	for _, m := range g.Chat.Messages {
		said := Message{Role: m.Role}
		for _, c := range m.Content {
			if c.Type == "image" {
				img := loadImage(t, filepath.Join(g.dir, pictures[0]))
				said.Items, pictures = append(said.Items, media.Picture{Image: img}), pictures[1:]
			}
			said.Text += c.Text
		}
		messages = append(messages, said)
	}
	got, err := p.Generate(t.Context(), []Request{{Messages: messages}}, unbounded(20))
	if err != nil {
		t.Fatal(err)
	}
	sameIDs(t, "conversation", got[0][0], g.Chat.IDs)
	prompts, err := p.prompts([]Request{{Messages: messages}, {Image: figure(t, "figure0.png"), Question: "what?"}})
	if err != nil {
		t.Fatal(err)
	}
	segments, err := p.compose(t.Context(), p.model.(family.Writer), prompts, new(Stats))
	if err != nil {
		t.Fatal(err)
	}
	if s := segments[0][0]; s.Text != g.Chat.Text || !slices.Equal(s.IDs, g.Chat.InputIDs) {
		t.Errorf("%q %v, want %q %v", s.Text, s.IDs, g.Chat.Text, g.Chat.InputIDs)
	}
	const head = "<|start_header_id|>user<|end_header_id|>\n\n"
	want := "<|begin_of_text|>" + head + "<|image|>what?<|eot_id|>" + strings.Replace(head, "user", "assistant", 1)
	if got := segments[1][0].Text; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
