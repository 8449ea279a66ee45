package pipeline

import (
	"context"
	"errors"
	"image"
	"math"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
)

func openLimited(t *testing.T, name string, l Limits) (*Pipeline, error) {
	t.Helper()
	p, err := Open(t.Context(), filepath.Join(familiesDir, name, "bundle"), WithEngine(goEngine), WithLimits(l))
	if err == nil {
		t.Cleanup(func() { p.Close() })
	}
	return p, err
}

// Each limit refuses what goes beyond it, and what is within it passes.
func TestLimits(t *testing.T) {
	t.Parallel()
	caption := func(rows int, opts ...GenerateOption) func(context.Context, *Pipeline) error {
		return func(ctx context.Context, p *Pipeline) error {
			images := make([]image.Image, rows)
			for i := range images {
				images[i] = image.NewRGBA(image.Rect(0, 0, 40, 30))
			}
			_, err := p.CaptionBatch(ctx, images, opts...)
			return err
		}
	}
	beams := func(g *Generation) { g.NumBeams = 4 }
	match := func(n int) func(context.Context, *Pipeline) error {
		return func(ctx context.Context, p *Pipeline) error {
			_, err := p.Match(ctx, blankImage, strings.Split(strings.Repeat("a cat,", n-1)+"a cat", ",")...)
			return err
		}
	}
	for _, c := range []struct {
		name   string
		bundle string
		limits Limits
		use    func(context.Context, *Pipeline) error
		says   string // "" passes
	}{
		{"defaults", "blip2-opt", Limits{}, caption(2), ""},
		{"no bounds", "blip2-opt", Limits{-1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1}, caption(2), ""},
		{"pixels", "blip2-opt", Limits{ImagePixels: 1199}, caption(1), "pixels of a picture: 1200"},
		{"pixels within", "blip2-opt", Limits{ImagePixels: 1200}, caption(1), ""},
		{"side", "blip2-opt", Limits{ImageSide: 39}, caption(1), "longer side: 40"},
		{"side within", "blip2-opt", Limits{ImageSide: 40}, caption(1), ""},
		{"prompt", "blip2-opt", Limits{PromptTokens: 8}, asks("what is the colour of the cat?"), "tokens of a text"},
		{"prompt of bytes", "blip2-opt", Limits{PromptTokens: 100}, asks(strings.Repeat("x", 100_000)), "bytes of a text"},
		{"prompt of inputs", "blip2-opt", Limits{PromptTokens: 8}, func(ctx context.Context, p *Pipeline) error {
			_, err := p.Inputs(ctx, Request{Image: blankImage, Question: "what is the colour of the cat?"})
			return err
		}, "tokens of a text"},
		{"pictures encoded", "blip2-opt", Limits{Batch: 1}, func(ctx context.Context, p *Pipeline) error {
			_, err := p.Encode(ctx, media.Picture{Image: blankImage}, media.Picture{Image: image.NewGray(image.Rect(0, 0, 9, 9))})
			return err
		}, "pictures at once"},
		{"pixels encoded", "blip2-opt", Limits{ImagePixels: 1199}, func(ctx context.Context, p *Pipeline) error {
			_, err := p.Encode(ctx, media.Picture{Image: image.NewGray(image.Rect(0, 0, 40, 30))})
			return err
		}, "pixels of a picture: 1200"},
		{"choices", "blip2-opt", Limits{Batch: 2}, func(ctx context.Context, p *Pipeline) error {
			_, err := p.ChooseBatch(ctx, []Request{{Image: blankImage, Question: "what?"}}, "a", "b", "c")
			return err
		}, "choices: 3"},
		{"prompt of CLIP", "clip", Limits{PromptTokens: 3}, match(1), "tokens of a text"},
		{"output", "blip2-opt", Limits{OutputTokens: 5}, caption(1, unbounded(6)), "max_new_tokens"},
		{"output within", "blip2-opt", Limits{OutputTokens: 5}, caption(1, unbounded(5)), ""},
		{"batch", "blip2-opt", Limits{Batch: 2}, caption(3), "rows of the batch"},
		{"batch of beams", "blip2-opt", Limits{Batch: 7}, caption(2, beams), "rows of the batch: 8"},
		{"batch of beams within", "blip2-opt", Limits{Batch: 8}, caption(2, beams), ""},
		{"texts", "clip", Limits{Batch: 3}, match(4), "texts at once"},
		{"pictures", "clip", Limits{Batch: 3}, func(ctx context.Context, p *Pipeline) error {
			_, err := p.EmbedImages(ctx, blankImage, blankImage, blankImage, blankImage)
			return err
		}, "pictures at once"},
		{"time", "blip2-opt", Limits{Time: time.Nanosecond}, caption(1), "more than 1ns"},
		{"memory", "blip2-opt", Limits{Memory: 1000}, caption(1), "memory limit"},
		{"model", "blip2-opt", Limits{ModelBytes: 10_000}, nil, "bytes of the model's files"},
	} {
		p, err := openLimited(t, c.bundle, c.limits)
		if err == nil {
			err = c.use(t.Context(), p)
		}
		want := ErrLimit
		if c.name == "memory" {
			want = ErrGraph // the engine's own word for it
		}
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.says != "" && (!errors.Is(err, want) || !strings.Contains(err.Error(), c.says)):
			t.Errorf("%s: %v, want %v with %q", c.name, err, want, c.says)
		}
	}
	for limits, want := range map[Limits]vision.Limits{
		{}:                             {Pixels: 178_956_970, Bytes: 512 << 20, Side: 1 << 20, Frames: 100_000},
		{ImagePixels: 5, ImageSide: 6}: {Pixels: 5, Bytes: 512 << 20, Side: 6, Frames: 100_000},
		{ImageBytes: 7, Frames: 8}:     {Pixels: 178_956_970, Bytes: 7, Side: 1 << 20, Frames: 8},
		{ImageSide: -1, Frames: -1}:    {Pixels: 178_956_970, Bytes: 512 << 20, Side: math.MaxInt, Frames: math.MaxInt},
	} {
		if got := limits.Vision(); got != want {
			t.Errorf("limits for decoding of %+v: %+v, want %+v", limits, got, want)
		}
	}
}

// holding lets runs of graphs begin and waits before they go on.
type holding struct {
	engine.Engine
	began, goOn chan struct{}
}

type heldSession struct {
	engine.Session
	h *holding
}

func (h *holding) Open(ctx context.Context, s engine.Source, o engine.Options) (engine.Session, error) {
	session, err := h.Engine.Open(ctx, s, o)
	return &heldSession{session, h}, err
}

func (s *heldSession) Run(ctx context.Context, in map[string]*tensor.Tensor, out ...string) (map[string]*tensor.Tensor, error) {
	s.h.began <- struct{}{}
	<-s.h.goOn
	return s.Session.Run(ctx, in, out...)
}

// No more calls run at once than Concurrent; the others wait, and stop waiting
// when their context ends or the Pipeline is closed.
func TestConcurrentLimit(t *testing.T) {
	t.Parallel()
	h := &holding{goEngine, make(chan struct{}, 1000), make(chan struct{})}
	p, err := Open(t.Context(), filepath.Join(familiesDir, "clip", "bundle"), WithEngine(h), WithLimits(Limits{Concurrent: 2}))
	if err != nil {
		t.Fatal(err)
	}
	results := make(chan error, 4)
	embed := func() {
		_, err := p.EmbedTexts(context.Background(), "a cat")
		results <- err
	}
	go embed()
	go embed()
	<-h.began
	<-h.began
	go embed() // waits
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.EmbedTexts(ctx, "a cat"); !errors.Is(err, context.DeadlineExceeded) || errors.Is(err, ErrLimit) {
		t.Errorf("the context of a call that waits ended: %v", err)
	}
	closed := make(chan error)
	go func() { closed <- p.Close() }()
	for { // until Close has begun
		p.mu.Lock()
		begun := p.closed
		p.mu.Unlock()
		if begun {
			break
		}
		runtime.Gosched()
	}
	if n := len(h.began); n != 0 {
		t.Errorf("%d calls more than may run at once", n)
	}
	close(h.goOn)
	var refused, done int
	for range 3 {
		switch err := <-results; {
		case err == nil:
			done++
		case errors.Is(err, ErrClosed):
			refused++
		default:
			t.Error(err)
		}
	}
	if err := <-closed; err != nil || done != 2 || refused != 1 {
		t.Errorf("%d done, %d refused, close: %v", done, refused, err)
	}
}
