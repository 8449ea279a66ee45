package family

import (
	"context"
	"fmt"
	"image"
	"slices"
	"strconv"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// Image names the family of encoders and classifiers of pictures alone, such as timm's.
const Image models.Family = "image"

// imageTypes are the model_types of such models; timm's own configurations have none.
var imageTypes = []string{
	models.TimmType, "convnext", "convnextv2", "deit", "dinov2", "dinov2_with_registers",
	"efficientnet", "regnet", "resnet", "swin", "swinv2", "vit", "vit_msn",
}

var imageRow = Family{Name: Image, Layouts: imageLayouts(), Open: openImage, Wordless: true}

func imageLayouts() (layouts []models.Layout) {
	for _, t := range imageTypes {
		layouts = append(layouts, models.Layout{
			Type: t, Family: Image,
			Forms:        [][]string{{graph.Model}, {graph.VisionEncoder}},
			Alternatives: true,
		})
	}
	return layouts
}

// imageModel is a graph that takes pictures and gives their embeddings, the logits of its classes,
// or both.
type imageModel struct {
	onePicture
	graph   *graph.Graph
	embeds  string // the output [B,D]; "" where there is none
	logits  string // the output [B,C]; "" where there is none
	classes []string
	config  imageConfig
}

// imageConfig is what config.json of timm, or of transformers, says of a classifier.
type imageConfig struct {
	Classes      *int              `json:"num_classes"`
	Names        []string          `json:"label_names"`
	Descriptions map[string]string `json:"label_descriptions"`
	ByID         map[string]string `json:"id2label"`
	Pretrained   struct {
		Classes *int     `json:"num_classes"`
		Names   []string `json:"label_names"`
	} `json:"pretrained_cfg"`
}

// Names that tools give to outputs [B,D] and [B,C].
var (
	embeddingNames = []string{
		graph.ImageEmbeds, "image_embeddings", poolerOutput, graph.PooledOutput, "embedding",
		"embeddings", "pooled", "features",
	}
	logitsNames = []string{graph.Logits, "scores", "probs"}
)

func openImage(o *graph.Opener, c *Config) (Model, error) {
	m := &imageModel{}
	err := o.Bundle.JSON("config.json", &m.config)
	if ignoreMissing(err) != nil {
		return nil, err
	}
	role := graph.Model
	if !o.Bundle.Has(role) {
		role = graph.VisionEncoder
	}
	if m.graph, err = o.Open(role); err != nil {
		return nil, err
	}
	if err := nameInput(m.graph, graph.PixelValues); err != nil {
		return nil, err
	}
	count := m.config.count()
	outputs, err := m.outputs(o.Context(), c)
	if err != nil {
		return nil, err
	}
	for _, out := range outputs {
		if len(out.Shape) != 2 {
			continue
		}
		switch width := out.Shape[1]; {
		case count > 0 && width == count && !slices.Contains(embeddingNames, out.Name),
			count != 0 && slices.Contains(logitsNames, out.Name):
			m.logits = out.Name
		case m.embeds == "" || slices.Contains(embeddingNames, out.Name):
			m.embeds = out.Name
		}
	}
	if m.embeds == "" && m.logits == "" {
		return nil, fmt.Errorf("%w: the graph %s gives neither one vector nor the logits of classes "+
			"for a picture: %v", graph.ErrBundle, role, m.graph.Outputs())
	}
	m.classes, err = m.config.names(count)
	return m, err
}

// outputs returns the graph's outputs with their shapes. Where it does not declare them, a run over a
// small picture tells.
func (m *imageModel) outputs(ctx context.Context, c *Config) ([]tensor.Spec, error) {
	outputs := slices.Clone(m.graph.Outputs())
	open := func(s tensor.Spec) bool { return s.Shape == nil || len(s.Shape) == 2 && s.Shape[1] < 0 }
	if !slices.ContainsFunc(outputs, open) {
		return outputs, nil
	}
	front, err := c.Preparer(media.Pictures)
	if err != nil {
		return nil, err
	}
	dot := media.Picture{Image: image.NewGray(image.Rect(0, 0, 1, 1))}
	blank, err := front.Prepare(ctx, []media.Item{dot})
	if err != nil {
		return nil, err
	}
	in, err := m.graph.Feed(blank.Tensors)
	if err != nil {
		return nil, err
	}
	made, err := m.graph.Run(ctx, in)
	if err != nil {
		return nil, graph.Misfit(err)
	}
	for i, s := range outputs {
		if t := made[s.Name]; t != nil {
			outputs[i].Shape = t.Shape()
		}
	}
	return outputs, nil
}

// count returns the number of classes; 0 where the model has no classifier, -1 where nothing says.
func (c *imageConfig) count() int {
	switch {
	case c.Classes != nil:
		return *c.Classes
	case c.Pretrained.Classes != nil:
		return *c.Pretrained.Classes
	case len(c.ByID) > 0:
		return len(c.ByID)
	case len(c.Names) > 0:
		return len(c.Names)
	}
	return -1
}

// names returns the names of the classes; nil where the configuration has none.
func (c *imageConfig) names(count int) ([]string, error) {
	list := c.Names
	if list == nil {
		list = c.Pretrained.Names
	}
	if list == nil && len(c.ByID) > 0 {
		list = make([]string, len(c.ByID))
		invented := true
		for key, name := range c.ByID {
			id, err := strconv.Atoi(key)
			if err != nil || id < 0 || id >= len(list) {
				return nil, fmt.Errorf("%w: config.json: id2label has the id %q among %d",
					graph.ErrBundle, key, len(list))
			}
			list[id] = name
			invented = invented && name == "LABEL_"+key
		}
		if invented { // transformers' own, where it knows no names
			return nil, nil
		}
	}
	if list != nil && count > 0 && len(list) != count {
		return nil, fmt.Errorf("%w: config.json names %d classes of %d", graph.ErrBundle, len(list),
			count)
	}
	names := slices.Clone(list)
	for i, name := range names {
		if long := c.Descriptions[name]; long != "" {
			names[i] = long
		}
	}
	return names, nil
}

// run returns one output [B,D] for prepared pictures.
func (m *imageModel) run(
	ctx context.Context, prepared media.Prepared, output string,
) (*tensor.Tensor, error) {
	return m.graph.RunPrepared(ctx, prepared.Tensors, output, prepared.Items(), -1)
}

// Embeds reports whether the graph gives an embedding.
func (m *imageModel) Embeds() bool { return m.embeds != "" }

// EmbedMedia embeds pictures.
func (m *imageModel) EmbedMedia(
	ctx context.Context, prepared media.Prepared,
) (*tensor.Tensor, error) {
	if m.embeds == "" {
		return nil, fmt.Errorf("%w: this model's graph gives the logits of classes alone (%s), no "+
			"embedding; one exported without its classifier (num_classes 0 in timm) does",
			graph.ErrUnsupported, m.logits)
	}
	vectors, err := m.run(ctx, prepared, m.embeds)
	if err != nil {
		return nil, err
	}
	return graph.Normalized(vectors)
}

// EmbedTexts refuses: the model knows no texts.
func (m *imageModel) EmbedTexts(context.Context, []string) (*tensor.Tensor, error) {
	return nil, fmt.Errorf("%w: this model embeds pictures alone, no texts", graph.ErrUnsupported)
}

// Classes returns the names of the model's own classes.
func (m *imageModel) Classes() ([]string, error) {
	switch {
	case m.logits == "":
		return nil, fmt.Errorf("%w: this model has no classes: its graph gives an embedding alone "+
			"(%s)", graph.ErrUnsupported, m.embeds)
	case m.classes == nil:
		return nil, fmt.Errorf("%w: config.json has no names of the model's %d classes (label_names "+
			"or id2label)", graph.ErrUnsupported, max(m.config.count(), 0))
	}
	return m.classes, nil
}

// Scores returns the logits [N,C] of the model's classes.
func (m *imageModel) Scores(
	ctx context.Context, prepared media.Prepared,
) (*tensor.Tensor, error) {
	if m.logits == "" {
		_, err := m.Classes()
		return nil, err
	}
	logits, err := m.run(ctx, prepared, m.logits)
	if err != nil {
		return nil, err
	}
	if m.classes != nil && logits.Dim(-1) != len(m.classes) {
		return nil, fmt.Errorf("%w: the graph gives %d logits, config.json names %d classes",
			graph.ErrBundle, logits.Dim(-1), len(m.classes))
	}
	return logits, graph.CheckNumbers(m.logits, logits.Float32s())
}
