package pipeline

import (
	"context"
	"image"
	"iter"
)

// What CaptionAll and EmbedAll hold at once: so many pictures, and so many pixels of 4 bytes unless
// one picture alone has more.
const (
	allPictures = 8
	allPixels   = 32 << 20
)

// CaptionAll captions any number of pictures, in bounded memory: it takes a few from the sequence at
// a time, and forgets them when they are captioned. It gives one pair for each, in their order: the
// caption, or an ItemError with the picture's place in the sequence. An error that the sequence gives
// in a picture's place is passed on so. Where ctx is done, its error is the last pair.
func (p *Pipeline) CaptionAll(
	ctx context.Context, pictures iter.Seq2[image.Image, error], opts ...GenerateOption,
) iter.Seq2[*Text, error] {
	caption := func(imgs []image.Image) ([]*Text, error) {
		return p.CaptionBatch(ctx, imgs, opts...)
	}
	return inBatches(ctx, p.limits.Batch, pictures, caption)
}

// EmbedAll is EmbedImages for any number of pictures, in bounded memory; see CaptionAll.
func (p *Pipeline) EmbedAll(
	ctx context.Context, pictures iter.Seq2[image.Image, error],
) iter.Seq2[[]float32, error] {
	embed := func(imgs []image.Image) ([][]float32, error) { return p.EmbedImages(ctx, imgs...) }
	return inBatches(ctx, p.limits.Batch, pictures, embed)
}

// inBatches runs work over pictures, of which it holds few at once.
func inBatches[R any](
	ctx context.Context, most int, pictures iter.Seq2[image.Image, error],
	work func([]image.Image) ([]R, error),
) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		var waiting []image.Image
		var broken []error // of the sequence, in the pictures' places
		pixels, before := 0, 0
		flush := func() bool {
			going := yieldBatch(ctx, before, waiting, broken, work, yield)
			before += len(waiting)
			waiting, broken, pixels = nil, nil, 0
			return going
		}
		for img, err := range pictures {
			size := 0
			if err == nil && !isNil(img) {
				size = img.Bounds().Dx() * img.Bounds().Dy()
			}
			full := len(waiting) >= min(allPictures, most) || pixels+size > allPixels
			if full && len(waiting) > 0 && !flush() {
				return
			}
			waiting, broken, pixels = append(waiting, img), append(broken, err), pixels+size
		}
		flush()
	}
}

// yieldBatch gives the results of one batch, and reports whether to go on.
func yieldBatch[R any](
	ctx context.Context, before int, imgs []image.Image, broken []error,
	work func([]image.Image) ([]R, error), yield func(R, error) bool,
) bool {
	var none R
	var good []image.Image
	for i, img := range imgs {
		if broken[i] == nil {
			good = append(good, img)
		}
	}
	results, err := work(good)
	if ctx.Err() != nil {
		yield(none, context.Cause(ctx))
		return false
	}
	failed := map[int]error{}
	for _, item := range ItemErrors(err) {
		failed[item.Index] = item.Err
	}
	at := 0
	for i := range imgs {
		result, fault := none, broken[i]
		if fault == nil {
			switch {
			case len(failed) == 0 && err != nil: // the whole batch
				fault = err
			case failed[at] != nil:
				fault = failed[at]
			default:
				result = results[at]
			}
			at++
		}
		if fault != nil {
			fault = &ItemError{What: "picture", Index: before + i, Err: fault}
		}
		if !yield(result, fault) {
			return false
		}
	}
	return true
}
