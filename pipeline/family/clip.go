package family

import (
	"context"
	"fmt"
	"image"

	"github.com/crossattn/xpipe/fallback/attention"
	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/attend"
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

// clip is a model of CLIP (Radford et al., 2103.00020) or SigLIP (Zhai et al., 2303.15343).
type clip struct{ dualEncoder }

var pictureSide = dualSide{
	kind: media.Pictures, role: graph.VisionEncoder, names: imageNames,
	projection: "visual_projection", logits: "logits_per_image",
	blank: func(media.Preparer) media.Item {
		return media.Picture{Image: image.NewGray(image.Rect(0, 0, 1, 1))}
	},
}

func openCLIP(o *graph.Opener, c *Config) (Model, error) {
	m := &clip{}
	return m, m.open(o, c, pictureSide)
}

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
	p := m.item.projection
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
