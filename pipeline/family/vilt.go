package family

import (
	"context"
	"strconv"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// ViLT names the family of ViLT for questions.
const ViLT models.Family = "vilt"

var viltRow = Family{Name: ViLT, Open: openViLT}

// vilt is a model of ViLT (Kim et al., 2102.03334): one transformer over a question's words and a
// picture's patches, and a classifier that picks one of a fixed list of answers.
type vilt struct {
	onePicture
	graph     *graph.Graph
	labels    []string // of the answers; nil where the bundle does not say
	texts     Texts
	positions int // of a question; 0: unknown
}

func openViLT(o *graph.Opener, c *Config) (Model, error) {
	m := &vilt{texts: c.Texts}
	var err error
	if m.labels, err = answerLabels(o.Bundle); err != nil {
		return nil, err
	}
	if m.positions, err = maxPositions(o.Bundle, ""); err != nil {
		return nil, err
	}
	m.graph, err = o.Open(graph.Model)
	return m, err
}

// Label returns the text of an answer; without a list of labels, its number.
func (m *vilt) Label(answer int) string { return answerLabel(m.labels, answer) }

// Pick returns the logits [B,A] over the answers.
func (m *vilt) Pick(
	ctx context.Context, prepared media.Prepared, which []int, questions []string,
) (*tensor.Tensor, error) {
	rows, err := m.texts.ReadAll(m.positions, questions)
	if err != nil {
		return nil, err
	}
	in := map[string]*tensor.Tensor{}
	if in[graph.InputIDs], in[graph.AttentionMask], err = padRight(rows); err != nil {
		return nil, err
	}
	at := make([]int, len(which))
	for i, item := range which {
		at[i] = prepared.Rows[item][0]
	}
	for name, t := range prepared.Tensors {
		if in[name], err = t.Take(at); err != nil {
			return nil, err
		}
	}
	logits, err := m.graph.RunPrepared(ctx, in, graph.Logits, len(questions), -1)
	if err != nil {
		return nil, err
	}
	return logits, graph.CheckNumbers("the answers' logits", tensor.Data[float32](logits))
}

// answerLabel returns the text of an answer; without a list of labels, its number.
func answerLabel(labels []string, answer int) string {
	if answer < len(labels) {
		return labels[answer]
	}
	return strconv.Itoa(answer)
}
