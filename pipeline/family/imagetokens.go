package family

import (
	"cmp"
	"context"
	"fmt"
	"image"
	"slices"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// LLaVA names the family of models whose prompt has rows of pictures in the place of tokens.
const LLaVA models.Family = "llava"

var llavaRow = Family{Name: LLaVA, Layouts: imageTokenLayouts(), Open: openImageTokens}

// imageKind is what one member of the family does in its own way.
type imageKind struct {
	types []string // model_types
	// around is what stands around a placeholder in a prompt without a template; %s is the
	// placeholder.
	around string
	// mark stands for a picture in prompts where that is another text than the token of its rows.
	mark string
	// token is the text of the token of rows, for folders whose configuration has no id of it.
	token string
	// markup writes an item: what the placeholder becomes, where token is that of its rows. nil
	// repeats it.
	markup func(token string, e Encoded) string
	// finish is what the model's processor makes of a whole prompt; nil leaves it.
	finish func(m *imageTokens, prompt string) string
	// bare says that the model's processor has the tokenizer add no special tokens to any prompt.
	bare bool
	// apart says that pictures are numbered in prompts, from mark on, and that each text between them
	// is tokenized for itself.
	apart bool
	// ahead says that one picture's rows stand before the text, whose vocabulary has no token of them.
	ahead bool
	// places says that positions are those of time, row and column: a picture's rows have the places
	// of their patches, Encoded.Grid, of which several merge to one row.
	places bool
	// lines says that rows of a picture's squares are laid out line by line, as those of one picture.
	lines bool
	// amid says that pictures are others in prompts of several, of which the last of their parts tells.
	amid bool
	// own says that there are bundles of xpipe's own alone.
	own bool
	// sized pictures come in a size of their own each, of which Prepared has image_sizes.
	sized bool
	// masked parts of pictures come in sizes of their own, of which Prepared has a mask.
	masked bool
	// unpacked kinds are not known as onnxruntime-genai packs them.
	unpacked bool
	// first is the position of a prompt's first token.
	first int64
	// roles gives the roles of graphs by their names where the kind has others than most.
	roles map[string]string
	// caption and answer are the prompts of the tasks; "" takes a usual one.
	caption, answer string
	// inEmbeddings says that the graph of embeddings sees: it sets pictures' rows in the places that a mask
	// names.
	inEmbeddings bool
	// sounds says how sounds stand in prompts; nil where the kind hears nothing.
	sounds *soundKind
}

var imageKinds = slices.Concat(
	llavaKinds, idefics3Kinds, qwenVLKinds, paligemmaKinds, gemma3Kinds, phi3vKinds, mistral3Kinds, lfm2VLKinds,
	gitKinds, llavaNextKinds, idefics2Kinds, onevisionKinds, gemma3nKinds, janusKinds,
)

func imageTokenLayouts() (layouts []models.Layout) {
	for _, kind := range imageKinds {
		if kind.own {
			continue
		}
		var forms [][]string
		for _, encoder := range kind.encoders() {
			for _, decoder := range []string{graph.Decoder, graph.DecoderFirst} {
				forms = append(forms, []string{encoder, graph.EmbedTokens, decoder})
			}
		}
		if kind.inEmbeddings {
			forms = [][]string{{graph.EmbedTokens, graph.Decoder}}
		}
		for _, t := range kind.types {
			layouts = append(layouts, models.Layout{
				Type: t, Family: LLaVA, Forms: forms, Optional: append(kind.encoders(), graph.DecoderNext, graph.LMHead),
				Roles: kind.roles, Unpacked: kind.unpacked,
				Manifest: func(c models.Config) map[string]any {
					caption := cmp.Or(kind.caption, "Describe the image.")
					return map[string]any{
						"prompts": map[string]string{"caption": caption, "answer": cmp.Or(kind.answer, "{}")},
						"limits": positionLimit(cmp.Or(
							c.TextConfig.MaxPositions, c.PhiConfig.MaxPositions, c.LanguageConfig.MaxPositions, c.MaxPositions,
						)),
					}
				},
			})
		}
	}
	return layouts
}

// gridTHW and imageGridTHW are inputs [1,3] of a vision encoder: frames, rows and columns of patches.
const gridTHW, imageGridTHW = "grid_thw", "image_grid_thw"

// imageTokens is a model of LLaVA's kind (Liu et al., 2304.08485): the vision encoder's features, in
// the language model's width, take the place of a token that the prompt has as many of.
type imageTokens struct {
	chatter
	kind      imageKind
	vision    *graph.Graph // nil where the model hears alone
	output    string       // of the vision encoder
	rows      int          // of a picture, where the graph of embeddings sees
	hearing   *hearingPart // nil where the model hears nothing
	decoder   *decode.Decoder
	token     int64  // in whose places features stand
	tokenText string // the token as prompts write it
	unwritten []int64
	docTags   bool      // it writes pages down, in DocTags
	newline   []float32 // the row that ends a line of a picture; nil where lines have no ends
	newer     bool      // texts are read as transformers 5 reads them
	// mostSquares bounds the rows of a picture's squares; 0: no bound
	mostSquares int
	unpadded    bool // prompts of different lengths share no run, as they may in xpipe's own bundles
}

func openImageTokens(o *graph.Opener, c *Config) (Model, error) {
	m := &imageTokens{unpadded: o.Bundle.Layout != ""}
	var err error
	if m.kind, err = kindOf(o.Bundle); err != nil {
		return nil, err
	}
	if m.chatter, err = newChatter(o.Bundle, c.Texts); err != nil {
		return nil, err
	}
	if m.newer, err = readsLike5(o.Bundle); err != nil {
		return nil, err
	}
	if m.kind.apart || m.kind.ahead {
		m.token = noToken
	} else if err := m.findToken(o.Bundle); err != nil {
		return nil, err
	}
	if m.kind.lines {
		if err := m.loadNewline(o.Bundle); err != nil {
			return nil, err
		}
	}
	if m.kind.amid {
		if err := m.loadMostSquares(o.Bundle); err != nil {
			return nil, err
		}
	}
	m.placeholder, m.around = cmp.Or(m.kind.mark, m.tokenText), m.kind.around
	m.marked(o.Bundle)
	if err := m.openEncoders(o); err != nil {
		return nil, err
	}
	if m.decoder, err = decode.Open(o); err != nil || !m.kind.inEmbeddings {
		return m, err
	}
	return m, m.seeByEmbeddings(o.Bundle)
}

// openEncoders opens what sees and what hears; a kind that does both needs one of them.
func (m *imageTokens) openEncoders(o *graph.Opener) (err error) {
	if m.kind.sounds != nil && o.Bundle.Has(graph.AudioEncoder) {
		if m.hearing, err = openHearing(o, m.kind.sounds, m.texts); err != nil {
			return err
		}
		m.heard = m.hearing.tokenText
	}
	if m.kind.inEmbeddings || m.hearing != nil && !o.Bundle.Has(graph.VisionEncoder) {
		return nil
	}
	if m.vision, err = o.Open(graph.VisionEncoder); err != nil {
		return err
	}
	m.output, err = featuresOf(m.vision, graph.ImageFeatures)
	return err
}

// Media lists pictures and sounds, as the graphs are there.
func (m *imageTokens) Media() (kinds []media.Kind) {
	if m.vision != nil {
		kinds = append(kinds, media.Pictures)
	}
	if m.hearing != nil {
		kinds = append(kinds, media.Sounds)
	}
	return kinds
}

// kindOf finds the member of the family by config.json's model_type: of a bundle of xpipe's own, one
// that is such alone goes before others.
func kindOf(bundle *models.Bundle) (imageKind, error) {
	modelType := bundle.Layout
	if modelType == "" { // a bundle of xpipe's own
		var config models.Config
		if err := bundle.JSON("config.json", &config); err != nil {
			return imageKind{}, err
		}
		modelType = config.ModelType
	}
	for _, own := range []bool{bundle.Layout == "", false} {
		for _, kind := range imageKinds {
			if kind.own == own && slices.Contains(kind.types, modelType) {
				return kind, nil
			}
		}
	}
	return imageKind{}, fmt.Errorf("%w: family %s has no model_type %q", graph.ErrBundle, LLaVA, modelType)
}

// findToken finds the token of pictures' rows: the configuration has its id, or the kind its text.
func (m *imageTokens) findToken(bundle *models.Bundle) error {
	var config struct {
		Token *int64 `json:"image_token_id"`
		Index *int64 `json:"image_token_index"` // its older name
	}
	if err := ignoreMissing(bundle.JSON("config.json", &config)); err != nil {
		return err
	}
	if config.Token == nil {
		config.Token = config.Index
	}
	if config.Token == nil {
		id, ok := m.texts.TokenToID(m.kind.token)
		if !ok {
			return fmt.Errorf("%w: config.json has neither image_token_id nor image_token_index, "+
				"the token that stands for a picture", graph.ErrBundle)
		}
		config.Token = &id
	}
	var ok bool
	if m.tokenText, ok = m.texts.IDToToken(*config.Token); !ok {
		return fmt.Errorf("%w: tokenizer.json has no token %d, which config.json puts for "+
			"pictures", graph.ErrBundle, *config.Token)
	}
	m.token = *config.Token
	return nil
}

// featuresOf returns the output of an encoder that has the features: the one of that name, or the only
// one.
func featuresOf(g *graph.Graph, name string) (string, error) {
	if g.HasOutput(name) {
		return name, nil
	}
	if outputs := g.Outputs(); len(outputs) == 1 {
		return outputs[0].Name, nil
	}
	return "", fmt.Errorf("%w: the graph %s has no output %q, but %v",
		graph.ErrBundle, g.Role, name, g.Outputs())
}

// Encode returns the features [1,N,D] of each picture, those of its tiles one behind another, or of
// each sound.
func (m *imageTokens) Encode(ctx context.Context, prepared media.Prepared) ([]Encoded, error) {
	if m.hearing != nil && prepared.Tensors[graph.InputFeatures] != nil {
		return m.hearing.encode(ctx, prepared)
	}
	encoded := make([]Encoded, prepared.Items())
	for i, rows := range prepared.Rows {
		var grid image.Point
		if prepared.Grids != nil {
			grid = prepared.Grids[i]
		}
		own, err := m.inputs(prepared, rows, grid)
		if err != nil {
			return nil, err
		}
		states, err := m.vision.RunPrepared(ctx, own, m.output)
		if err != nil {
			return nil, err
		}
		if _, err := rowsOf(m.output, states); err != nil {
			return nil, err
		}
		if m.kind.amid {
			if states, encoded[i].Amid, err = m.amongOthers(states); err != nil {
				return nil, err
			}
		}
		if m.kind.lines {
			if states, err = m.inLines(states, grid, own[imageSizes]); err != nil {
				return nil, err
			}
		}
		if encoded[i].States, err = rowsOf(m.output, states); err != nil {
			return nil, err
		}
		encoded[i].Kind, encoded[i].Grid, encoded[i].Tiles = media.Pictures, grid, rows[1]-rows[0]
		if shapes := own[spatialShapes]; shapes != nil {
			encoded[i].Each = rowsOfTiles(shapes, encoded[i].States.Dim(1))
		}
	}
	return encoded, nil
}

// rowsOf lays features [...,length,width] out as [1,N,width].
func rowsOf(output string, states *tensor.Tensor) (*tensor.Tensor, error) {
	if rank := states.Rank(); rank < 2 || states.DType() != tensor.Float32 || states.Len() == 0 {
		return nil, fmt.Errorf("%w: the graph's output %q is %v, not features [...,length,width]",
			graph.ErrBundle, output, states)
	}
	width := states.Dim(-1)
	return states.Reshape(1, states.Len()/width, width)
}

// inputs takes an item's rows of what was prepared. A graph may take them as the tiles of the one
// item of a batch.
func (m *imageTokens) inputs(
	prepared media.Prepared, rows [2]int, grid image.Point,
) (map[string]*tensor.Tensor, error) {
	own := make(map[string]*tensor.Tensor, len(prepared.Tensors))
	for name, t := range prepared.Tensors {
		part, err := t.Slice(rows[0], rows[1])
		if err != nil {
			return nil, err
		}
		for _, in := range m.vision.Inputs() {
			if in.Name == name && len(in.Shape) == part.Rank()+1 {
				if part, err = part.Reshape(append([]int{1}, part.Shape()...)...); err != nil {
					return nil, err
				}
			}
		}
		own[name] = part
	}
	if m.kind.sized {
		if err := cropToSize(own); err != nil {
			return nil, err
		}
	}
	if m.kind.masked {
		if err := cropToMask(own); err != nil {
			return nil, err
		}
	}
	if m.kind.inEmbeddings {
		if err := m.addPlaces(own); err != nil {
			return nil, err
		}
	}
	for _, name := range []string{gridTHW, imageGridTHW} {
		if m.kind.places && m.vision.HasInput(name) {
			thw := []int64{1, int64(grid.Y), int64(grid.X)}
			var err error
			if own[name], err = tensor.New([]int{1, 3}, thw); err != nil {
				return nil, err
			}
		}
	}
	return own, nil
}
