package family

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/attend"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// Flamingo names the family of OpenFlamingo and IDEFICS.
const Flamingo models.Family = "flamingo"

var flamingoRow = Family{
	Name: Flamingo,
	Layouts: []models.Layout{{
		Type: "idefics", Family: Flamingo, Optional: []string{graph.Resampler},
		Forms: [][]string{{
			graph.VisionEncoder, graph.EmbedTokens, graph.CrossKV, graph.Decoder,
			models.ManifestName, // it alone has the markup of prompts
		}},
	}},
	Open: openFlamingo,
}

// flamingo is a model of Flamingo (Alayrac et al., 2204.14198), as OpenFlamingo and IDEFICS build
// it: text with pictures in between, and gated cross-attention inside the language model, in which
// each token attends to the picture last named before it, and to none before the first.
type flamingo struct {
	onePicture // for its kinds of media; a prompt has any number of pictures
	vision     *graph.Graph
	resampler  *graph.Graph    // nil where the decoder reads the patches
	cross      *decode.CrossKV // latents -> keys and values, once for all steps
	decoder    *decode.Decoder
	texts      Texts
	markup     markup
	media      int64 // the id that stands for a picture
	reset      bool  // after an end of text, attend to no picture until the next
	eos        []int64
	encoding   []tokenize.Option
	// crossLayers are the numbers of the layers with a gated block before them; nil where the
	// bundle does not say.
	crossLayers []int
}

// markup is the text around a prompt's parts, from xpipe.json.
type markup struct {
	Begin         string `json:"begin"`
	Image         string `json:"image"`
	NextImage     string `json:"next_image"` // for a picture right behind another
	End           string `json:"end"`        // closes an example
	SpecialTokens bool   `json:"add_special_tokens"`
}

// latents is the resampler's output and cross_kv's input, [B,L,Dv].
const latents = "latents"

func openFlamingo(o *graph.Opener, c *Config) (Model, error) {
	m := &flamingo{texts: c.Texts, eos: c.Options.EOS}
	var manifest struct {
		Markup markup `json:"markup"`
		Media  struct {
			Token         string `json:"token"`
			ResetAfterEOS bool   `json:"reset_after_eos"`
		} `json:"media"`
		CrossLayers []int `json:"cross_layers"`
	}
	if err := o.Bundle.JSON(models.ManifestName, &manifest); err != nil {
		return nil, err
	}
	m.markup, m.reset = manifest.Markup, manifest.Media.ResetAfterEOS
	m.crossLayers = manifest.CrossLayers
	if !m.markup.SpecialTokens {
		m.encoding = append(m.encoding, tokenize.WithoutSpecialTokens())
	}
	var ok bool
	if m.media, ok = c.Texts.TokenToID(manifest.Media.Token); !ok {
		return nil, fmt.Errorf("%w: tokenizer.json has no token %q, which %s puts for pictures",
			graph.ErrBundle, manifest.Media.Token, models.ManifestName)
	}
	var err error
	if m.vision, err = o.Open(graph.VisionEncoder); err != nil {
		return nil, err
	}
	if m.resampler, err = o.OpenIfThere(graph.Resampler); err != nil {
		return nil, err
	}
	if m.cross, err = decode.OpenCrossKV(o, graph.CrossKV); err != nil {
		return nil, err
	}
	m.decoder, err = decode.Open(o)
	return m, err
}

// ExampleEnd closes an example of a few-shot prompt.
func (m *flamingo) ExampleEnd() string { return m.markup.End }

// Encode returns each picture's latents [1,L,Dv].
func (m *flamingo) Encode(ctx context.Context, prepared media.Prepared) ([]Encoded, error) {
	states, err := m.vision.RunPrepared(ctx, prepared.Tensors, graph.ImageEmbeds,
		prepared.Items(), -1, -1)
	if err == nil && m.resampler != nil {
		in := map[string]*tensor.Tensor{graph.ImageEmbeds: states}
		states, err = m.resampler.RunOne(ctx, in, latents, prepared.Items(), -1, -1)
	}
	return encodeEach(states, err)
}

// Compose returns the text, with a token in each picture's place, and then the pictures' latents
// for cross-attention.
func (m *flamingo) Compose(parts []Part, encoded []Encoded) ([]Segment, error) {
	text := m.Write(parts)
	ids, err := m.texts.Read(text, m.encoding...)
	if err != nil {
		return nil, err
	}
	if len(ids) == 0 {
		return nil, fmt.Errorf("%w: the prompt is empty", graph.ErrPrompt)
	}
	if named := countID(ids, m.media); named != len(encoded) {
		return nil, fmt.Errorf("%w: the prompt names %d pictures and %d are given",
			graph.ErrPrompt, named, len(encoded))
	}
	segments := []Segment{{Text: text, IDs: ids}}
	for i, e := range encoded {
		segments = append(segments, Segment{Embeds: e.States, Keys: e.Keys, Media: i})
	}
	return segments, nil
}

// Write returns the prompt with markup in the place of pictures.
func (m *flamingo) Write(parts []Part) string {
	var b strings.Builder
	b.WriteString(m.markup.Begin)
	for i, part := range parts {
		switch {
		case part.Item == nil:
			b.WriteString(strings.Trim(part.Text, " "))
		case i > 0 && parts[i-1].Item != nil:
			b.WriteString(m.markup.NextImage)
		default:
			b.WriteString(m.markup.Image)
		}
	}
	return b.String()
}

func (m *flamingo) Begin(ctx context.Context, prompts [][]Segment) (decode.Sequences, error) {
	ids := textIDs(prompts)
	embeds, width, err := m.decoder.Embed(ctx, ids...)
	if err != nil {
		return nil, err
	}
	// A prompt without pictures gets one of zeros, which its mask hides.
	start := decode.Start{Width: width, Media: 1}
	for i, p := range prompts {
		start.Media = max(start.Media, len(p)-1)
		start.Prompts = append(start.Prompts, decode.Prompt{
			IDs: ids[i], Embeds: embeds[i : i+1], Media: mediaOf(ids[i], m.media, m.eos, m.reset),
		})
	}
	if start.Fixed, err = m.keysAndValues(ctx, prompts, start.Media); err != nil {
		return nil, err
	}
	return m.decoder.Begin(start)
}

// keysAndValues runs cross_kv over the latents of each prompt's pictures, side by side:
// [B,most*L,Dv], with zeros for missing pictures, unless all of it was made ahead.
func (m *flamingo) keysAndValues(
	ctx context.Context, prompts [][]Segment, most int,
) (map[string]*tensor.Tensor, error) {
	if made, err := keysOf(prompts, most); made != nil || err != nil {
		return made, err
	}
	var length, width int
	for _, p := range prompts {
		for _, picture := range p[1:] {
			length, width = picture.Embeds.Dim(1), picture.Embeds.Dim(2)
		}
	}
	all, err := sideBySide(prompts, most, length, width)
	if err != nil {
		return nil, err
	}
	return m.cross.Run(ctx, map[string]*tensor.Tensor{latents: all}, nil)
}

// sideBySide joins the states of each prompt's pictures, most of them at most, of length rows each:
// [B,most*length,width], with zeros for missing pictures.
func sideBySide(prompts [][]Segment, most, length, width int) (*tensor.Tensor, error) {
	each := length * width
	side := make([]float32, len(prompts)*most*each)
	for i, p := range prompts {
		for j, picture := range p[1:] {
			values, err := tensor.Values[float32](picture.Embeds)
			if err != nil {
				return nil, err
			}
			copy(side[(i*most+j)*each:][:each], values)
		}
	}
	return tensor.New([]int{len(prompts), most * length, width}, side)
}

// mediaOf returns, for each position of a prompt, which of its pictures the token there attends to:
// the last one named at or before it, -1 for none. With reset, an end of text hides the pictures
// before it from what follows.
//
// This is Flamingo's media mask (2204.14198, section 3.1.2; text_time and media_time of
// open_flamingo/src/helpers.py; IDEFICS's image_attention_mask_for_packed_input_ids).
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

func (m *flamingo) StartsAfresh() bool { return false }

func (m *flamingo) Watched() []string {
	if m.resampler != nil {
		return []string{graph.Resampler, graph.Decoder}
	}
	return []string{graph.Decoder}
}

// Attend leads from a token through gated cross-attention to the latents of the last picture, and
// from a latent through the resampler to the patches. Without a resampler the patches are the
// latents.
func (m *flamingo) Attend(ctx context.Context, a *attend.Attention, w *attend.Watch) error {
	runs := w.Runs(graph.Decoder)
	cross := runs[0].Kind(attend.CrossAttention)
	if len(cross) == 0 {
		return fmt.Errorf("%w: the decoder shows no cross-attention", graph.ErrUnsupported)
	}
	images := runs[0].In[graph.ImageAttentionMask].Dim(2)
	each := cross[0].Dim(3) / images // latents of a picture
	shown := tensor.Data[int64](runs[0].In[graph.ImageAttentionMask])
	last := -1 // the picture that the new tokens attend to
	for i := range images {
		if shown[len(shown)-images+i] != 0 {
			last = i
		}
	}
	if last < 0 {
		return fmt.Errorf("%w: the prompt shows no picture", graph.ErrPrompt)
	}
	name := "tokens over latents"
	if m.resampler == nil {
		name = "tokens over patches"
	}
	tokens, first := len(a.Tokens), last*each
	words, err := attend.StepsOf(name, runs, attend.CrossAttention, tokens, first, each)
	if err != nil {
		return err
	}
	words.Rollout, err = attend.GatedRollout(ctx, runs, tokens, first, each, m.crossLayers)
	if err != nil {
		return err
	}
	a.Stages = []attend.Stage{words}
	if m.resampler == nil {
		return nil
	}
	q := &w.Runs(graph.Resampler)[0]
	if len(q.Layers) == 0 {
		return fmt.Errorf("%w: the resampler shows no attention", graph.ErrUnsupported)
	}
	if last >= len(w.Pictures) {
		return fmt.Errorf("%w: the prompt shows %d pictures, the decoder's mask %d",
			graph.ErrBundle, len(w.Pictures), images)
	}
	patches := q.In[graph.ImageEmbeds].Dim(1)
	row := w.Pictures[last] // of the batch, which has each picture once
	read := make([]attend.Layer, len(q.Layers))
	for i, t := range q.Layers {
		if read[i] = t; t.Dim(0) > row {
			if read[i].Tensor, err = t.Slice(row, row+1); err != nil {
				return err
			}
		}
	}
	look, err := attend.StageOf("latents over patches", read, 0, each, 0, patches)
	if err != nil {
		return err
	}
	if look.Rollout, err = attend.QueryRollout(ctx, nil, read, each, patches); err != nil {
		return err
	}
	a.Stages = append(a.Stages, look)
	return nil
}
