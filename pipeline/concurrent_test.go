package pipeline

import (
	"context"
	"errors"
	"image"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/media"
)

// heldImage is a picture that calls wait for once they are inside.
type heldImage struct {
	image.Image
	shown <-chan struct{}
}

func (h heldImage) Bounds() image.Rectangle {
	<-h.shown
	return h.Image.Bounds()
}

// One Pipeline used by many goroutines at once, for one thing and another, gives
// each what it gives one alone.
func TestConcurrentEqualsSerial(t *testing.T) {
	t.Parallel()
	const calls = 64
	// What a call wrote, and numbers that came with it.
	type result struct {
		text    string
		numbers []float64
	}
	kinds := map[string]func(*Pipeline, Request) (result, error){
		"Generate": func(p *Pipeline, r Request) (result, error) {
			texts, err := p.Generate(context.Background(), []Request{r}, unbounded(8))
			if err != nil {
				return result{}, err
			}
			return result{text: texts[0][0].Text}, nil
		},
		"Attend": func(p *Pipeline, r Request) (result, error) {
			a, err := p.Attend(context.Background(), r, unbounded(8))
			if err != nil {
				return result{}, err
			}
			m, err := a.Map(0)
			if err != nil {
				return result{}, err
			}
			all := result{text: a.Text.Text, numbers: []float64{m.Share}}
			for _, weight := range m.Weights {
				all.numbers = append(all.numbers, float64(weight))
			}
			return all, nil
		},
		"Choose": func(p *Pipeline, r Request) (result, error) {
			choices, err := p.Choose(context.Background(), r, "a cat", "two dogs")
			if err != nil {
				return result{}, err
			}
			return result{choices[0].Text, []float64{choices[0].LogProb, choices[1].LogProb}}, nil
		},
	}
	order := []string{"Generate", "Attend", "Generate", "Choose"}
	g := loadGolden(t, "blip2-opt")
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		p, err := Open(t.Context(), filepath.Join(g.dir, "bundle"), WithEngine(eng), WithLimits(Limits{Concurrent: calls}))
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		requests := g.requests(t, p)
		want := map[string][]result{}
		for kind, call := range kinds {
			for _, r := range requests {
				alone, err := call(p, r)
				if err != nil {
					t.Fatal(kind, err)
				}
				want[kind] = append(want[kind], alone)
			}
		}
		shown := make(chan struct{})
		var all sync.WaitGroup
		for i := range calls {
			all.Go(func() {
				kind, which := order[i%len(order)], i/len(order)%len(requests)
				r := requests[which]
				r.Image = heldImage{r.Image, shown}
				got, err := kinds[kind](p, r)
				wanted := want[kind][which]
				if err != nil {
					t.Errorf("%s: %v", kind, err)
				} else if got.text != wanted.text || len(got.numbers) != len(wanted.numbers) {
					t.Errorf("%s of request %d: %v, want %v", kind, which, got, wanted)
				} else {
					for j, n := range wanted.numbers {
						near(t, kind, got.numbers[j], n, 1e-5)
					}
				}
			})
		}
		for start := time.Now(); len(p.turns) < calls && time.Since(start) < time.Minute; {
			time.Sleep(time.Millisecond)
		}
		if n := len(p.turns); n != calls {
			t.Errorf("%d calls are inside at once, not %d", n, calls)
		}
		close(shown)
		all.Wait()
	})
}

// Close waits for what runs; what comes later fails with ErrClosed.
func TestCloseWhileRunning(t *testing.T) {
	t.Parallel()
	g := loadGolden(t, "blip2-opt")
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		p := openGolden(t, g, eng)
		requests := g.requests(t, p)
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
// and looks at memory and time. It runs alone, because it counts the process's goroutines.
func TestCancelAnywhere(t *testing.T) {
	g := loadGolden(t, "idefics")
	eachEngine(t, func(t *testing.T, eng engine.Engine) {
		p := openGolden(t, g, eng)
		request := g.requests(t, p)[:1]
		start := time.Now()
		want, err := p.Generate(context.Background(), request, unbounded(12))
		if err != nil {
			t.Fatal(err)
		}
		whole := time.Since(start)
		goroutines := runtime.NumGoroutine()
		cancelled := 0
		for range sweep.Count(t, 20, 50) {
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
	t.Parallel()
	ctx := context.Background()
	request := Request{Image: blankImage, Question: "what?"}
	closed := map[string]*Pipeline{}
	for _, bundle := range []string{"blip2-opt", "clip"} { // whether its model can do it or not
		p := openGolden(t, loadGolden(t, bundle), goEngine)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		closed[bundle] = p
	}
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
		"ChooseBatch":  func(p *Pipeline) error { _, err := p.ChooseBatch(ctx, []Request{request}, "a", "b"); return err },
		"Encode":       func(p *Pipeline) error { _, err := p.Encode(ctx, media.Picture{Image: blankImage}); return err },
		"Inputs":       func(p *Pipeline) error { _, err := p.Inputs(ctx, request); return err },
	} {
		for bundle, p := range closed {
			if err := call(p); !errors.Is(err, ErrClosed) {
				t.Errorf("%s of %s after Close: %v", name, bundle, err)
			}
		}
	}
}
