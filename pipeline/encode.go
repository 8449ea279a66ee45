package pipeline

import (
	"context"
	"fmt"
	"image"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/graph"
)

// Encoded is the encoder's output for a picture, with the keys and values that a decoder's
// cross-attention makes of it: give it to any number of requests in the picture's place, and neither is
// computed again. It belongs to the Pipeline that made it, and holds memory of that size (Bytes).
type Encoded struct {
	of     *Pipeline
	kind   media.Kind
	bounds image.Rectangle // of a picture
	states family.Encoded

	mu    sync.Mutex
	blank *Encoded // of a grey picture of this size; nil until it is asked for
}

// Kind returns the kind of the item that was encoded.
func (e *Encoded) Kind() media.Kind { return e.kind }

// Bounds returns those of the picture.
func (e *Encoded) Bounds() image.Rectangle { return e.bounds }

// Encode runs the model's encoder over pictures, in one batch, for later requests
// (Request.Encoded, or Part.Item). It returns one Encoded for each item; nil, and an ItemError each,
// for those that cannot be used. Models that write no text give ErrUnsupported.
func (p *Pipeline) Encode(
	ctx context.Context, items ...media.Item,
) (encoded []*Encoded, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	model, ok := p.model.(family.Writer)
	if !ok {
		return nil, p.unsupported("encode pictures for later")
	}
	if len(items) == 0 {
		return nil, nil
	}
	check := func(i int) error { return p.checkItem(items[i]) }
	return inBatch("item", len(items), check, func(at []int) ([]*Encoded, error) {
		asked := pick(items, at)
		rows, err := p.encode(ctx, model, [][]media.Item{asked}, new(Stats))
		if err != nil {
			return nil, err
		}
		return rows[0], makeKeys(ctx, model, asked, rows[0])
	})
}

// makeKeys makes the keys and values of items that were just encoded, where the model's decoder reads
// such.
func makeKeys(ctx context.Context, model family.Writer, items []media.Item, encoded []*Encoded) (err error) {
	maker, ok := model.(family.KeyMaker)
	if !ok {
		return nil
	}
	for i, e := range encoded {
		if _, before := items[i].(*Encoded); before || e.states.Keys != nil {
			continue
		}
		if e.states.Keys, err = maker.Keys(ctx, e.states); err != nil {
			return err
		}
	}
	return nil
}

// WithoutKeys returns the encoder's output alone, of which each request makes the keys and values of
// cross-attention anew.
func (e *Encoded) WithoutKeys() *Encoded {
	states := e.states
	states.Keys = nil
	return &Encoded{of: e.of, kind: e.kind, bounds: e.bounds, states: states}
}

// encode prepares and encodes the items of prompts, each distinct one once, and keeps those that
// are encoded already.
func (p *Pipeline) encode(
	ctx context.Context, model family.Writer, prompts [][]media.Item, stats *Stats,
) ([][]*Encoded, error) {
	items, which := distinct(prompts)
	_, chats := model.(family.Chatter)
	if len(slices.Concat(prompts...)) == 0 && !chats {
		return nil, fmt.Errorf("%w: no picture in any request", ErrImage)
	}
	fresh, err := p.encodeDistinct(ctx, model, items, stats)
	if err != nil {
		return nil, err
	}
	encoded := make([][]*Encoded, len(prompts))
	for i, items := range prompts {
		encoded[i] = make([]*Encoded, len(items))
		for j, item := range items {
			if at := which[i][j]; at >= 0 {
				encoded[i][j] = fresh[at]
			} else {
				encoded[i][j] = item.(*Encoded)
			}
		}
	}
	return encoded, nil
}

// distinct lists the items of prompts that are not encoded yet, each once. which is each item's
// index in that list, -1 for those that are encoded.
func distinct(prompts [][]media.Item) (items []media.Item, which [][]int) {
	which = make([][]int, len(prompts))
	for i, list := range prompts {
		for _, item := range list {
			at := -1
			if _, done := item.(*Encoded); !done {
				same := func(other media.Item) bool { return media.Same(item, other) }
				if at = slices.IndexFunc(items, same); at < 0 {
					at = len(items)
					items = append(items, item)
				}
			}
			which[i] = append(which[i], at)
		}
	}
	return items, which
}

// encodeDistinct encodes items, those of a kind in one batch.
func (p *Pipeline) encodeDistinct(
	ctx context.Context, model family.Writer, items []media.Item, stats *Stats,
) ([]*Encoded, error) {
	if len(items) == 0 {
		return nil, nil
	}
	encoded := make([]*Encoded, len(items))
	for _, at := range byKind(items) {
		start := time.Now()
		prepared, err := p.prepare(ctx, pick(items, at))
		if err != nil {
			return nil, err
		}
		stats.Preprocess += time.Since(start)
		start = time.Now()
		states, err := model.Encode(ctx, prepared)
		if err != nil {
			return nil, err
		}
		stats.Encode += time.Since(start)
		for j, i := range at {
			encoded[i] = &Encoded{of: p, kind: items[i].Kind(), states: states[j]}
			if picture, ok := items[i].(interface{ Bounds() image.Rectangle }); ok {
				encoded[i].bounds = picture.Bounds()
			}
		}
	}
	return encoded, nil
}

// byKind gives the places of items of each kind, as front ends take them.
func byKind(items []media.Item) (groups [][]int) {
	var kinds []media.Kind
	for i, item := range items {
		at := slices.Index(kinds, item.Kind())
		if at < 0 {
			at = len(kinds)
			kinds, groups = append(kinds, item.Kind()), append(groups, nil)
		}
		groups[at] = append(groups[at], i)
	}
	return groups
}

// prepare turns items of one kind into what graphs take, within the limits.
func (p *Pipeline) prepare(ctx context.Context, items []media.Item) (media.Prepared, error) {
	if err := p.checkPictures(len(items)); err != nil {
		return media.Prepared{}, err
	}
	for _, item := range items {
		if item.Kind() == media.Pictures && p.hearsAlone() {
			return media.Prepared{}, p.hears()
		}
		if kind := item.Kind(); !slices.Contains(p.model.Media(), kind) || kind != items[0].Kind() ||
			kind == media.Pictures && p.images == nil || kind == media.Sounds && p.hearing() == nil {
			return media.Prepared{}, p.unsupported(fmt.Sprintf("take a %s", kind))
		}
		if err := p.checkItem(item); err != nil {
			return media.Prepared{}, err
		}
	}
	if len(items) > 0 && items[0].Kind() == media.Sounds {
		return p.hearing().Prepare(ctx, items)
	}
	return p.prepareAll(ctx, items)
}

// checkPictures bounds the pictures at once.
func (p *Pipeline) checkPictures(n int) error {
	return graph.CheckLimit("Batch", "pictures at once", n, p.limits.Batch)
}

// preparePictures is prepare for pictures.
func (p *Pipeline) preparePictures(
	ctx context.Context, imgs ...image.Image,
) (media.Prepared, error) {
	items := make([]media.Item, len(imgs))
	for i, img := range imgs {
		items[i] = media.Picture{Image: img}
	}
	return p.prepare(ctx, items)
}

// states returns the families' part of encoded items.
func states(encoded []*Encoded) []family.Encoded {
	list := make([]family.Encoded, len(encoded))
	for i, e := range encoded {
		list[i] = e.states
	}
	return list
}

// withoutContent returns a grey picture of e's size, encoded once.
func (p *Pipeline) withoutContent(
	ctx context.Context, model family.Writer, e *Encoded,
) (*Encoded, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.blank == nil {
		grey := media.Picture{Image: greyPicture(e.bounds)}
		blank, err := p.encodeDistinct(ctx, model, []media.Item{grey}, new(Stats))
		if err != nil {
			return nil, err
		}
		e.blank = blank[0]
	}
	return e.blank, nil
}

// greyPicture makes a picture that shows nothing.
func greyPicture(size image.Rectangle) image.Image {
	canvas := image.NewRGBA(image.Rect(0, 0, max(1, size.Dx()), max(1, size.Dy())))
	for i := range canvas.Pix {
		canvas.Pix[i] = 128
		if i%4 == 3 {
			canvas.Pix[i] = 255
		}
	}
	return canvas
}

// Bytes returns the memory that the encoder's output takes, with keys and values.
func (e *Encoded) Bytes() (sum int64) {
	held := append(slices.Collect(maps.Values(e.states.Keys)), e.states.States, e.states.Amid)
	for _, t := range held {
		if t != nil {
			sum += int64(t.Len()) * int64(t.DType().Size())
		}
	}
	return sum
}
