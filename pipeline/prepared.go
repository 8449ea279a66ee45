package pipeline

import (
	"context"
	"fmt"
	"image"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// Prepared is a picture as the model's graphs take it, without the pixels that it had: some hundred
// kilobytes for a photograph of 50 megabytes. It stands for the picture in Request.Item, Part.Item,
// Encode, EmbedItems and MatchItems, and belongs to the Pipeline that made it.
type Prepared struct {
	of     *Pipeline
	bounds image.Rectangle
	inputs media.Prepared // of this picture alone
}

// Kind returns media.Pictures.
func (r *Prepared) Kind() media.Kind { return media.Pictures }

// Bounds returns those of the picture.
func (r *Prepared) Bounds() image.Rectangle { return r.bounds }

// Prepare does the front end's work for a picture, so that many can wait for their turn in little
// memory. The item is a *Prepared or, for a model that sees regions, the *Regions that it finds. It
// gives the results that the picture itself would.
func (p *Pipeline) Prepare(ctx context.Context, img image.Image) (item media.Item, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	if _, ok := p.model.(family.Answerer); ok {
		picture := prompt{items: []media.Item{media.Picture{Image: img}}}
		regions, err := p.regionsOf(ctx, []prompt{picture})
		if err != nil {
			return nil, err
		}
		return regions[0], nil
	}
	inputs, err := p.preparePictures(ctx, img)
	if err != nil {
		return nil, err
	}
	return &Prepared{of: p, bounds: img.Bounds(), inputs: inputs}, nil
}

// prepareAll is the front end's work for items some of which may be prepared already.
func (p *Pipeline) prepareAll(ctx context.Context, items []media.Item) (media.Prepared, error) {
	ready := make([]media.Prepared, len(items))
	waiting := true
	for i, item := range items {
		if done, ok := item.(*Prepared); ok {
			ready[i], waiting = done.inputs, false
		}
	}
	if waiting {
		return p.images.Prepare(ctx, items)
	}
	for i, item := range items {
		if ready[i].Tensors == nil {
			var err error
			if ready[i], err = p.images.Prepare(ctx, []media.Item{item}); err != nil {
				return media.Prepared{}, err
			}
		}
	}
	joined, err := media.Join(ready...)
	if err != nil {
		return media.Prepared{}, fmt.Errorf("%w: %w: give them one at a time", ErrImage, err)
	}
	return joined, nil
}

// EmbedItems is EmbedImages for items, which Prepare may have made, or for sounds (*audio.Sound, of
// HearingRate) where the model hears (CLAP). Items that cannot be used give nil,
// and an ItemError each.
func (p *Pipeline) EmbedItems(
	ctx context.Context, items ...media.Item,
) (rows [][]float32, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	m, ok := p.model.(family.Embedder)
	if !ok {
		return nil, p.unsupported("embed pictures")
	}
	return p.vectorsOf(ctx, items, m.EmbedMedia)
}

// vectorsOf gives each item the row that run makes of it.
func (p *Pipeline) vectorsOf(
	ctx context.Context, items []media.Item,
	run func(context.Context, media.Prepared) (*tensor.Tensor, error),
) ([][]float32, error) {
	if len(items) == 0 {
		return nil, nil
	}
	if err := p.checkPictures(len(items)); err != nil {
		return nil, err
	}
	check := func(i int) error { return p.checkItem(items[i]) }
	return inBatch(p.itemName(), len(items), check, func(at []int) ([][]float32, error) {
		prepared, err := p.prepare(ctx, pick(items, at))
		if err != nil {
			return nil, err
		}
		return vectors(run(ctx, prepared))
	})
}

// MatchItems is Match for several items, sounds where the model hears, with the same texts: one list of
// matches an item; nil, and an
// ItemError, for one that cannot be used. An error about a text is of no item.
func (p *Pipeline) MatchItems(
	ctx context.Context, items []media.Item, texts ...string,
) (matches [][]Match, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	m, ok := p.model.(family.Matcher)
	if !ok {
		return nil, p.unsupported("match pictures with texts")
	}
	if err := checkTexts(texts); err != nil {
		return nil, err
	}
	if err := graph.CheckLimit("Batch", "texts at once", len(texts), p.limits.Batch); err != nil {
		return nil, err
	}
	if len(items) == 0 {
		return nil, nil
	}
	if err := p.checkPictures(len(items)); err != nil {
		return nil, err
	}
	check := func(i int) error { return p.checkItem(items[i]) }
	return inBatch(p.itemName(), len(items), check, func(at []int) ([][]Match, error) {
		prepared, err := p.prepare(ctx, pick(items, at))
		if err != nil {
			return nil, err
		}
		return matchAll(ctx, m, prepared, texts)
	})
}

// matchAll judges the texts against each of the items that were prepared.
func matchAll(
	ctx context.Context, m family.Matcher, prepared media.Prepared, texts []string,
) ([][]Match, error) {
	if all, ok := m.(family.BatchMatcher); ok && prepared.Items() > 1 {
		return all.MatchAll(ctx, prepared, texts)
	}
	return family.MatchEach(ctx, m, prepared, texts)
}

// ClassifyItems is Classify for several items with the same labels: one list of labels an item.
func (p *Pipeline) ClassifyItems(
	ctx context.Context, items []media.Item, labels ...string,
) ([][]Label, error) {
	if m, ok := p.model.(family.Classifier); ok {
		return p.classifyItems(ctx, m, items, labels)
	}
	if err := checkTexts(labels); err != nil {
		return nil, err
	}
	matches, err := p.MatchItems(ctx, items, p.labelTexts(labels)...)
	if matches == nil {
		return nil, err
	}
	scored := make([][]Label, len(items))
	for i, m := range matches {
		if m != nil {
			scored[i] = rankLabels(labels, m)
		}
	}
	return scored, err
}
