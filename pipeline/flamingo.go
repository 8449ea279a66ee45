package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// flamingo is the way of Flamingo (Alayrac et al., 2204.14198), as OpenFlamingo
// and IDEFICS build it: text with pictures in between, and gated cross-attention
// inside the language model, in which each token attends to the picture last
// named before it, and to none before the first.
type flamingo struct {
	*graphOpener
	vision    engine.Session
	resampler engine.Session // nil where the decoder reads the patches themselves
	cross     engine.Session // latents -> keys and values, once for all steps
	outputs   []string       // of cross
	decoder   *decoder
	tokenizer *tokenize.Tokenizer
	markup    markup
	media     int64 // the id that stands for a picture
	reset     bool  // after an end of text, attend to no picture until the next
	eos       []int64
	encoding  []tokenize.Option
}

// markup is how prompts are written, from xpipe.json.
type markup struct {
	Begin         string `json:"begin"`
	Image         string `json:"image"`
	NextImage     string `json:"next_image"` // for a picture right behind another
	End           string `json:"end"`        // closes an example
	SpecialTokens bool   `json:"add_special_tokens"`
}

func openFlamingo(graphs *graphOpener, tokenizer *tokenize.Tokenizer, defaults Generation) (*flamingo, error) {
	m := &flamingo{graphOpener: graphs, tokenizer: tokenizer, eos: defaults.EOS}
	var manifest struct {
		Markup markup `json:"markup"`
		Media  struct {
			Token         string `json:"token"`
			ResetAfterEOS bool   `json:"reset_after_eos"`
		} `json:"media"`
	}
	if err := graphs.bundle.JSON(models.ManifestName, &manifest); err != nil {
		return nil, err
	}
	m.markup, m.reset = manifest.Markup, manifest.Media.ResetAfterEOS
	if !m.markup.SpecialTokens {
		m.encoding = append(m.encoding, tokenize.WithoutSpecialTokens())
	}
	var ok bool
	if m.media, ok = tokenizer.TokenToID(manifest.Media.Token); !ok {
		return nil, fmt.Errorf("%w: tokenizer.json has no token %q, which %s puts for pictures", ErrBundle, manifest.Media.Token, models.ManifestName)
	}
	var err error
	if m.vision, err = graphs.open("vision_encoder"); err != nil {
		return nil, err
	}
	if graphs.bundle.Has("resampler") {
		if m.resampler, err = graphs.open("resampler"); err != nil {
			return nil, err
		}
	}
	if m.cross, err = graphs.open("cross_kv"); err != nil {
		return nil, err
	}
	if m.outputs, err = crossOutputs(m.cross); err != nil {
		return nil, err
	}
	m.decoder, err = newDecoder(graphs)
	return m, err
}

// compose writes a prompt of text and pictures.
func (m *flamingo) compose(parts []Part) string {
	var b strings.Builder
	b.WriteString(m.markup.Begin)
	for i, part := range parts {
		switch {
		case part.Image == nil:
			b.WriteString(strings.Trim(part.Text, " "))
		case i > 0 && parts[i-1].Image != nil:
			b.WriteString(m.markup.NextImage)
		default:
			b.WriteString(m.markup.Image)
		}
	}
	return b.String()
}

// end closes an example of a few-shot prompt.
func (m *flamingo) end() string { return m.markup.End }

// encode returns each picture's latents [N,L,Dv].
func (m *flamingo) encode(ctx context.Context, pixels *tensor.Tensor) (*tensor.Tensor, error) {
	embeds, err := runVision(ctx, m.vision, pixels, "image_embeds", pixels.Dim(0), -1, -1)
	if err == nil && m.resampler != nil {
		embeds, err = runOne(ctx, m.resampler, map[string]*tensor.Tensor{"image_embeds": embeds}, "latents", pixels.Dim(0), -1, -1)
	}
	return embeds, err
}

func (m *flamingo) begin(ctx context.Context, latents *tensor.Tensor, which [][]int, prompts []string) (languageModel, error) {
	most := 1 // a prompt without pictures sees one that its mask hides
	for _, images := range which {
		most = max(most, len(images))
	}
	rows := make([]prompt, len(prompts))
	width := 0
	for i, text := range prompts {
		encoding, err := m.readText(m.tokenizer, text, m.encoding...)
		if err != nil {
			return nil, err
		}
		if len(encoding.IDs) == 0 {
			return nil, fmt.Errorf("%w: prompt %d is empty", ErrPrompt, i+1)
		}
		rows[i] = prompt{ids: encoding.IDs, media: mediaOf(encoding.IDs, m.media, m.eos, m.reset)}
		if named := countID(encoding.IDs, m.media); named != len(which[i]) {
			return nil, fmt.Errorf("%w: prompt %d names %d pictures and %d are given", ErrPrompt, i+1, named, len(which[i]))
		}
		if rows[i].embeds, err = m.decoder.embedText(ctx, encoding.IDs); err != nil {
			return nil, err
		}
		width = len(rows[i].embeds) / len(encoding.IDs)
	}
	shows(ctx, which[0])
	fixed, err := m.keysAndValues(ctx, latents, which, most)
	if err != nil {
		return nil, err
	}
	s, err := m.decoder.begin(rows, width, fixed)
	if err == nil {
		s.images = most
	}
	return s, err
}

// keysAndValues runs cross_kv over the latents of each prompt's pictures, side
// by side: [B,most*L,Dv]. Places without a picture are zeros.
func (m *flamingo) keysAndValues(ctx context.Context, latents *tensor.Tensor, which [][]int, most int) (map[string]*tensor.Tensor, error) {
	values, err := tensor.Values[float32](latents)
	if err != nil {
		return nil, err
	}
	length, width := latents.Dim(1), latents.Dim(2)
	each := length * width
	side := make([]float32, len(which)*most*each)
	for i, images := range which {
		for j, image := range images {
			copy(side[(i*most+j)*each:], values[image*each:(image+1)*each])
		}
	}
	in, err := tensor.New([]int{len(which), most * length, width}, side)
	if err != nil {
		return nil, err
	}
	out, err := m.cross.Run(ctx, map[string]*tensor.Tensor{"latents": in}, m.outputs...)
	if err != nil {
		return nil, err
	}
	return asPast(out), nil
}

// mediaOf returns, for each position of a prompt, which of its pictures the
// token there attends to: the last one named at or before it, -1 for none. With
// reset, an end of text hides the pictures before it from what follows.
//
// This is Flamingo's media mask (2204.14198, section 3.1.2; text_time and
// media_time of open_flamingo/src/helpers.py; IDEFICS's
// image_attention_mask_for_packed_input_ids).
func mediaOf(ids []int64, media int64, eos []int64, reset bool) []int {
	at := make([]int, len(ids))
	last, hidden := -1, false
	for i, id := range ids {
		if id == media {
			last++
			hidden = false
		}
		if at[i] = last; hidden {
			at[i] = -1
		}
		if reset && slices.Contains(eos, id) {
			hidden = true
		}
	}
	return at
}

func countID(ids []int64, id int64) int {
	n := 0
	for _, v := range ids {
		if v == id {
			n++
		}
	}
	return n
}

func (m *flamingo) startsAfresh() bool { return false }
