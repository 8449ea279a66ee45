package family

import (
	"context"
	"fmt"
	"strings"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// Mllama names the family of Llama 3.2 Vision.
const Mllama models.Family = "mllama"

var mllamaRow = Family{
	Name: Mllama,
	Layouts: []models.Layout{{
		Type: "mllama", Family: Mllama,
		Forms: [][]string{{
			graph.VisionEncoder, graph.EmbedTokens, graph.CrossKV, graph.Decoder,
			models.ManifestName, // it alone says how many tiles there are
		}},
	}},
	Open: openMllama,
}

// mllama is Llama 3.2 Vision (The Llama 3 Herd of Models, 2407.21783, section 7): a language model
// with gated cross-attention layers, which read pictures in up to four tiles. A token attends to the
// pictures last named before it.
type mllama struct {
	chatter
	onePicture
	vision  *graph.Graph
	cross   *decode.CrossKV
	decoder *decode.Decoder
	image   int64 // the id that stands for a picture
	tiles   int   // of a picture, those that it lacks included
	perTile int   // rows of a tile's states
}

// maxTiles and maxTileTokens bound what a manifest may have allocated, far above any model.
const maxTiles, maxTileTokens = 256, 1 << 16

func openMllama(o *graph.Opener, c *Config) (Model, error) {
	m := &mllama{}
	var manifest struct {
		Tiles   int   `json:"tiles"`
		PerTile int   `json:"tokens_per_tile"`
		Image   int64 `json:"image_token_id"`
	}
	err := o.Bundle.JSON(models.ManifestName, &manifest)
	if err != nil {
		return nil, err
	}
	m.tiles, m.perTile, m.image = manifest.Tiles, manifest.PerTile, manifest.Image
	if m.tiles < 1 || m.perTile < 1 || m.tiles > maxTiles || m.perTile > maxTileTokens {
		return nil, fmt.Errorf("%w: %s: %d tiles of %d tokens", graph.ErrBundle,
			models.ManifestName, m.tiles, m.perTile)
	}
	if m.chatter, err = newChatter(o.Bundle, c.Texts); err != nil {
		return nil, err
	}
	var ok bool
	if m.placeholder, ok = c.Texts.IDToToken(m.image); !ok {
		return nil, fmt.Errorf("%w: tokenizer.json has no token %d, which %s puts for pictures",
			graph.ErrBundle, m.image, models.ManifestName)
	}
	m.around = "%s"
	if m.vision, err = o.Open(graph.VisionEncoder); err != nil {
		return nil, err
	}
	if m.cross, err = decode.OpenCrossKV(o, graph.CrossKV); err != nil {
		return nil, err
	}
	m.decoder, err = decode.Open(o)
	return m, err
}

// Encode returns the states [1,tiles*P,D] of each picture's tiles. Pictures are encoded one by one:
// the encoder's attention takes memory with the square of all tiles' patches.
func (m *mllama) Encode(ctx context.Context, prepared media.Prepared) ([]Encoded, error) {
	encoded := make([]Encoded, prepared.Items())
	for i := range encoded {
		one, err := prepared.Item(i)
		if err != nil {
			return nil, err
		}
		if len(one.Grids) != 1 {
			return nil, fmt.Errorf("%w: preprocessor_config.json makes no tiles: an "+
				"MllamaImageProcessor is needed", graph.ErrBundle)
		}
		states, err := m.vision.RunPrepared(ctx, one.Tensors, graph.ImageEmbeds, 1, m.tiles*m.perTile, -1)
		if err != nil {
			return nil, err
		}
		grid := one.Grids[0]
		encoded[i] = Encoded{States: states, Grid: grid, Tiles: grid.X * grid.Y}
	}
	return encoded, nil
}

// Compose returns the text, with a token in each picture's place, and then the pictures' states for
// cross-attention.
func (m *mllama) Compose(parts []Part, encoded []Encoded) ([]Segment, error) {
	prompt, err := m.Write(parts)
	if err != nil {
		return nil, err
	}
	prompt = m.begun(prompt)
	ids, err := m.read(prompt, templated(parts), true)
	if err != nil {
		return nil, err
	}
	if named := countID(ids, m.image); named != len(encoded) {
		return nil, fmt.Errorf("%w: the prompt names %d pictures (%s) and %d are given",
			graph.ErrPrompt, named, m.placeholder, len(encoded))
	}
	return withPictures(prompt, ids, encoded), nil
}

// begun sets the token that begins texts into a prompt without it, behind pictures that the prompt
// begins with (build_string_from_input of processing_mllama.py, transformers 4.57.6).
func (m *mllama) begun(prompt string) string {
	if m.begin == "" || strings.Contains(prompt, m.begin) {
		return prompt
	}
	text := prompt
	for strings.HasPrefix(text, m.placeholder) {
		text = text[len(m.placeholder):]
	}
	return prompt[:len(prompt)-len(text)] + m.begin + text
}

func (m *mllama) Begin(ctx context.Context, prompts [][]Segment) (decode.Sequences, error) {
	ids := textIDs(prompts)
	embeds, width, err := m.decoder.Embed(ctx, ids...)
	if err != nil {
		return nil, err
	}
	most := 0
	for _, p := range prompts {
		most = max(most, len(p)-1)
		for _, picture := range p[1:] {
			if wide := picture.Embeds.Dim(2); wide != width {
				return nil, fmt.Errorf("%w: a picture's states are %d wide, the text's embeddings %d",
					graph.ErrBundle, wide, width)
			}
		}
	}
	// Texts alone get one tile of zeros, which no token reads.
	start := decode.Start{Width: width, Media: max(most*m.tiles, 1)}
	for i, p := range prompts {
		prompt := decode.Prompt{IDs: ids[i], Embeds: embeds[i : i+1]}
		prompt.Media, prompt.Views = m.views(ids[i], p[1:])
		start.Prompts = append(start.Prompts, prompt)
	}
	length := m.tiles * m.perTile
	if most == 0 {
		most, length = 1, m.perTile
	}
	if start.Fixed, err = keysOf(prompts, most); err != nil {
		return nil, err
	}
	if start.Fixed == nil {
		states, err := sideBySide(prompts, most, length, width)
		if err != nil {
			return nil, err
		}
		if start.Fixed, err = m.cross.Run(ctx, map[string]*tensor.Tensor{latents: states}, nil); err != nil {
			return nil, err
		}
	}
	return m.decoder.Begin(start)
}

// views returns what each position of a prompt reads: the pictures last named at or before it, those
// of one group, of which neighbours are named right behind one another
// (get_cross_attention_token_mask of processing_mllama.py). A position before the first reads every
// tile of the prompt with its gate shut: transformers' mask has no 1 there, and so hides nothing.
func (m *mllama) views(ids []int64, pictures []Segment) (at []int, views []decode.View) {
	at = make([]int, len(ids))
	if len(pictures) == 0 {
		for i := range at {
			at[i] = -1
		}
		return at, nil
	}
	every := decode.View{Shut: true}
	for column := range len(pictures) * m.tiles {
		every.Columns = append(every.Columns, column)
	}
	views = []decode.View{every}
	next, inside := 0, false
	for i, id := range ids {
		if id == m.image {
			var view decode.View
			if inside {
				view.Columns = append(view.Columns, views[len(views)-1].Columns...)
			}
			for tile := range pictures[next].Grid.X * pictures[next].Grid.Y {
				view.Columns = append(view.Columns, next*m.tiles+tile)
			}
			views = append(views, view)
			next++
		}
		inside = id == m.image
		at[i] = len(views) - 1
	}
	return at, views
}
