package family

import (
	"context"
	"encoding/json"
	"fmt"
	"image"
	"math"
	"slices"
	"strings"
	"sync"

	"github.com/crossattn/xpipe/fallback/attention"
	"github.com/crossattn/xpipe/fallback/kernel"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/attend"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// CLIP names the family of CLIP and SigLIP.
const CLIP models.Family = "clip"

var dualForms = [][]string{{graph.VisionEncoder, graph.TextEncoder}, {graph.Model}}

var clipRow = Family{
	Name: CLIP,
	Layouts: []models.Layout{{
		Type: "clip", Family: CLIP, Forms: dualForms,
		Manifest: func(c models.Config) map[string]any {
			return dual(c, 77, "softmax", "longest", "a photo of a {}")
		},
	}, {
		Type: "siglip", Family: CLIP, Forms: dualForms,
		Manifest: func(c models.Config) map[string]any {
			return dual(c, 64, "sigmoid", "max_length", "This is a photo of {}.")
		},
	}},
	Open: openCLIP,
}

// dual returns the keys of xpipe.json for a model with two encoders. positions is transformers'
// default for the text model's length, which config.json may leave out.
func dual(c models.Config, positions int, scores, padding, prompt string) map[string]any {
	if c.TextConfig.MaxPositions > 0 {
		positions = c.TextConfig.MaxPositions
	}
	return map[string]any{
		"scores": scores, "text_padding": padding,
		"limits":  map[string]int{"max_text": positions},
		"prompts": map[string]string{"classify": prompt},
	}
}

// clip is a model of CLIP (Radford et al., 2103.00020) or SigLIP (Zhai et al., 2303.15343): two
// encoders, each followed by a projection into one space and L2 normalisation. CLIP compares by a
// softmax over the texts, SigLIP judges each pair by a sigmoid.
//
// Graphs of transformers.js and optimum have the projection inside. A graph of the whole model
// gives the logits itself. Two separate graphs lack the scale of the logits: CLIP's is then 100,
// the bound that training sets (section 2.5 of the paper) and the value of OpenAI's checkpoints;
// SigLIP has no such value.
type clip struct {
	onePicture
	vision, text tower
	joint        *graph.Graph // both towers and the logits in one graph; nil where there is none
	scale, bias  float64
	scaled       bool // scale and bias are known
	sigmoid      bool
	texts        Texts
	padTo        int   // tokens that every text is padded to; 0: the longest of a batch
	padLeft      bool  // where texts are padded that all become padTo long; else on the right
	pad          int64 // the id that pads texts, on the right; SigLIP attends to it
	noPad        error // why there is no such id; nil where there is one
	maxText      int   // tokens that longer texts are cut to; 0: none is cut

	last struct { // texts that were compared last, with their embeddings
		sync.Mutex
		texts  []string
		embeds *tensor.Tensor
	}
}

// tower is one of the two encoders.
type tower struct {
	graph      *graph.Graph
	output     string
	projection *graph.Projection // nil where the output is in the common space already
	// rest are placeholders for the other tower's inputs, where both are in one graph.
	rest map[string]*tensor.Tensor
}

// clipScale is exp(logit_scale) of OpenAI's CLIP checkpoints.
const clipScale = 100

const (
	textEmbeds     = "text_embeds"
	logitsPerImage = "logits_per_image"
)

func openCLIP(o *graph.Opener, c *Config) (Model, error) {
	m := &clip{texts: c.Texts, maxText: o.Bundle.Limits["max_text"]}
	var manifest struct {
		Scores      string `json:"scores"`       // softmax or sigmoid
		TextPadding string `json:"text_padding"` // longest or max_length
	}
	if err := o.Bundle.JSON(models.ManifestName, &manifest); err != nil {
		return nil, err
	}
	m.sigmoid = manifest.Scores == "sigmoid"
	if manifest.TextPadding == "max_length" {
		m.padTo = m.maxText
	}
	var err error
	if m.pad, m.noPad, err = padID(o.Bundle, c.Texts, m.sigmoid); err != nil {
		return nil, err
	}
	if m.padTo > 0 {
		if m.padLeft, err = padsLeft(o.Bundle); err != nil {
			return nil, err
		}
	}
	if err := m.loadWeights(o.Bundle); err != nil {
		return nil, err
	}
	whole, err := o.OpenIfThere(graph.Model)
	if err != nil {
		return nil, err
	}
	if whole != nil && whole.HasOutput(logitsPerImage) {
		m.joint = whole
	}
	if err := m.openTower(o, &m.vision, graph.VisionEncoder, graph.ImageEmbeds, whole); err != nil {
		return nil, err
	}
	if err := m.openTower(o, &m.text, graph.TextEncoder, textEmbeds, whole); err != nil {
		return nil, err
	}
	if whole != nil {
		err = m.standIn(o.Context(), c, whole)
	}
	return m, err
}

// standIn makes placeholders for the other tower's inputs, for towers in a graph of the whole
// model.
func (m *clip) standIn(ctx context.Context, c *Config, whole *graph.Graph) error {
	front, err := c.Preparer(media.Pictures)
	if err != nil {
		return err
	}
	dot := media.Picture{Image: image.NewGray(image.Rect(0, 0, 1, 1))}
	blank, err := front.Prepare(ctx, []media.Item{dot})
	if err != nil {
		return err
	}
	word, err := m.textInputs(whole, []string{"a"})
	if err != nil {
		return err
	}
	if m.vision.graph == whole {
		m.vision.rest = word
	}
	if m.text.graph == whole {
		m.text.rest = blank.Tensors
	}
	return nil
}

// loadWeights reads the scale of the logits and the projections from the bundle's weights, if it
// has any.
func (m *clip) loadWeights(bundle *models.Bundle) error {
	if bundle.Projection == "" {
		m.scale, m.scaled = clipScale, !m.sigmoid
		return nil
	}
	weights, err := bundle.Weights()
	if err != nil {
		return err
	}
	scale, err := weights.Need("logit_scale", 1)
	if err != nil {
		return err
	}
	m.scale, m.scaled = math.Exp(float64(tensor.Data[float32](scale)[0])), true
	if weights["logit_bias"] != nil {
		bias, err := weights.Need("logit_bias", 1)
		if err != nil {
			return err
		}
		m.bias = float64(tensor.Data[float32](bias)[0])
	}
	towers := map[string]*tower{"visual_projection": &m.vision, "text_projection": &m.text}
	for name, t := range towers {
		if weights[name+".weight"] != nil {
			if t.projection, err = graph.LoadProjection(weights, name); err != nil {
				return err
			}
		}
	}
	return nil
}

// openTower opens the graph of a role, or takes the whole model where the role has none of its
// own. embeds is the output's name in graphs with the projection inside.
func (m *clip) openTower(o *graph.Opener, t *tower, role, embeds string, whole *graph.Graph) error {
	t.graph = whole
	if whole == nil || o.Bundle.Has(role) {
		var err error
		if t.graph, err = o.Open(role); err != nil {
			return err
		}
	}
	// States before the projection cannot be compared. SigLIP has no projection for pictures, and
	// the one for texts is inside graphs whose output has transformers' name.
	outputs := []string{embeds}
	if t.projection != nil || m.sigmoid && t == &m.vision {
		outputs = append(outputs, graph.PooledOutput)
	}
	if t.projection != nil || m.sigmoid {
		outputs = append(outputs, "pooler_output")
	}
	for _, name := range outputs {
		if t.graph.HasOutput(name) {
			if t.output = name; name == embeds {
				t.projection = nil
			}
			return nil
		}
	}
	return fmt.Errorf("%w: the graph of %s gives none of %v, and nothing projects what it gives",
		graph.ErrBundle, role, outputs)
}

// embed returns L2-normalised rows [B,E] for an input of B rows.
func (t *tower) embed(
	ctx context.Context, rows int, given map[string]*tensor.Tensor,
) (*tensor.Tensor, error) {
	in, err := t.graph.Feed(given, t.rest)
	if err != nil {
		return nil, err
	}
	pooled, err := t.graph.RunOne(ctx, in, t.output, rows, -1)
	if err != nil {
		return nil, err
	}
	if t.projection != nil {
		if pooled, err = t.projection.Apply(ctx, pooled); err != nil {
			return nil, err
		}
	}
	return graph.Normalized(pooled)
}

// padID returns the id of the token that pads texts, by transformers' rules: special_tokens_map.json
// names it, where it is read, else tokenizer_config.json; where neither says anything, the class of
// the tokenizer does, or for one of no class of its own the padding of tokenizer.json. none says
// why there is no such token, for texts that need it.
func padID(bundle *models.Bundle, texts Texts, sigmoid bool) (id int64, none, err error) {
	const configName, mapName = "tokenizer_config.json", "special_tokens_map.json"
	var config struct {
		Class string          `json:"tokenizer_class"`
		Pad   json.RawMessage `json:"pad_token"` // the token, or an object with its content
		Added json.RawMessage `json:"added_tokens_decoder"`
	}
	config.Class = "CLIPTokenizer"
	if sigmoid {
		config.Class = "SiglipTokenizer"
	}
	if err := bundle.JSON(configName, &config); ignoreMissing(err) != nil {
		return 0, nil, err
	}
	pad, source := config.Pad, configName
	if config.Added == nil {
		var special struct {
			Pad json.RawMessage `json:"pad_token"`
		}
		if err := bundle.JSON(mapName, &special); ignoreMissing(err) != nil {
			return 0, nil, err
		}
		if special.Pad != nil {
			pad, source = special.Pad, mapName
		}
	}
	var token string
	switch {
	case pad == nil:
		source = "the class " + config.Class
		if token = classPads[strings.TrimSuffix(config.Class, "Fast")]; token == "" {
			var file struct {
				Padding struct {
					Token string `json:"pad_token"`
				} `json:"padding"`
			}
			source = "tokenizer.json"
			if err := bundle.JSON(source, &file); err != nil {
				return 0, nil, err
			}
			token = file.Padding.Token
		}
	case string(pad) == "null":
	case json.Unmarshal(pad, &token) != nil:
		var object struct {
			Content string `json:"content"`
		}
		if err := json.Unmarshal(pad, &object); err != nil {
			return 0, nil, fmt.Errorf("%w: %s has no usable pad_token", graph.ErrBundle, source)
		}
		token = object.Content
	}
	if token == "" {
		return 0, fmt.Errorf("%w: %s names no pad_token, and texts of different lengths need one",
			graph.ErrBundle, source), nil
	}
	id, ok := texts.TokenToID(token)
	if !ok {
		return 0, fmt.Errorf("%w: tokenizer.json has no token %q, which %s pads with",
			graph.ErrBundle, token, source), nil
	}
	return id, nil, nil
}

// padsLeft reports whether tokenizer_config.json says that padding goes before a text. A model that
// is padded to one length has no mask, so it reads the padding, and gives other numbers for it on
// the other side.
func padsLeft(bundle *models.Bundle) (bool, error) {
	const name = "tokenizer_config.json"
	var config struct {
		Side string `json:"padding_side"`
	}
	if err := ignoreMissing(bundle.JSON(name, &config)); err != nil {
		return false, err
	}
	switch config.Side {
	case "", "left", "right":
		return config.Side == "left", nil
	}
	return false, fmt.Errorf("%w: %s: padding_side is %q, neither left nor right",
		graph.ErrBundle, name, config.Side)
}

// classPads are the tokens that tokenizers of transformers pad with where no file says so.
var classPads = map[string]string{
	"CLIPTokenizer": "<|endoftext|>", "SiglipTokenizer": "</s>", "GemmaTokenizer": "<pad>",
	"T5Tokenizer": "<pad>", "XLMRobertaTokenizer": "<pad>", "RobertaTokenizer": "<pad>",
	"BertTokenizer": "[PAD]",
}

// EmbedMedia embeds pictures.
func (m *clip) EmbedMedia(ctx context.Context, prepared media.Prepared) (*tensor.Tensor, error) {
	embeds, err := m.vision.embed(ctx, prepared.Items(), prepared.Tensors)
	return embeds, graph.Misfit(err)
}

// EmbedTexts embeds texts; those longer than the model's positions lose their end.
func (m *clip) EmbedTexts(ctx context.Context, texts []string) (*tensor.Tensor, error) {
	in, err := m.textInputs(m.text.graph, texts)
	if err != nil {
		return nil, err
	}
	return m.text.embed(ctx, len(texts), in)
}

// textInputs returns the graph's inputs for texts: input_ids [B,T] and, where it takes one,
// attention_mask [B,T].
func (m *clip) textInputs(g *graph.Graph, texts []string) (map[string]*tensor.Tensor, error) {
	ids, mask, err := m.tokens(texts)
	if err != nil {
		return nil, err
	}
	in := map[string]*tensor.Tensor{graph.InputIDs: ids}
	if g.HasInput(graph.AttentionMask) {
		in[graph.AttentionMask] = mask
	}
	return in, nil
}

// tokens returns ids [B,T], padded on the right unless m.padLeft, and the mask [B,T] of the tokens to
// attend to: all of them, padding included, where the model wants texts of one length. Texts longer
// than the model's positions lose their end, as in the reference.
func (m *clip) tokens(texts []string) (ids, mask *tensor.Tensor, err error) {
	rows, err := m.texts.ReadAll(0, texts, truncated(m.maxText)...)
	if err != nil {
		return nil, nil, err
	}
	longest := m.padTo
	for i, row := range rows {
		if len(row) == 0 {
			return nil, nil, fmt.Errorf("%w: nothing of %q is left after tokenizing",
				graph.ErrPrompt, texts[i])
		}
		longest = max(longest, len(row))
	}
	padded := make([]int64, 0, len(texts)*longest)
	lengths := make([]int, len(rows))
	for i, row := range rows {
		if len(row) < longest && m.noPad != nil {
			return nil, nil, m.noPad
		}
		if lengths[i] = len(row); m.padTo > 0 {
			lengths[i] = longest
		}
		fill := slices.Repeat([]int64{m.pad}, longest-len(row))
		if m.padLeft {
			row, fill = fill, row
		}
		padded = append(append(padded, row...), fill...)
	}
	if ids, err = tensor.New([]int{len(texts), longest}, padded); err != nil {
		return nil, nil, err
	}
	mask, err = graph.Mask(lengths, longest)
	return ids, mask, err
}

// Match compares each text's embedding with the picture's.
func (m *clip) Match(
	ctx context.Context, prepared media.Prepared, texts []string,
) ([]Match, error) {
	images, words, logits, err := m.compare(ctx, prepared, texts)
	if err != nil {
		return nil, err
	}
	return m.judge(images, 0, words, logits, texts)
}

// MatchAll is Match for several pictures. A graph of the whole model takes them one by one.
func (m *clip) MatchAll(
	ctx context.Context, prepared media.Prepared, texts []string,
) ([][]Match, error) {
	matches := make([][]Match, prepared.Items())
	if m.joint != nil {
		for i := range matches {
			one, err := prepared.Item(i)
			if err != nil {
				return nil, err
			}
			if matches[i], err = m.Match(ctx, one, texts); err != nil {
				return nil, err
			}
		}
		return matches, nil
	}
	images, words, _, err := m.compare(ctx, prepared, texts)
	if err != nil {
		return nil, err
	}
	for i := range matches {
		if matches[i], err = m.judge(images, i, words, nil, texts); err != nil {
			return nil, err
		}
	}
	return matches, nil
}

// judge makes the matches of one row of images from the embeddings and, where the graph gives
// them, the logits.
func (m *clip) judge(
	images *tensor.Tensor, row int, words *tensor.Tensor, logits []float32, texts []string,
) ([]Match, error) {
	if images.Dim(-1) != words.Dim(-1) {
		return nil, fmt.Errorf("%w: pictures are embedded in %d dimensions, texts in %d",
			graph.ErrBundle, images.Dim(-1), words.Dim(-1))
	}
	matches := make([]Match, len(texts))
	for i, text := range texts {
		similarity := graph.Dot(graph.Row(images, row), graph.Row(words, i))
		matches[i] = Match{Text: text, Similarity: similarity}
	}
	if logits == nil {
		logits = make([]float32, len(texts))
		for i, match := range matches {
			logits[i] = float32(match.Similarity*m.scale + m.bias)
		}
	}
	for i, p := range decode.Softmax(logits) {
		if m.sigmoid {
			p = sigmoid(float64(logits[i]))
		}
		matches[i].Probability = p
	}
	return matches, nil
}

// words returns EmbedTexts of the texts of Match, which are often those of the picture before.
func (m *clip) words(ctx context.Context, texts []string) (*tensor.Tensor, error) {
	m.last.Lock()
	embeds := m.last.embeds
	same := embeds != nil && slices.Equal(m.last.texts, texts)
	m.last.Unlock()
	if same {
		return embeds, nil
	}
	embeds, err := m.EmbedTexts(ctx, texts)
	if err == nil {
		m.last.Lock()
		m.last.texts, m.last.embeds = slices.Clone(texts), embeds
		m.last.Unlock()
	}
	return embeds, err
}

// compare returns the pictures' embeddings [N,E], the texts' [B,E] and, from a graph that is the
// whole model, the logits of the texts; nil without one.
func (m *clip) compare(
	ctx context.Context, prepared media.Prepared, texts []string,
) (images, words *tensor.Tensor, logits []float32, err error) {
	if m.joint == nil {
		if !m.scaled {
			return nil, nil, nil, fmt.Errorf("%w: this SigLIP model has neither the whole model's "+
				"graph nor %s with logit_scale and logit_bias, without which its scores are not "+
				"known; it can embed", graph.ErrUnsupported, models.ProjectionName)
		}
		if images, err = m.EmbedMedia(ctx, prepared); err != nil {
			return nil, nil, nil, err
		}
		words, err = m.words(ctx, texts)
		return images, words, nil, err
	}
	in, err := m.textInputs(m.joint, texts)
	if err != nil {
		return nil, nil, nil, err
	}
	if in, err = m.joint.Feed(in, prepared.Tensors); err != nil {
		return nil, nil, nil, err
	}
	out, err := m.joint.Run(ctx, in, graph.ImageEmbeds, textEmbeds, logitsPerImage)
	if err != nil {
		return nil, nil, nil, err
	}
	for name, rows := range map[string]int{graph.ImageEmbeds: 1, textEmbeds: len(texts)} {
		if err := graph.CheckOutput(name, out[name], rows, -1); err != nil {
			return nil, nil, nil, err
		}
	}
	if out[logitsPerImage].Len() != len(texts) {
		return nil, nil, nil, fmt.Errorf(
			"%w: the graph gives logits %v for one picture and %d texts",
			graph.ErrBundle, out[logitsPerImage], len(texts))
	}
	if images, err = graph.Normalized(out[graph.ImageEmbeds]); err != nil {
		return nil, nil, nil, err
	}
	words, err = graph.Normalized(out[textEmbeds])
	return images, words, out[logitsPerImage].Float32s(), err
}

func sigmoid(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func (m *clip) Watched() []string { return []string{graph.VisionEncoder} }

// Attend makes one stage: of the class token for CLIP, of the probe that pools the patches for
// SigLIP. The rollout follows it through all layers. A convolutional encoder has a map of
// activation instead.
func (m *clip) Attend(ctx context.Context, a *attend.Attention, w *attend.Watch) error {
	if len(w.Runs(graph.VisionEncoder)) == 0 {
		return fmt.Errorf("%w: the image encoder is not a graph of its own", graph.ErrUnsupported)
	}
	run := &w.Runs(graph.VisionEncoder)[0]
	cells, pooled := run.Kind(attend.CellStates), run.Kind(attend.PooledState)
	if len(cells) > 0 && len(pooled) > 0 {
		return m.activation(ctx, a, cells[0], pooled[0])
	}
	self, probe := run.Kind(attend.SelfAttention), run.Kind(attend.CrossAttention)
	if len(self) == 0 {
		return fmt.Errorf("%w: the image encoder shows no attention", graph.ErrUnsupported)
	}
	n := self[0].Dim(3)
	var means []*tensor.Tensor
	for _, l := range self {
		mean, err := attend.MeanOf(l)
		if err != nil {
			return err
		}
		means = append(means, mean)
	}
	whole, err := attention.Rollout(means)
	if err != nil {
		return err
	}
	rollout := tensor.Data[float32](whole)
	var s attend.Stage
	if len(probe) > 0 {
		const name = "the pooling probe over patches"
		if s, err = attend.StageOf(name, probe[:1], 0, 1, 0, n); err != nil {
			return err
		}
		mean, err := attend.MeanOf(probe[0])
		if err != nil {
			return err
		}
		row := make([]float32, n)
		for i, v := range tensor.Data[float32](mean)[:n] {
			for j := range row {
				row[j] += v * rollout[i*n+j]
			}
		}
		rollout = row
	} else {
		const name = "the class token over patches"
		if s, err = attend.StageOf(name, self, 0, 1, 0, n); err != nil {
			return err
		}
	}
	s.Rollout, err = tensor.New([]int{1, n}, rollout[:n])
	a.Stages = []attend.Stage{s}
	return err
}

// activation makes the stage of a class activation map (Zhou et al., 1512.04150) of a text. The
// text's similarity to the picture, before both are normalised, is a sum over the channels of the
// pooled state, and each channel's term is divided among the cells in proportion to their share of
// the channel. Negative cells become 0. Without a text the picture's own embedding takes its place.
// Shares need channels without negative values, as behind a rectifier; a transformer's states have
// some.
func (m *clip) activation(
	ctx context.Context, a *attend.Attention, cells, pooled attend.Layer,
) error {
	n, width := cells.Dim(1), cells.Dim(2)
	p := m.vision.projection
	fits := p != nil && p.In == width && pooled.Dim(1) == width
	if !fits || pooled.Dim(0) < 1 || cells.Dim(0) < 1 {
		return fmt.Errorf(
			"%w: the image encoder shows no attention, and its states are not those that "+
				"visual_projection takes",
			graph.ErrUnsupported)
	}
	x := tensor.Data[float32](cells.Tensor)[:n*width]
	state := tensor.Data[float32](pooled.Tensor)[:width]
	for _, v := range x {
		if !(v >= 0) {
			return fmt.Errorf(
				"%w: the image encoder shows no attention, and its states are not the "+
					"rectified ones of a convolutional encoder",
				graph.ErrUnsupported)
		}
	}
	name, asked := "the text over cells", []float32(nil)
	if text := a.Tokens[0]; text != "" {
		embeds, err := m.EmbedTexts(ctx, []string{text})
		if err != nil {
			return err
		}
		if asked = graph.Row(embeds, 0); len(asked) != p.Out {
			return fmt.Errorf("%w: pictures are embedded in %d dimensions, texts in %d",
				graph.ErrBundle, p.Out, len(asked))
		}
	} else {
		one, err := tensor.New([]int{1, width}, state)
		if err != nil {
			return err
		}
		embeds, err := p.Apply(ctx, one)
		if err != nil {
			return err
		}
		name, asked = "the picture over cells", graph.Row(embeds, 0)
	}
	part := make([]float32, width) // of each channel
	for o, t := range asked {
		kernel.Axpy(part, p.Weight[o*width:(o+1)*width], t)
	}
	kernel.Mul(part, part, state)
	total := make([]float32, width)
	for i := range n {
		kernel.Axpy(total, x[i*width:(i+1)*width], 1)
	}
	for k := range part {
		if total[k] > 0 {
			part[k] /= total[k]
		} else {
			part[k] = 0
		}
	}
	row := make([]float32, n)
	for i := range row {
		row[i] = max(0, float32(graph.Dot(x[i*width:(i+1)*width], part)))
	}
	if sum := kernel.Sum(row); sum > 0 {
		kernel.Scale(row, row, 1/sum)
	}
	s, err := attend.StageOfPlaces(name, 1, n, row)
	a.Stages = []attend.Stage{s}
	return err
}
