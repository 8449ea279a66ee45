package vision

import (
	"context"
	"image"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

// Prepare makes a Preprocessor a media.Preparer: pixel_values [B,3,H,W], one row a picture, as
// Preprocess gives them. Items that are no pictures are an ErrImage.
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
	pixels, err := p.Preprocess(ctx, pictures...)
	if err != nil {
		return media.Prepared{}, err
	}
	return media.Prepared{Tensors: map[string]*tensor.Tensor{"pixel_values": pixels}, Rows: rows}, nil
}
