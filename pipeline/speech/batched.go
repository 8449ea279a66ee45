package speech

import (
	"context"
	"fmt"
	"math"
	"slices"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/graph"
)

// batch is some windows of a sound, encoded together.
type batch struct {
	windows []stretch
	states  []family.Encoded
	begin   family.Begin // of all of them
	err     error
}

// batched writes down several windows at once. They are cut where nothing is said, and know nothing of
// each other; while the texts of some are written, the next are encoded.
func (r *run) batched(ctx context.Context) error {
	if r.source.voice == nil {
		return fmt.Errorf("%w: batched windows need sounds of 8,000 samples a second or more", graph.ErrUnsupported)
	}
	cut := &cutter{source: r.source, longest: r.Extractor.Window(), hop: r.Extractor.Hop(), gap: cutGap}
	ready := make(chan batch)
	ctx, stop := context.WithCancel(ctx)
	defer func() {
		stop()
		for range ready { // until the encoding has ended, too: it uses the model and the sound
		}
	}()
	go func() {
		defer close(ready)
		for {
			b := r.encode(ctx, cut)
			if b.err == nil && len(b.windows) == 0 {
				return
			}
			select {
			case ready <- b:
			case <-ctx.Done():
				return
			}
			if b.err != nil {
				return
			}
		}
	}()
	for b := range ready {
		if b.err != nil {
			return b.err
		}
		err := r.Turn.take(ctx, func(ctx context.Context) error { return r.writeBatch(ctx, b) })
		if err != nil || r.stopped {
			return err
		}
	}
	return ctx.Err()
}

// encode cuts the next windows out of the sound and runs the encoder over them. A batch without windows
// is the end.
func (r *run) encode(ctx context.Context, cut *cutter) (b batch) {
	for len(b.windows) < r.Batched {
		w, ok, err := cut.next(ctx)
		if err != nil {
			return batch{err: err}
		}
		if !ok {
			break
		}
		b.windows = append(b.windows, w)
	}
	if len(b.windows) == 0 {
		return b
	}
	b.err = r.Turn.take(ctx, func(ctx context.Context) error {
		var sounds []media.Item
		for _, w := range b.windows {
			sounds = append(sounds, &audio.Sound{Rate: r.Extractor.Rate(), Samples: w.samples})
		}
		prepared, err := r.Extractor.Prepare(ctx, sounds)
		if err != nil {
			return err
		}
		if b.states, err = r.Model.Encode(ctx, prepared); err != nil {
			return err
		}
		b.begin, err = r.Model.Hear(ctx, b.states...)
		return err
	})
	return b
}

// writeBatch writes the texts of windows. Those that do not fit are tried again one by one.
func (r *run) writeBatch(ctx context.Context, b batch) error {
	alone := func(i int) (family.Begin, error) { return r.Model.Hear(ctx, b.states[i]) }
	if r.lead == nil {
		begin, err := alone(0)
		if err == nil {
			err = r.detect(ctx, begin)
		}
		if err != nil {
			return err
		}
	}
	texts, err := r.writeAll(ctx, b.begin, len(b.windows), r.Temperatures[0])
	if err != nil {
		return err
	}
	for i, w := range b.windows {
		again := !r.fits(texts[i]) && len(r.Temperatures) > 1
		var begin family.Begin
		if again || r.Words {
			if begin, err = alone(i); err != nil {
				return err
			}
		}
		if again {
			if texts[i], err = r.write(ctx, begin, r.Temperatures[1:]); err != nil {
				return err
			}
		}
		if err := r.finish(ctx, begin, texts[i], w); err != nil || r.stopped {
			return err
		}
	}
	return nil
}

// finish takes the text of a stretch. Where the text stops at the beginning of another piece, the rest of
// the stretch is heard again.
func (r *run) finish(ctx context.Context, begin family.Begin, text written, w stretch) error {
	hop := r.Extractor.Hop()
	for {
		content := len(w.samples) / hop
		r.seek = w.from / hop
		end := r.seek + content
		next, err := r.take(ctx, begin, r.closed(text, content), content)
		if err != nil {
			return err
		}
		r.moveTo(next)
		if next == end-content || next > end-r.frame(cutLeast) || r.stopped {
			r.moveTo(end)
			return nil
		}
		w = stretch{next * hop, w.samples[(next-w.from/hop)*hop:]}
		window, err := windowOf(ctx, r.Extractor, w.samples)
		if err != nil {
			return err
		}
		if begin, err = r.hear(ctx, window); err != nil {
			return err
		}
		if text, err = r.write(ctx, begin, r.Temperatures); err != nil {
			return err
		}
	}
}

// closed gives a text with times an end: no other window goes on with it.
func (r *run) closed(text written, content int) written {
	if n := len(text.ids); !r.WithoutTimes && n > 0 && r.isText(text.ids[n-1]) {
		end := r.tokens.FirstTime + int64(math.Round(r.second(content)/step))
		text.ids = append(slices.Clip(text.ids), end)
	}
	return text
}

// stretch is a piece of a sound from a sample on.
type stretch struct {
	from    int
	samples []float32
}

// cutter cuts the stretches of a sound in which somebody speaks.
type cutter struct {
	source  *source
	longest int // of a stretch, in samples
	hop     int // of which stretches begin at multiples
	// gap is the longest pause, in seconds, within a stretch; below 0 none is, and a stretch is over with it.
	gap float64

	samples []float32 // from the sample first on
	first   int
}

const (
	// cutLeast is the shortest rest of a stretch, in seconds, that is heard again.
	cutLeast = 0.5
	// cutGap is the usual gap of a cutter.
	cutGap = 2.0
	// cutKeep is how many seconds of sound a span may still begin before: its length, and what the voice
	// detector waits for.
	cutKeep = 40.0
)

// next returns the next stretch, of at most the longest; ok is false at the end.
func (c *cutter) next(ctx context.Context) (s stretch, ok bool, err error) {
	for !c.source.ended && !c.full() {
		samples, _, err := c.source.next(ctx, true)
		if err != nil {
			return s, false, err
		}
		c.samples = append(c.samples, samples...)
		c.forget()
	}
	if len(c.source.spans) == 0 {
		return s, false, ctx.Err()
	}
	n := c.joined()
	from, to := c.source.spans[0].From/c.hop*c.hop, c.source.spans[n-1].To
	c.source.spans = c.source.spans[n:]
	to = min(to, from+c.longest, c.first+len(c.samples))
	return stretch{from, slices.Clone(c.samples[from-c.first : to-c.first])}, true, nil
}

// joined returns how many of the spans make the next stretch.
func (c *cutter) joined() int {
	gap := int(c.gap * float64(c.source.rate))
	n := 1
	for n < len(c.source.spans) && c.source.spans[n].To-c.source.spans[0].From <= c.longest-c.hop && c.source.spans[n].From-c.source.spans[n-1].To <= gap {
		n++
	}
	return n
}

// full reports whether the spans that are known make a stretch to which later ones add nothing.
func (c *cutter) full() bool {
	return len(c.source.spans) > 0 && (c.gap < 0 || c.joined() < len(c.source.spans))
}

// forget drops samples that no stretch will have.
func (c *cutter) forget() {
	needed := c.first + len(c.samples) - int(cutKeep*float64(c.source.rate))
	if len(c.source.spans) > 0 {
		needed = min(needed, c.source.spans[0].From/c.hop*c.hop)
	}
	if drop := needed - c.first; drop > c.longest {
		c.samples = append(c.samples[:0], c.samples[drop:]...)
		c.first += drop
	}
}
