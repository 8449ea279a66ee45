//go:build slow && linux

package pipeline_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
)

// timedEngine notes the longest run of any graph, which no operator of it exceeds.
type timedEngine struct {
	engine.Engine
	mu      sync.Mutex
	longest time.Duration
}

type timedSession struct {
	engine.Session
	e *timedEngine
}

func (e *timedEngine) Open(ctx context.Context, s engine.Source, o engine.Options) (engine.Session, error) {
	session, err := e.Engine.Open(ctx, s, o)
	return &timedSession{session, e}, err
}

func (s *timedSession) Run(ctx context.Context, in map[string]*tensor.Tensor, out ...string) (map[string]*tensor.Tensor, error) {
	start := time.Now()
	defer func() {
		s.e.mu.Lock()
		defer s.e.mu.Unlock()
		s.e.longest = max(s.e.longest, time.Since(start))
	}()
	return s.Session.Run(ctx, in, out...)
}

// A call of the default model cancelled at a random moment, 1,000 times on each
// engine: it returns within 100 ms and what one operator takes, leaves no goroutine
// and no memory, and the next call is right.
func TestCancelAtRandom(t *testing.T) {
	const rounds = 1000
	img, err := vision.DecodeFile(filepath.Join(images, "apple.png"))
	if err != nil {
		t.Fatal(err)
	}
	pipeline.EachEngine(t, func(t *testing.T, eng engine.Engine) {
		timed := &timedEngine{Engine: eng}
		p := pipeline.OpenEmbedded(t, mini.Default, pipeline.WithEngine(timed))
		call := func(ctx context.Context) (string, error) {
			text, err := p.Answer(ctx, img, "what is this?")
			if err != nil {
				return "", err
			}
			return text.Text, nil
		}
		want, err := call(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		timed.longest = 0
		start := time.Now()
		const trial = 5
		for range trial {
			if _, err := call(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		whole, longest := time.Since(start)/trial, timed.longest
		goroutines := runtime.NumGoroutine()
		seed := rand.New(rand.NewPCG(11, 7))
		var delays []time.Duration
		var before used
		// A call may end before its moment comes, and does not count.
		for i := 0; len(delays) < rounds; i++ {
			if i == 4*rounds {
				t.Fatalf("%d of %d calls were cancelled", len(delays), i)
			}
			if len(delays) == rounds/10 && before == (used{}) {
				before = measure(t)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancelled := make(chan time.Time, 1)
			timer := time.AfterFunc(time.Duration(seed.Int64N(int64(whole))), func() {
				cancelled <- time.Now()
				cancel()
			})
			text, err := call(ctx)
			returned := time.Now()
			timer.Stop()
			cancel()
			switch {
			case errors.Is(err, context.Canceled):
				delays = append(delays, returned.Sub(<-cancelled))
			case err != nil:
				t.Fatalf("call %d: %v", i, err)
			case text != want:
				t.Fatalf("call %d: %q, want %q", i, text, want)
			}
			began := time.Now()
			if text, err := call(t.Context()); err != nil || text != want {
				t.Fatalf("after cancelled call %d: %q, %v; want %q", i, text, err, want)
			}
			whole = time.Since(began)
		}
		after := measure(t)
		for range 100 {
			if runtime.NumGoroutine() <= goroutines {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if n := runtime.NumGoroutine(); n > goroutines {
			t.Errorf("%d goroutines are left, %d before", n, goroutines)
		}
		slices.Sort(delays)
		most := delays[len(delays)-1]
		t.Logf("%d cancelled; a call took %v, its longest graph %v; from cancelling to returning %v in the middle, %v for 99 %%, %v at most; after %d: %v; after %d: %v",
			len(delays), whole, longest, delays[len(delays)/2], delays[len(delays)*99/100], most, rounds/10, before, rounds, after)
		if bound := 100*time.Millisecond + longest; most > bound {
			t.Errorf("a cancelled call returned after %v, more than %v", most, bound)
		}
		if after.resident > before.resident+before.resident/20 || after.c > before.c+before.c/20 {
			t.Errorf("memory grew by more than 5 %%: from %v to %v", before, after)
		}
	})
}
