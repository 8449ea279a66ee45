package pipeline

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/fallback/attention"
	"github.com/crossattn/xpipe/fallback/kernel"
	"github.com/crossattn/xpipe/tensor"
)

func (m *clip) watched() []string { return []string{visionRole} }

// attention of CLIP is that of the class token, of SigLIP that of the probe which
// pools the patches; the rollout follows it through all layers. A convolutional
// encoder has activation instead.
func (m *clip) attention(ctx context.Context, a *Attention, w *watch) error {
	if len(w.runs[visionRole]) == 0 {
		return fmt.Errorf("%w: the image encoder is not a graph of its own", ErrUnsupported)
	}
	run := &w.runs[visionRole][0]
	cells, pooled := run.kind(cellStates), run.kind(pooledState)
	if len(cells) > 0 && len(pooled) > 0 {
		return m.activation(ctx, a, cells[0], pooled[0])
	}
	self, probe := run.kind(selfAttention), run.kind(crossAttention)
	if len(self) == 0 {
		return fmt.Errorf("%w: the image encoder shows no attention", ErrUnsupported)
	}
	n := self[0].Dim(3)
	var means []*tensor.Tensor
	for _, l := range self {
		mean, err := meanOf(l)
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
	var s AttentionStage
	if len(probe) > 0 {
		if s, err = stageOf("the pooling probe over patches", probe[:1], 0, 1, 0, n); err != nil {
			return err
		}
		mean, err := meanOf(probe[0])
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
	} else if s, err = stageOf("the class token over patches", self, 0, 1, 0, n); err != nil {
		return err
	}
	s.Rollout, err = tensor.New([]int{1, n}, rollout[:n])
	a.Stages = []AttentionStage{s}
	return err
}

// activation is a class activation map (Zhou et al., 1512.04150) of a text: its
// similarity to the picture, before both are normalised, is a sum over the channels
// of the pooled state, and a channel's part belongs to the cells in proportion to
// their share of the channel. Cells that speak against the text are left out.
// Without a text it is the picture's own embedding that is asked for. Shares need
// channels that are nowhere negative, as behind a rectifier: a transformer's states
// are not.
func (m *clip) activation(ctx context.Context, a *Attention, cells, pooled attentionMap) error {
	n, width := cells.Dim(1), cells.Dim(2)
	p := m.vision.projection
	if p == nil || p.in != width || pooled.Dim(1) != width || pooled.Dim(0) < 1 || cells.Dim(0) < 1 {
		return fmt.Errorf("%w: the image encoder shows no attention, and its states are not those that visual_projection takes", ErrUnsupported)
	}
	x, state := tensor.Data[float32](cells.Tensor)[:n*width], tensor.Data[float32](pooled.Tensor)[:width]
	for _, v := range x {
		if !(v >= 0) {
			return fmt.Errorf("%w: the image encoder shows no attention, and its states are not the rectified ones of a convolutional encoder", ErrUnsupported)
		}
	}
	name, asked := "the text over cells", []float32(nil)
	if text := a.Tokens[0]; text != "" {
		embeds, err := m.embedTexts(ctx, []string{text})
		if err != nil {
			return err
		}
		if asked = rowOf(embeds, 0); len(asked) != p.out {
			return fmt.Errorf("%w: pictures are embedded in %d dimensions, texts in %d", ErrBundle, p.out, len(asked))
		}
	} else {
		one, err := tensor.New([]int{1, width}, state)
		if err != nil {
			return err
		}
		embeds, err := p.apply(ctx, one)
		if err != nil {
			return err
		}
		name, asked = "the picture over cells", rowOf(embeds, 0)
	}
	part := make([]float32, width) // of each channel
	for o, t := range asked {
		kernel.Axpy(part, p.weight[o*width:(o+1)*width], t)
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
		row[i] = max(0, float32(dot(x[i*width:(i+1)*width], part)))
	}
	if sum := kernel.Sum(row); sum > 0 {
		kernel.Scale(row, row, 1/sum)
	}
	s, err := stageOfPlaces(name, 1, n, row)
	a.Stages = []AttentionStage{s}
	return err
}
