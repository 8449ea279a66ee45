package pipeline

import (
	"context"
	"image"
	"io"
	"iter"

	"github.com/crossattn/xpipe/vision"
)

// Decode reads a picture within the Pipeline's limits, with the pixels that models are trained on;
// see vision.Decode. Errors wrap ErrImage or ErrLimit.
func (p *Pipeline) Decode(r io.Reader) (image.Image, error) {
	return decoded(vision.Decode(r, vision.WithLimits(p.limits.Vision())))
}

// DecodeFile is Decode for a file; its errors name it.
func (p *Pipeline) DecodeFile(path string) (image.Image, error) {
	return decoded(vision.DecodeFile(path, vision.WithLimits(p.limits.Vision())))
}

// DecodeFiles decodes files one by one, as they are asked for: the pictures of CaptionAll and
// EmbedAll. A file that cannot be read gives its error, and the next ones follow.
func (p *Pipeline) DecodeFiles(paths ...string) iter.Seq2[image.Image, error] {
	return func(yield func(image.Image, error) bool) {
		for _, path := range paths {
			if !yield(p.DecodeFile(path)) {
				return
			}
		}
	}
}

// decoded makes an image.Image of a picture; a nil one stays nil.
func decoded(img *vision.RGB, err error) (image.Image, error) {
	if err != nil {
		return nil, err
	}
	return img, nil
}

// CaptionFile describes the picture in a file; see DecodeFile and Caption.
func (p *Pipeline) CaptionFile(
	ctx context.Context, path string, opts ...GenerateOption,
) (*Text, error) {
	img, err := p.DecodeFile(path)
	if err != nil {
		return nil, err
	}
	return p.Caption(ctx, img, opts...)
}
