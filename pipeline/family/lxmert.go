package family

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/attend"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
)

// LXMERT names the family of LXMERT.
const LXMERT models.Family = "lxmert"

var lxmertRow = Family{
	Name: LXMERT,
	Layouts: []models.Layout{{
		Type: "lxmert", Family: LXMERT, Forms: [][]string{{graph.Model}},
		Manifest: func(c models.Config) map[string]any {
			return map[string]any{
				"answers": c.Answers, "limits": map[string]int{"max_text": 20},
				"prompts": map[string]string{"answer": "{}"},
			}
		},
	}},
	Open: openLXMERT,
}

// lxmert is a model of LXMERT (Tan and Bansal, 1908.07490): the question's words and the picture's
// regions attend to each other in both directions, and a classifier over the whole picks one of a
// fixed list of answers.
type lxmert struct {
	graph     *graph.Graph
	regions   *regionEncoder // nil where regions come with the request
	labels    []string       // of the answers; nil where the bundle does not say
	texts     Texts
	layers    layerCounts // from config.json, for the rollout
	maxText   int         // tokens that longer questions are cut to; 0: none is cut
	positions int         // of a question; 0: unknown
}

// layerCounts are the numbers of LXMERT's layers of each modality alone, and of both.
type layerCounts struct {
	Language int `json:"l_layers"`
	Visual   int `json:"r_layers"`
	Cross    int `json:"x_layers"`
}

func openLXMERT(o *graph.Opener, c *Config) (Model, error) {
	m := &lxmert{texts: c.Texts, maxText: o.Bundle.Limits["max_text"]}
	var err error
	if m.labels, err = answerLabels(o.Bundle); err != nil {
		return nil, err
	}
	if err := o.Bundle.JSON("config.json", &m.layers); ignoreMissing(err) != nil {
		return nil, err
	}
	if m.positions, err = maxPositions(o.Bundle, ""); err != nil {
		return nil, err
	}
	if m.regions, err = openRegionEncoder(o, c); err != nil {
		return nil, err
	}
	m.graph, err = o.Open(graph.Model)
	return m, err
}

// answerLabels reads the names of the answers that a classifier picks from; nil where the bundle does
// not say them.
func answerLabels(bundle *models.Bundle) (labels []string, err error) {
	if err := bundle.JSON("labels.json", &labels); ignoreMissing(err) != nil {
		return nil, err
	}
	var manifest struct {
		Answers int `json:"answers"`
	}
	if err := bundle.JSON(models.ManifestName, &manifest); err != nil {
		return nil, err
	}
	if labels != nil && manifest.Answers > 0 && len(labels) != manifest.Answers {
		return nil, fmt.Errorf("%w: labels.json names %d answers, the model has %d",
			graph.ErrBundle, len(labels), manifest.Answers)
	}
	return labels, nil
}

// Media lists regions and, for bundles with a region encoder, pictures.
func (m *lxmert) Media() []media.Kind {
	if m.regions != nil {
		return []media.Kind{media.Regions, media.Pictures}
	}
	return []media.Kind{media.Regions}
}

// Label returns the text of an answer; without a list of labels, its number.
func (m *lxmert) Label(answer int) string { return answerLabel(m.labels, answer) }

// FeatureWidth returns the width F of the regions' features [R,F]; 0 where the graph does not say.
func (m *lxmert) FeatureWidth() int {
	for _, in := range m.graph.Inputs() {
		if in.Name == graph.VisualFeats && len(in.Shape) == 3 {
			return max(0, in.Shape[2])
		}
	}
	return 0
}

// Answer returns the logits [B,A] over the answers.
func (m *lxmert) Answer(
	ctx context.Context, regions []*vision.Regions, questions []string,
) (*tensor.Tensor, error) {
	rows, err := m.texts.ReadAll(m.positions, questions, truncated(m.maxText)...)
	if err != nil {
		return nil, err
	}
	ids, mask, err := padRight(rows)
	if err != nil {
		return nil, err
	}
	most, width := 0, regions[0].Features.Dim(1)
	for _, r := range regions {
		if r.Features.Dim(1) != width {
			return nil, fmt.Errorf("%w: features of width %d and %d in one batch",
				vision.ErrRegions, width, r.Features.Dim(1))
		}
		most = max(most, r.Features.Dim(0))
	}
	features := make([]float32, len(regions)*most*width)
	boxes := make([]float32, len(regions)*most*4)
	lengths := make([]int, len(regions))
	for i, r := range regions {
		copy(features[i*most*width:], tensor.Data[float32](r.Features))
		copy(boxes[i*most*4:], tensor.Data[float32](r.Boxes))
		lengths[i] = r.Features.Dim(0)
	}
	in := map[string]*tensor.Tensor{graph.InputIDs: ids, graph.AttentionMask: mask}
	rowsOf := func(width int) []int { return []int{len(regions), most, width} }
	if in[graph.VisualFeats], err = tensor.New(rowsOf(width), features); err != nil {
		return nil, err
	}
	if in["visual_pos"], err = tensor.New(rowsOf(4), boxes); err != nil {
		return nil, err
	}
	if in["visual_attention_mask"], err = graph.Mask(lengths, most); err != nil {
		return nil, err
	}
	for _, spec := range m.graph.Inputs() {
		if spec.Name == graph.VisualFeats {
			if err := spec.Check(in[spec.Name]); err != nil {
				return nil, fmt.Errorf("%w: they do not fit the model: %w", vision.ErrRegions, err)
			}
		}
	}
	logits, err := m.graph.RunOne(ctx, in, graph.Logits, len(regions), -1)
	if err != nil {
		return nil, err
	}
	return logits, graph.CheckNumbers("the answers' logits", tensor.Data[float32](logits))
}

func (m *lxmert) Watched() []string { return []string{graph.Model} }

// Attend makes the stages of the cross layers in both directions: words over regions, and regions
// over words.
func (m *lxmert) Attend(ctx context.Context, a *attend.Attention, w *attend.Watch) error {
	run := &w.Runs(graph.Model)[0]
	ids := tensor.Data[int64](run.In[graph.InputIDs])
	for _, id := range ids {
		token, _ := m.texts.IDToToken(id)
		a.Tokens = append(a.Tokens, token)
	}
	cross, back := run.Kind(attend.CrossAttention), run.Kind(attend.VisualCrossAttention)
	words, regions := len(ids), len(a.Boxes)
	s, err := attend.StageOf("words over regions", cross, 0, words, 0, regions)
	if err != nil {
		return err
	}
	if s.Rollout, err = m.rollout(ctx, run, words, regions); err != nil {
		return err
	}
	a.Stages = []attend.Stage{s}
	if len(back) > 0 {
		r, err := attend.StageOf("regions over words", back, 0, regions, 0, words)
		if err != nil {
			return err
		}
		a.Reverse = &r
	}
	return nil
}

// rollout returns the rollout [words,regions] over both modalities at once: the layers of each
// alone, then the cross layers, in which each reads the other's state from before, and then its
// own. The last layers' maps of regions reach no answer and may be missing in the graph.
func (m *lxmert) rollout(
	ctx context.Context, run *attend.Run, words, regions int,
) (*tensor.Tensor, error) {
	const (
		language = attend.SelfAttention
		cross    = attend.CrossAttention
		visual   = attend.VisualSelfAttention
		back     = attend.VisualCrossAttention
	)
	kinds := map[attend.Kind][]*tensor.Tensor{}
	for _, kind := range []attend.Kind{language, cross, visual, back} {
		for _, layer := range run.Kind(kind) {
			mean, err := attend.MeanOf(layer)
			if err != nil {
				return nil, err
			}
			kinds[kind] = append(kinds[kind], mean)
		}
	}
	n := m.layers
	if n.Cross == 0 || len(kinds[language]) < n.Language+n.Cross || len(kinds[cross]) < n.Cross {
		return nil, nil
	}
	f := attend.NewFlow(ctx, words+regions)
	at := func(kind attend.Kind, layer, to, from int) []attend.Update {
		if layer < len(kinds[kind]) {
			return []attend.Update{{To: to, From: from, Weights: kinds[kind][layer]}}
		}
		return nil
	}
	var err error
	step := func(updates ...attend.Update) {
		if err == nil {
			err = f.Layer(updates...)
		}
	}
	for l := range n.Language {
		step(at(language, l, 0, 0)...)
	}
	for l := range n.Visual {
		step(at(visual, l, words, words)...)
	}
	for l := range n.Cross {
		step(append(at(cross, l, 0, words), at(back, l, words, 0)...)...)
		step(append(at(language, n.Language+l, 0, 0), at(visual, n.Visual+l, words, words)...)...)
	}
	if err != nil {
		return nil, err
	}
	return f.Part(0, words, words, regions)
}
