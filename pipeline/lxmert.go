package pipeline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// lxmert is the way of LXMERT (Tan and Bansal, 1908.07490): the question's
// words and the picture's regions attend to each other in both directions, and
// a classifier over the whole picks one of a fixed list of answers.
type lxmert struct {
	*graphOpener
	session   engine.Session
	regions   *regionEncoder // nil: regions come with the request
	labels    []string       // of the answers; nil where the bundle does not say
	tokenizer *tokenize.Tokenizer
	maxText   int // beyond which questions lose their end; 0: none does
	positions int // of a question; 0: unknown
}

// regionAnswerer is a model that answers from regions by classification.
type regionAnswerer interface {
	model
	// answer returns the logits [B,A] over the answers.
	answer(ctx context.Context, regions []*Regions, questions []string) (*tensor.Tensor, error)
	label(answer int) string
}

func openLXMERT(graphs *graphOpener, tokenizer *tokenize.Tokenizer) (*lxmert, error) {
	m := &lxmert{graphOpener: graphs, tokenizer: tokenizer, maxText: graphs.bundle.Limits["max_text"]}
	if err := graphs.bundle.JSON("labels.json", &m.labels); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var manifest struct {
		Answers int `json:"answers"`
	}
	if err := graphs.bundle.JSON(models.ManifestName, &manifest); err != nil {
		return nil, err
	}
	if m.labels != nil && manifest.Answers > 0 && len(m.labels) != manifest.Answers {
		return nil, fmt.Errorf("%w: labels.json names %d answers, the model has %d", ErrBundle, len(m.labels), manifest.Answers)
	}
	var err error
	if m.positions, err = graphs.textPositions(""); err != nil {
		return nil, err
	}
	if m.regions, err = openRegionEncoder(graphs); err != nil {
		return nil, err
	}
	m.session, err = graphs.open("model")
	return m, err
}

// label is the text of an answer; answers without a list are their numbers.
func (m *lxmert) label(answer int) string {
	if answer < len(m.labels) {
		return m.labels[answer]
	}
	return strconv.Itoa(answer)
}

func (m *lxmert) answer(ctx context.Context, regions []*Regions, questions []string) (*tensor.Tensor, error) {
	var opts []tokenize.Option
	if m.maxText > 0 {
		opts = append(opts, tokenize.WithTruncation(&tokenize.Truncation{MaxLength: m.maxText}))
	}
	ids, mask, err := m.encodeRight(m.tokenizer, questions, m.positions, opts...)
	if err != nil {
		return nil, err
	}
	most, width := 0, regions[0].Features.Dim(1)
	for _, r := range regions {
		if r.Features.Dim(1) != width {
			return nil, fmt.Errorf("%w: features of width %d and %d in one batch", ErrRegions, width, r.Features.Dim(1))
		}
		most = max(most, r.Features.Dim(0))
	}
	features := make([]float32, len(regions)*most*width)
	boxes := make([]float32, len(regions)*most*4)
	there := make([]int64, len(regions)*most)
	for i, r := range regions {
		copy(features[i*most*width:], tensor.Data[float32](r.Features))
		copy(boxes[i*most*4:], tensor.Data[float32](r.Boxes))
		for j := range r.Features.Dim(0) {
			there[i*most+j] = 1
		}
	}
	in := map[string]*tensor.Tensor{"input_ids": ids, attentionMask: mask}
	if in["visual_feats"], err = tensor.New([]int{len(regions), most, width}, features); err != nil {
		return nil, err
	}
	if in["visual_pos"], err = tensor.New([]int{len(regions), most, 4}, boxes); err != nil {
		return nil, err
	}
	if in["visual_attention_mask"], err = tensor.New([]int{len(regions), most}, there); err != nil {
		return nil, err
	}
	for _, spec := range m.session.Inputs() {
		if spec.Name == "visual_feats" {
			if err := spec.Check(in[spec.Name]); err != nil {
				return nil, fmt.Errorf("%w: they do not fit the model: %w", ErrRegions, err)
			}
		}
	}
	logits, err := runOne(ctx, m.session, in, logitsName, len(regions), -1)
	if err != nil {
		return nil, err
	}
	return logits, checkNumbers("the answers' logits", tensor.Data[float32](logits))
}
