package pipeline

import (
	"context"
	"image"
	"iter"

	"github.com/crossattn/xpipe/media"
)

// allPictures is how many pictures CaptionAll and EmbedAll run through the model at once. They are
// prepared as they come, so that a picture's pixels are not held while others are waited for.
const allPictures = 8

// CaptionAll captions any number of pictures, in bounded memory: it takes a few from the sequence at
// a time, and forgets them when they are captioned. It gives one pair for each, in their order: the
// caption, or an ItemError with the picture's place in the sequence. An error that the sequence gives
// in a picture's place is passed on so. Where ctx is done, its error is the last pair.
func (p *Pipeline) CaptionAll(
	ctx context.Context, pictures iter.Seq2[image.Image, error], opts ...GenerateOption,
) iter.Seq2[*Text, error] {
	caption := func(items []media.Item) ([]*Text, error) {
		requests := make([]Request, len(items))
		for i, item := range items {
			requests[i].Item = item
		}
		return firsts(p.generateEach(ctx, "picture", requests, opts, nil))
	}
	return inBatches(ctx, p, pictures, caption)
}

// EmbedAll is EmbedImages for any number of pictures, in bounded memory; see CaptionAll.
func (p *Pipeline) EmbedAll(
	ctx context.Context, pictures iter.Seq2[image.Image, error],
) iter.Seq2[[]float32, error] {
	embed := func(items []media.Item) ([][]float32, error) { return p.EmbedItems(ctx, items...) }
	return inBatches(ctx, p, pictures, embed)
}

// inBatches runs work over pictures, of which it holds few at once, prepared.
func inBatches[R any](
	ctx context.Context, p *Pipeline, pictures iter.Seq2[image.Image, error],
	work func([]media.Item) ([]R, error),
) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		if pictures == nil {
			return
		}
		var waiting []media.Item // nil for a broken one
		var broken []error       // why
		before := 0
		flush := func() bool {
			going := yieldBatch(ctx, before, waiting, broken, work, yield)
			before += len(waiting)
			waiting, broken = nil, nil
			return going
		}
		for img, err := range pictures {
			var item media.Item
			if err == nil {
				item, err = p.Prepare(ctx, img)
			}
			waiting, broken = append(waiting, item), append(broken, err)
			full := ctx.Err() != nil || len(waiting) >= min(allPictures, p.limits.Batch)
			if full && !flush() {
				return
			}
		}
		if len(waiting) > 0 {
			flush()
		}
	}
}

// yieldBatch gives the results of one batch, and reports whether to go on.
func yieldBatch[R any](
	ctx context.Context, before int, items []media.Item, broken []error,
	work func([]media.Item) ([]R, error), yield func(R, error) bool,
) bool {
	var none R
	var good []media.Item
	for i, item := range items {
		if broken[i] == nil {
			good = append(good, item)
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
	for i := range items {
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
