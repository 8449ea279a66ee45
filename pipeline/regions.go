package pipeline

import (
	"context"
	"fmt"
	"image"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
)

// Regions are an object detector's output for a picture: LXMERT's visual input.
type Regions = vision.Regions

// NewRegions checks shapes and scales boxes in pixels by the picture's size; see vision.NewRegions.
func NewRegions(features, boxes *tensor.Tensor, width, height float64) (*Regions, error) {
	return vision.NewRegions(features, boxes, width, height)
}

// LoadRegions reads the regions of pictures from a file, by picture; see vision.LoadRegions. A file
// beyond the default of Limits.RegionBytes is refused; Limits.LoadRegions takes others.
func LoadRegions(path string) (map[string]*Regions, error) { return Limits{}.LoadRegions(path) }

// LoadRegions is the function LoadRegions with l's bound on the file.
func (l Limits) LoadRegions(path string) (map[string]*Regions, error) {
	return vision.LoadRegions(path, l.withDefaults().RegionBytes)
}

// Regions makes the regions of a picture with the model's own encoder, for Request.Regions. The
// first is the picture as a whole, the others are the boxes, given in pixels of img. Without boxes
// it looks for objects on a plain ground, and where it finds none takes the cells of a 3x3 grid; on
// a photograph a detector's boxes are better. A request with an Image and no Regions gets those that
// Regions makes without boxes. A model whose bundle has no region encoder gives ErrUnsupported.
func (p *Pipeline) Regions(
	ctx context.Context, img image.Image, boxes ...image.Rectangle,
) (regions *Regions, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	return p.regions(ctx, img, boxes)
}

// RegionWidth returns the width F of the features [R,F] of Request.Regions; 0 where the model takes
// no regions, or its graph does not say.
func (p *Pipeline) RegionWidth() int {
	if m, ok := p.model.(family.Answerer); ok {
		return m.FeatureWidth()
	}
	return 0
}

func (p *Pipeline) regions(
	ctx context.Context, img image.Image, boxes []image.Rectangle,
) (*Regions, error) {
	m, ok := p.model.(family.RegionEncoder)
	if !ok || !m.FindsRegions() {
		return nil, p.unsupported("find a picture's regions itself")
	}
	if err := p.checkPicture(img); err != nil {
		return nil, err
	}
	return m.Regions(ctx, img, boxes, p.prepare)
}

// regionsOf returns the regions of each prompt: those given, or those that the model makes of its
// picture, once for prompts that share it.
func (p *Pipeline) regionsOf(ctx context.Context, prompts []prompt) ([]*Regions, error) {
	all := make([]*Regions, len(prompts))
	for i, q := range prompts {
		if len(q.items) > 1 {
			return nil, p.unsupported("read examples or several pictures")
		}
		var item media.Item
		if len(q.items) == 1 {
			item = q.items[0]
		}
		picture, shows := item.(media.Picture)
		given, _ := item.(*Regions)
		switch {
		case given != nil:
			all[i] = given
		case shows && p.images != nil:
			for before, other := range prompts[:i] {
				if len(other.items) == 1 && media.Same(item, other.items[0]) {
					all[i] = all[before]
				}
			}
			if all[i] == nil {
				var err error
				if all[i], err = p.regions(ctx, picture.Image, nil); err != nil {
					return nil, err
				}
			}
		default:
			return nil, fmt.Errorf(
				"%w: model %s sees regions, and the request has none; give a file of them "+
					"(--regions)",
				ErrRegions, p.bundle.Name)
		}
		if err := all[i].Check(); err != nil {
			return nil, err
		}
	}
	return all, nil
}
