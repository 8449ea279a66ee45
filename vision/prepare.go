package vision

import (
	"context"
	"image"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// Prepare returns pixel_values [B,3,H,W] float32, one row a picture, as Preprocess does; for a model
// that sees pictures in squares one row a square, and pixel_attention_mask; for one that sees patches
// one row a patch, [B,3*F*S*S]; for one that sees the tiles of a canvas [B,T,3,S,S]. It makes a Preprocessor a
// media.Preparer. Items that are no pictures give an error that wraps ErrImage.
func (p *Preprocessor) Prepare(ctx context.Context, items []media.Item) (media.Prepared, error) {
	pictures := make([]image.Image, len(items))
	rows := make([][2]int, len(items))
	for i, item := range items {
		picture, ok := item.(media.Picture)
		if !ok || picture.Image == nil {
			return media.Prepared{}, imageErrorf("item %d is no picture", i+1)
		}
		pictures[i], rows[i] = picture.Image, [2]int{i, i + 1}
	}
	if prepare := p.ownWay(); prepare != nil {
		return prepare(ctx, pictures)
	}
	pixels, err := p.Preprocess(ctx, pictures...)
	if err != nil {
		return media.Prepared{}, err
	}
	tensors := map[string]*tensor.Tensor{"pixel_values": pixels}
	return media.Prepared{Tensors: tensors, Rows: rows}, nil
}

// ownWay returns what prepares pictures for a model that does not see each as one square; nil for
// others.
func (p *Preprocessor) ownWay() func(context.Context, []image.Image) (media.Prepared, error) {
	switch {
	case p.naflex.side > 0:
		return p.prepareNaFlex
	case p.ops.there:
		return p.prepareOperations
	case p.crops > 0:
		return p.preparePhi3Pictures
	case p.patches.side > 0:
		return p.preparePatches
	case p.canvas.side > 0:
		return p.prepareCanvas
	case p.anyres.side > 0:
		return p.prepareAnyres
	case p.flattened.side > 0:
		return p.prepareFlattened
	case p.quartered.there:
		return p.prepareQuarters
	case p.tiles.side > 0:
		return p.prepareTiles
	case p.lfm2.side > 0:
		return p.prepareLFM2
	case p.pixtral.side > 0:
		return p.preparePixtral
	}
	return nil
}
