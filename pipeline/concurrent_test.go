package pipeline

import (
	"context"
	"errors"
	"image"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/crossattn/xpipe/engine"
)

// One Pipeline used by many goroutines gives each what it gives one alone.
func TestConcurrentEqualsSerial(t *testing.T) {
	g := loadGolden(t, "blip2-opt")
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		p := openGolden(t, g, eng)
		requests := g.requests(t)
		var want []string
		for _, r := range requests {
			texts, err := p.Generate(context.Background(), []Request{r}, unbounded(8))
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, texts[0][0].Text)
		}
		var all sync.WaitGroup
		for i := range 64 {
			all.Go(func() {
				which := i % len(requests)
				texts, err := p.Generate(context.Background(), requests[which:which+1], unbounded(8))
				if err != nil {
					t.Error(err)
				} else if texts[0][0].Text != want[which] {
					t.Errorf("request %d: %q, want %q", which, texts[0][0].Text, want[which])
				}
			})
		}
		all.Wait()
	})
}

// Close waits for what runs; what comes later fails with ErrClosed.
func TestCloseWhileRunning(t *testing.T) {
	g := loadGolden(t, "blip2-opt")
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		p := openGolden(t, g, eng)
		requests := g.requests(t)
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				for {
					if _, err := p.Generate(context.Background(), requests[:1], unbounded(8)); err != nil {
						if !errors.Is(err, ErrClosed) {
							t.Error(err)
						}
						return
					}
				}
			})
		}
		time.Sleep(20 * time.Millisecond)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		all.Wait()
		if err := p.Close(); err != nil {
			t.Errorf("second Close: %v", err)
		}
		if _, err := p.Caption(context.Background(), requests[0].Image); !errors.Is(err, ErrClosed) {
			t.Errorf("after Close: %v", err)
		}
		for _, err := range p.Stream(context.Background(), requests[0]) {
			if !errors.Is(err, ErrClosed) {
				t.Errorf("stream after Close: %v", err)
			}
		}
	})
}

// A call cancelled at any moment ends with the context's error, leaves no
// goroutine, and the next call is right. TestCancelAtRandom does it 1,000 times,
// and looks at memory and time.
func TestCancelAnywhere(t *testing.T) {
	g := loadGolden(t, "idefics")
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		p := openGolden(t, g, eng)
		request := g.requests(t)[:1]
		start := time.Now()
		want, err := p.Generate(context.Background(), request, unbounded(12))
		if err != nil {
			t.Fatal(err)
		}
		whole := time.Since(start)
		goroutines := runtime.NumGoroutine()
		cancelled := 0
		for range 50 {
			ctx, cancel := context.WithTimeout(context.Background(), rand.N(whole))
			texts, err := p.Generate(ctx, request, unbounded(12))
			switch {
			case err == nil && texts[0][0].Text != want[0][0].Text:
				t.Errorf("%q, want %q", texts[0][0].Text, want[0][0].Text)
			case err != nil && !errors.Is(err, context.DeadlineExceeded):
				t.Error(err)
			case err != nil:
				cancelled++
			}
			cancel()
		}
		if cancelled == 0 {
			t.Error("no call was cancelled")
		}
		again, err := p.Generate(context.Background(), request, unbounded(12))
		if err != nil || again[0][0].Text != want[0][0].Text {
			t.Errorf("after %d cancelled calls: %v, %v", cancelled, again, err)
		}
		for range 100 {
			if runtime.NumGoroutine() <= goroutines {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if n := runtime.NumGoroutine(); n > goroutines {
			t.Errorf("%d goroutines, %d before", n, goroutines)
		}
	})
}

// Whatever is asked of a closed Pipeline fails with ErrClosed.
func TestClosed(t *testing.T) {
	ctx := context.Background()
	request := Request{Image: blankImage, Question: "what?"}
	for name, call := range map[string]func(p *Pipeline) error{
		"Caption":      func(p *Pipeline) error { _, err := p.Caption(ctx, blankImage); return err },
		"CaptionBatch": func(p *Pipeline) error { _, err := p.CaptionBatch(ctx, []image.Image{blankImage}); return err },
		"Answer":       func(p *Pipeline) error { _, err := p.Answer(ctx, blankImage, "what?"); return err },
		"AnswerBatch":  func(p *Pipeline) error { _, err := p.AnswerBatch(ctx, []Request{request}); return err },
		"Generate":     func(p *Pipeline) error { _, err := p.Generate(ctx, []Request{request}); return err },
		"Choose":       func(p *Pipeline) error { _, err := p.Choose(ctx, request, "a", "b"); return err },
		"Attend":       func(p *Pipeline) error { _, err := p.Attend(ctx, request); return err },
		"AttendText":   func(p *Pipeline) error { _, err := p.AttendText(ctx, request, "a"); return err },
		"Match":        func(p *Pipeline) error { _, err := p.Match(ctx, blankImage, "a"); return err },
		"Classify":     func(p *Pipeline) error { _, err := p.Classify(ctx, blankImage, "a"); return err },
		"EmbedImages":  func(p *Pipeline) error { _, err := p.EmbedImages(ctx, blankImage); return err },
		"EmbedTexts":   func(p *Pipeline) error { _, err := p.EmbedTexts(ctx, "a"); return err },
		"Regions":      func(p *Pipeline) error { _, err := p.Regions(ctx, blankImage); return err },
		"verify":       func(p *Pipeline) error { return p.verify(ctx, VerifyRequest{}, &Report{}) },
	} {
		for _, bundle := range []string{"blip2-opt", "clip"} { // whether its model can do it or not
			p, err := openLimited(t, bundle, Limits{})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Close(); err != nil {
				t.Fatal(err)
			}
			if err := call(p); !errors.Is(err, ErrClosed) {
				t.Errorf("%s of %s after Close: %v", name, bundle, err)
			}
		}
	}
}
