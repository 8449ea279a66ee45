package family

import (
	"context"
	"fmt"
	"image"
	"strings"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// LLaVA names the family of models whose prompt has rows of pictures in the place of tokens.
const LLaVA models.Family = "llava"

var llavaRow = Family{Name: LLaVA, Layouts: llavaLayouts(), Open: openLLaVA}

// llavaKind is what one member of the family does in its own way.
type llavaKind struct {
	types []string // model_types
	// around is what stands around a placeholder in a prompt without a template; %s is the
	// placeholder.
	around string
	// markup writes an item of rows rows: what the placeholder becomes. nil repeats it.
	markup func(placeholder string, e Encoded) string
	// places says that positions are those of time, row and column: a picture's rows have the places
	// of their patches, Encoded.Grid, of which several merge to one row.
	places bool
}

var llavaKinds = []llavaKind{
	{types: []string{"llava"}, around: "%s\n"},
	{types: []string{"idefics3", "smolvlm"}, around: "%s", markup: tileMarkup},
	{types: []string{"qwen2_vl"}, around: "<|vision_start|>%s<|vision_end|>", places: true},
}

func llavaLayouts() (layouts []models.Layout) {
	var forms [][]string
	for _, decoder := range []string{graph.Decoder, graph.DecoderFirst} {
		forms = append(forms, []string{graph.VisionEncoder, graph.EmbedTokens, decoder})
	}
	for _, kind := range llavaKinds {
		for _, t := range kind.types {
			layouts = append(layouts, models.Layout{
				Type: t, Family: LLaVA, Forms: forms, Optional: []string{graph.DecoderNext},
				Manifest: func(c models.Config) map[string]any {
					return map[string]any{
						"prompts": map[string]string{"caption": "Describe the image.", "answer": "{}"},
						"limits":  positionLimit(c.TextConfig.MaxPositions),
					}
				},
			})
		}
	}
	return layouts
}

// gridTHW and imageGridTHW are inputs [1,3] of a vision encoder: frames, rows and columns of patches.
const gridTHW, imageGridTHW = "grid_thw", "image_grid_thw"

// llava is a model of LLaVA's kind (Liu et al., 2304.08485): the vision encoder's features, in the
// language model's width, take the place of a token that the prompt has as many of.
type llava struct {
	chatter
	onePicture
	kind    llavaKind
	vision  *graph.Graph
	output  string // of the vision encoder
	decoder *decode.Decoder
	token   int64 // in whose places features stand
}

func openLLaVA(o *graph.Opener, c *Config) (Model, error) {
	m := &llava{}
	var config struct {
		Type  string `json:"model_type"`
		Token *int64 `json:"image_token_id"`
		Index *int64 `json:"image_token_index"` // its older name
	}
	if err := o.Bundle.JSON("config.json", &config); err != nil {
		return nil, err
	}
	for _, kind := range llavaKinds {
		for _, t := range kind.types {
			if t == config.Type {
				m.kind = kind
			}
		}
	}
	switch {
	case config.Token != nil:
		m.token = *config.Token
	case config.Index != nil:
		m.token = *config.Index
	default:
		return nil, fmt.Errorf("%w: config.json has neither image_token_id nor image_token_index, "+
			"the token that stands for a picture", graph.ErrBundle)
	}
	var err error
	if m.chatter, err = newChatter(o.Bundle, c.Texts); err != nil {
		return nil, err
	}
	var ok bool
	if m.placeholder, ok = c.Texts.IDToToken(m.token); !ok {
		return nil, fmt.Errorf("%w: tokenizer.json has no token %d, which config.json puts for "+
			"pictures", graph.ErrBundle, m.token)
	}
	m.around = m.kind.around
	if m.vision, err = o.Open(graph.VisionEncoder); err != nil {
		return nil, err
	}
	if m.output, err = featuresOf(m.vision); err != nil {
		return nil, err
	}
	m.decoder, err = decode.Open(o)
	return m, err
}

// featuresOf returns the output of a vision encoder that has the features: the one of that name, or
// the only one.
func featuresOf(g *graph.Graph) (string, error) {
	if g.HasOutput(graph.ImageFeatures) {
		return graph.ImageFeatures, nil
	}
	if outputs := g.Outputs(); len(outputs) == 1 {
		return outputs[0].Name, nil
	}
	return "", fmt.Errorf("%w: the graph %s has no output %q, but %v",
		graph.ErrBundle, g.Role, graph.ImageFeatures, g.Outputs())
}

// Encode returns the features [1,N,D] of each picture, those of its tiles one behind another.
func (m *llava) Encode(ctx context.Context, prepared media.Prepared) ([]Encoded, error) {
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
		if rank := states.Rank(); rank < 2 || states.DType() != tensor.Float32 || states.Len() == 0 {
			return nil, fmt.Errorf("%w: the graph's output %q is %v, not features [...,length,width]",
				graph.ErrBundle, m.output, states)
		}
		width := states.Dim(-1)
		if encoded[i].States, err = states.Reshape(1, states.Len()/width, width); err != nil {
			return nil, err
		}
		encoded[i].Grid, encoded[i].Tiles = grid, rows[1]-rows[0]
	}
	return encoded, nil
}

// inputs takes an item's rows of what was prepared. A graph may take them as the tiles of the one
// item of a batch.
func (m *llava) inputs(
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

// Compose returns the text, with a token in the place of each row of a picture, and then the
// pictures' features.
func (m *llava) Compose(parts []Part, encoded []Encoded) ([]Segment, error) {
	prompt, err := m.Write(parts)
	if err != nil {
		return nil, err
	}
	rows := 0
	for _, e := range encoded {
		rows += e.States.Dim(1)
	}
	named := strings.Count(prompt, m.placeholder)
	switch {
	case named == len(encoded):
		prompt = m.expand(prompt, encoded)
	case named != rows: // with a place for each row, the prompt is laid out already
		return nil, fmt.Errorf("%w: the prompt has %q %d times, for %d pictures of %d rows in all",
			graph.ErrPrompt, m.placeholder, named, len(encoded), rows)
	}
	ids, err := m.read(prompt, templated(parts), true)
	if err != nil {
		return nil, err
	}
	if places := countID(ids, m.token); places != rows {
		return nil, fmt.Errorf("%w: the prompt has %d places for pictures (token %q), and the "+
			"pictures have %d rows", graph.ErrPrompt, places, m.placeholder, rows)
	}
	segments := []Segment{{Text: prompt, IDs: ids}}
	for i, e := range encoded {
		segments = append(segments, Segment{Embeds: e.States, Media: i, Grid: e.Grid})
	}
	return segments, nil
}

// expand replaces each placeholder by an item's markup.
func (m *llava) expand(prompt string, encoded []Encoded) string {
	var b strings.Builder
	for i, text := range strings.Split(prompt, m.placeholder) {
		if i > 0 {
			e := encoded[i-1]
			if m.kind.markup != nil {
				b.WriteString(m.kind.markup(m.placeholder, e))
			} else {
				b.WriteString(strings.Repeat(m.placeholder, e.States.Dim(1)))
			}
		}
		b.WriteString(text)
	}
	return b.String()
}

// tileMarkup is that of Idefics3 and SmolVLM: each tile with its row and column, a row of tiles a
// line, and the whole picture at the end (processing_idefics3.py of transformers 4.57).
func tileMarkup(placeholder string, e Encoded) string {
	const fake, whole = "<fake_token_around_image>", "<global-img>"
	tile := strings.Repeat(placeholder, e.States.Dim(1)/max(e.Tiles, 1))
	var b strings.Builder
	for row := range e.Grid.Y {
		for column := range e.Grid.X {
			fmt.Fprintf(&b, "%s<row_%d_col_%d>%s", fake, row+1, column+1, tile)
		}
		b.WriteByte('\n')
	}
	if e.Grid.Y > 0 {
		b.WriteByte('\n')
	}
	return b.String() + fake + whole + tile + fake
}

func (m *llava) Begin(ctx context.Context, prompts [][]Segment) (decode.Sequences, error) {
	ids := textIDs(prompts)
	embeds, width, err := m.decoder.Embed(ctx, ids...)
	if err != nil {
		return nil, err
	}
	start := decode.Start{Width: width, Apart: true}
	for i, p := range prompts {
		prompt := decode.Prompt{IDs: ids[i]}
		if prompt.Embeds, err = m.place(ids[i], embeds[i], width, p[1:]); err != nil {
			return nil, err
		}
		if m.kind.places {
			if prompt.Places, err = m.positions(ids[i], p[1:]); err != nil {
				return nil, err
			}
		}
		start.Prompts = append(start.Prompts, prompt)
	}
	return m.decoder.Begin(start)
}

// positions returns the time, row and column [3][L] of each position of a prompt. Text counts on in
// all three. A picture stands still in time, and its rows and columns count from there; text behind
// it goes on from the largest. Source: get_rope_index of modeling_qwen2_vl.py, transformers 4.57.6.
func (m *llava) positions(ids []int64, pictures []Segment) ([][]int64, error) {
	places := [][]int64{make([]int64, len(ids)), make([]int64, len(ids)), make([]int64, len(ids))}
	next := int64(0)
	for at := 0; at < len(ids); {
		if ids[at] != m.token {
			for plane := range places {
				places[plane][at] = next
			}
			next++
			at++
			continue
		}
		p := pictures[0]
		pictures = pictures[1:]
		rows := p.Embeds.Dim(1)
		merge := 1 // patches a side that become one row
		for merge*merge*rows < p.Grid.X*p.Grid.Y {
			merge++
		}
		columns := p.Grid.X / merge
		if merge*merge*rows != p.Grid.X*p.Grid.Y || columns*(p.Grid.Y/merge) != rows {
			return nil, fmt.Errorf("%w: %d features of %d by %d patches", graph.ErrBundle,
				rows, p.Grid.X, p.Grid.Y)
		}
		for i := range rows {
			places[0][at+i] = next
			places[1][at+i] = next + int64(i/columns)
			places[2][at+i] = next + int64(i%columns)
		}
		next += int64(max(columns, rows/columns))
		at += rows
	}
	return places, nil
}

// place returns the embeddings of ids in pieces, with the pictures' rows in order in the places of
// the token.
func (m *llava) place(
	ids []int64, embeds []float32, width int, pictures []Segment,
) (pieces [][]float32, err error) {
	var rows []float32 // those of the picture that comes next
	from := 0
	for at, id := range ids {
		if id != m.token {
			continue
		}
		for len(rows) == 0 && len(pictures) > 0 {
			if wide := pictures[0].Embeds.Dim(2); wide != width {
				return nil, fmt.Errorf("%w: a picture's features are %d wide, the text's "+
					"embeddings %d", graph.ErrBundle, wide, width)
			}
			if rows, err = tensor.Values[float32](pictures[0].Embeds); err != nil {
				return nil, err
			}
			pictures = pictures[1:]
		}
		pieces = append(pieces, embeds[from*width:at*width], rows[:width])
		rows, from = rows[width:], at+1
	}
	return append(pieces, embeds[from*width:]), nil
}
