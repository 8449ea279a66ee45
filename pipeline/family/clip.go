package family

import (
	"context"
	"fmt"
	"image"
	"math"
	"slices"
	"sync"

	"github.com/crossattn/xpipe/fallback/attention"
	"github.com/crossattn/xpipe/internal/kernel"
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
	}, {
		Type: "siglip2", Family: CLIP, Forms: dualForms, // NaFlex; others call themselves siglip
		Manifest: func(c models.Config) map[string]any {
			return dual(c, 64, "sigmoid", "max_length", "This is a photo of {}.")
		},
	}, {
		Type: "chinese_clip", Family: CLIP, Forms: dualForms,
		Manifest: func(c models.Config) map[string]any {
			return dual(c, 512, "softmax", "longest", "一张{}的照片")
		},
	}, {
		Type: "jina_clip", Family: CLIP, Forms: dualForms,
		Manifest: func(c models.Config) map[string]any {
			return dual(c, 0, "softmax", "masked", "a photo of a {}")
		},
	}, {
		Type: models.OpenCLIPType, Family: CLIP, Forms: dualForms, Manifest: openCLIPManifest,
		Folders: []string{"textual", "visual"},
		Roles: map[string]string{
			"visual/model": graph.VisionEncoder, "textual/model": graph.TextEncoder,
		},
	}},
	Open: openCLIP,
}

// openCLIPManifest returns the keys of xpipe.json for a model of open_clip, in whose configurations
// a bias of the logits means SigLIP.
func openCLIPManifest(c models.Config) map[string]any {
	c.TextConfig.MaxPositions = c.Text.ContextLength
	m := dual(c, 77, "softmax", "max_length", "a photo of a {}")
	if c.InitLogitBias != nil {
		m = dual(c, 77, "sigmoid", "max_length", "This is a photo of {}.")
	}
	m["text_cleaning"] = cleanSpaces
	if clean := c.Text.TokenizerKwargs.Clean; clean == cleanCanonical {
		m["text_cleaning"] = clean
	}
	return m
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
// gives the logits itself. Two separate graphs lack the trained scale of the logits; config.json
// holds the value that training began with. They give similarities, and no probabilities.
type clip struct {
	onePicture
	vision, text tower
	joint        *graph.Graph // both towers and the logits in one graph; nil where there is none
	scale, bias  float64
	scaled       bool // scale and bias are known
	sigmoid      bool
	words        dualTexts

	last struct { // texts that were compared last, with their embeddings
		sync.Mutex
		texts  []string
		embeds *tensor.Tensor
	}
}

const (
	textEmbeds     = "text_embeds"
	logitsPerImage = "logits_per_image"
)

func openCLIP(o *graph.Opener, c *Config) (Model, error) {
	m := &clip{}
	var manifest struct {
		Scores string `json:"scores"` // softmax or sigmoid
	}
	if err := o.Bundle.JSON(models.ManifestName, &manifest); err != nil {
		return nil, err
	}
	m.sigmoid = manifest.Scores == "sigmoid"
	var err error
	if m.words, err = openDualTexts(o.Bundle, c.Texts, m.sigmoid); err != nil {
		return nil, err
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
	if err := m.openTower(o, &m.vision, graph.VisionEncoder, imageNames, whole); err != nil {
		return nil, err
	}
	if err := m.openTower(o, &m.text, graph.TextEncoder, textNames, whole); err != nil {
		return nil, err
	}
	m.words.fit(m.text.graph)
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
	word, err := m.words.inputs(whole, []string{"a"})
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

// EmbedMedia embeds pictures.
func (m *clip) EmbedMedia(ctx context.Context, prepared media.Prepared) (*tensor.Tensor, error) {
	embeds, err := m.vision.embed(ctx, prepared.Items(), prepared.Tensors)
	return embeds, graph.Misfit(err)
}

// ReadText returns the ids of a text as the text tower gets them, without padding.
func (m *clip) ReadText(text string) ([]int64, error) { return m.words.read(text) }

// EmbedTexts embeds texts; those longer than the model's positions lose their end.
func (m *clip) EmbedTexts(ctx context.Context, texts []string) (*tensor.Tensor, error) {
	if m.words.alone && len(texts) > 1 {
		rows := make([]*tensor.Tensor, len(texts))
		for i := range texts {
			var err error
			if rows[i], err = m.EmbedTexts(ctx, texts[i:i+1]); err != nil {
				return nil, err
			}
		}
		return graph.Stack(rows)
	}
	in, err := m.words.inputs(m.text.graph, texts)
	if err != nil {
		return nil, err
	}
	return m.text.embed(ctx, len(texts), in)
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
	if logits == nil && !m.scaled {
		for i := range matches {
			matches[i].Unscaled = true
		}
		return matches, nil
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

// embedWords returns EmbedTexts of the texts of Match, which are often those of the picture before.
func (m *clip) embedWords(ctx context.Context, texts []string) (*tensor.Tensor, error) {
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
		if images, err = m.EmbedMedia(ctx, prepared); err != nil {
			return nil, nil, nil, err
		}
		words, err = m.embedWords(ctx, texts)
		return images, words, nil, err
	}
	in, err := m.words.inputs(m.joint, texts)
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
	// A graph that takes one text at a time gives the picture's embedding with each.
	if images = out[graph.ImageEmbeds]; images.Rank() == 2 && images.Dim(0) == len(texts) {
		if out[graph.ImageEmbeds], err = images.Slice(0, 1); err != nil {
			return nil, nil, nil, err
		}
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
