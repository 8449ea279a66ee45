package pipeline

import (
	"context"
	"fmt"
	"image"
	"slices"
	"sync"
	"time"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/family"
)

// Encoded is what Encode made of a picture: requests take it in the picture's place, any number of
// times, and the model does not look at the picture again. It belongs to the Pipeline that made
// it, and holds memory of the size of the encoder's output.
type Encoded struct {
	of     *Pipeline
	kind   media.Kind
	bounds image.Rectangle // of a picture
	states family.Encoded

	mu    sync.Mutex
	blank *Encoded // what a picture of this size that shows nothing came to
}

// Kind is that of what was encoded.
func (e *Encoded) Kind() media.Kind { return e.kind }

// Encode runs the model's encoder over pictures, for requests to come (Request.Encoded, or
// Part.Item). Models that write no text give ErrUnsupported.
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
	for i, item := range items {
		if err := p.checkItem(item); err != nil {
			return nil, fmt.Errorf("item %d: %w", i+1, err)
		}
	}
	if len(items) == 0 {
		return nil, nil
	}
	rows, _, err := p.encode(ctx, model, [][]media.Item{items}, new(Stats))
	if err != nil {
		return nil, err
	}
	return rows[0], nil
}

// encode prepares and encodes the items of prompts, each distinct one once; those that are encoded
// already stay as they are. which says, for each item, which row of the encoder's batch it was, -1
// for none.
func (p *Pipeline) encode(
	ctx context.Context, model family.Writer, prompts [][]media.Item, stats *Stats,
) (encoded [][]*Encoded, which [][]int, err error) {
	items, which := distinct(prompts)
	if len(slices.Concat(prompts...)) == 0 {
		return nil, nil, fmt.Errorf("%w: no picture in any request", ErrImage)
	}
	fresh, err := p.encodeDistinct(ctx, model, items, stats)
	if err != nil {
		return nil, nil, err
	}
	encoded = make([][]*Encoded, len(prompts))
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
	return encoded, which, nil
}

// distinct lists the items of prompts that are not encoded yet, each once, and says which of the
// list each is, -1 for those that are.
func distinct(prompts [][]media.Item) (items []media.Item, which [][]int) {
	which = make([][]int, len(prompts))
	for i, list := range prompts {
		for _, item := range list {
			at := -1
			if _, done := item.(*Encoded); !done {
				at = slices.IndexFunc(items, func(other media.Item) bool { return media.Same(item, other) })
				if at < 0 {
					at = len(items)
					items = append(items, item)
				}
			}
			which[i] = append(which[i], at)
		}
	}
	return items, which
}

// encodeDistinct encodes items in one batch.
func (p *Pipeline) encodeDistinct(
	ctx context.Context, model family.Writer, items []media.Item, stats *Stats,
) ([]*Encoded, error) {
	if len(items) == 0 {
		return nil, nil
	}
	start := time.Now()
	prepared, err := p.prepare(ctx, items)
	if err != nil {
		return nil, err
	}
	stats.Preprocess = time.Since(start)
	start = time.Now()
	states, err := model.Encode(ctx, prepared)
	if err != nil {
		return nil, err
	}
	stats.Encode = time.Since(start)
	encoded := make([]*Encoded, len(items))
	for i, item := range items {
		encoded[i] = &Encoded{of: p, kind: item.Kind(), states: states[i]}
		if picture, ok := item.(media.Picture); ok {
			encoded[i].bounds = picture.Bounds()
		}
	}
	return encoded, nil
}

// prepare turns pictures into what graphs take, within the limits.
func (p *Pipeline) prepare(ctx context.Context, items []media.Item) (media.Prepared, error) {
	if err := checkLimit("pictures at once", len(items), p.limits.Batch); err != nil {
		return media.Prepared{}, err
	}
	for _, item := range items {
		if item.Kind() != media.Pictures || p.images == nil {
			return media.Prepared{}, p.unsupported(fmt.Sprintf("take a %s", item.Kind()))
		}
		if err := p.checkItem(item); err != nil {
			return media.Prepared{}, err
		}
	}
	return p.images.Prepare(ctx, items)
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

// states are what the families take of encoded items.
func states(encoded []*Encoded) []family.Encoded {
	list := make([]family.Encoded, len(encoded))
	for i, e := range encoded {
		list[i] = e.states
	}
	return list
}

// withoutContent is what a picture of the size of e that shows nothing (a grey one) comes to; it is
// encoded once.
func (p *Pipeline) withoutContent(
	ctx context.Context, model family.Writer, e *Encoded,
) (*Encoded, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.blank == nil {
		blank, err := p.encodeDistinct(ctx, model, []media.Item{media.Picture{Image: greyPicture(e.bounds)}}, new(Stats))
		if err != nil {
			return nil, err
		}
		e.blank = blank[0]
	}
	return e.blank, nil
}

// greyPicture shows nothing.
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
