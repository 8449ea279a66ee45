package pipeline

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/pipeline/decode"
)

// mixed is a request with parameters of its own.
type mixed struct {
	request Request
	option  GenerateOption
	name    string
}

// mix draws n requests: greedy, sampled, by beams, of one text or several, short and long.
func mix(r *rand.Rand, requests []Request, n int) []mixed {
	all := make([]mixed, n)
	for i := range all {
		which, tokens, seed := r.IntN(len(requests)), 1+r.IntN(12), r.Uint64()
		beams, returned, kind := 1, 1, r.IntN(4)
		switch kind {
		case 1:
			beams = 2 + r.IntN(3)
			returned = 1 + r.IntN(beams)
		case 2:
			returned = 1 + r.IntN(3)
		}
		all[i] = mixed{
			request: requests[which],
			name:    fmt.Sprintf("request %d, kind %d, %d tokens, %d beams, %d texts", which, kind, tokens, beams, returned),
			option: func(g *Generation) {
				g.MaxNewTokens, g.MaxLength, g.MinLength = tokens, 0, 0
				g.NumBeams, g.NumReturnSequences = beams, returned
				if kind == 2 {
					g.DoSample, g.Temperature, g.TopK, g.Seed = true, 0.9, 20, seed
				}
				if kind == 3 {
					g.RepetitionPenalty = 1.5
				}
			},
		}
	}
	return all
}

// idsOf lists the ids of texts.
func idsOf(texts [][]*Text) (ids [][]int64) {
	for _, t := range texts[0] {
		ids = append(ids, t.IDs)
	}
	return ids
}

// Calls that decode in common batches give, to the last id, what each gives alone, in every family and
// whatever stands beside them.
func TestSchedulerEqualsAlone(t *testing.T) {
	t.Parallel()
	for i, name := range generative(t) {
		if !sweep.KeepsName(name, 2) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mostlyGo(t, func(t *testing.T, eng engine.Engine) {
				g := loadGolden(t, name)
				alone := sharedGolden(t, g, eng)
				count := sweep.Count(t, 12, 24) // more than there is room for at once
				calls := mix(rand.New(rand.NewPCG(uint64(i), 1)), g.requests(t, alone), count)
				steps := 0
				scheduler := &decode.Scheduler{MaxRows: 8, OnStep: func(decode.Step) { steps++ }}
				p, err := Open(t.Context(), filepath.Join(g.dir, "bundle"), WithEngine(sharing(t, eng)),
					WithScheduler(scheduler), WithLimits(Limits{Concurrent: len(calls)}))
				if err != nil {
					t.Fatal(err)
				}
				defer p.Close()
				requests := slices.Clone(calls)
				if _, hears := g.Arrays[inputFeatures]; hears {
					requests = mix(rand.New(rand.NewPCG(uint64(i), 1)), g.requests(t, p), len(calls))
				}
				for i := range requests {
					if i%2 == 1 {
						requests[i].request = encoded(t, p, requests[i].request)
					}
				}
				var all sync.WaitGroup
				got := make([][][]*Text, len(calls))
				for i, call := range requests {
					all.Go(func() {
						var err error
						if got[i], err = p.Generate(t.Context(), []Request{call.request}, call.option); err != nil {
							t.Errorf("%s: %v", call.name, err)
						}
					})
				}
				all.Wait()
				for i, call := range calls {
					want, err := alone.Generate(t.Context(), []Request{call.request}, call.option)
					if err != nil {
						t.Fatal(err)
					}
					if got[i] != nil && !slices.EqualFunc(idsOf(got[i]), idsOf(want), slices.Equal) {
						t.Errorf("%s: %v, want %v", call.name, idsOf(got[i]), idsOf(want))
					}
				}
				t.Logf("%d steps", steps)
			})
		})
	}
}

// A caller that has enough, and one that goes away, leave the batch; those beside them get all of their
// texts.
func TestSchedulerLeaves(t *testing.T) {
	t.Parallel()
	g := loadGolden(t, "blip2-opt")
	alone := sharedGolden(t, g, goEngine)
	scheduler := &decode.Scheduler{}
	p, err := Open(t.Context(), filepath.Join(g.dir, "bundle"), WithEngine(sharing(t, goEngine)),
		WithScheduler(scheduler), WithLimits(Limits{Concurrent: 64}))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	requests := g.requests(t, p)
	want, err := alone.Generate(t.Context(), requests[:1], unbounded(20))
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range 60 {
		all.Go(func() {
			switch i % 3 {
			case 0:
				got, err := p.Generate(t.Context(), requests[:1], unbounded(20))
				if err != nil || !slices.EqualFunc(idsOf(got), idsOf(want), slices.Equal) {
					t.Errorf("%v, %v", got, err)
				}
			case 1:
				n := 0
				text, err := p.StreamText(t.Context(), requests[0], func(Token) bool { n++; return n < 3 }, unbounded(20))
				if err != nil || n != 3 || len(text.Tokens) > 4 {
					t.Errorf("after %d tokens: %v, %v", n, text, err)
				}
			case 2:
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*100*time.Microsecond)
				defer cancel()
				if _, err := p.Generate(ctx, requests[:1], unbounded(20)); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}

// A model whose graphs quantise activations over a whole batch writes beside others what it writes alone.
func TestSchedulerKeepsCoupledRowsApart(t *testing.T) {
	t.Parallel()
	open := func(opts ...Option) *Pipeline {
		p, err := Open(t.Context(), "../testdata/layouts/vit-gpt2-transformersjs",
			append(opts, WithEngine(sharing(t, goEngine)), WithVariant("quantized"))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { p.Close() })
		return p
	}
	alone, most := open(), 0
	p := open(WithScheduler(&decode.Scheduler{OnStep: func(s decode.Step) { most = max(most, s.Rows) }}),
		WithLimits(Limits{Concurrent: 16}))
	if !p.Couples() {
		t.Fatal("its rows are not found to depend on each other")
	}
	var all sync.WaitGroup
	for i := range 12 {
		all.Go(func() {
			img := loadImage(t, "../testdata/images/"+[]string{"cat.jpg", "apple.png", "dog.png"}[i%3])
			got, err := p.Caption(t.Context(), img, unbounded(8+i%4))
			want, err2 := alone.Caption(t.Context(), img, unbounded(8+i%4))
			if err != nil || err2 != nil || !slices.Equal(got.IDs, want.IDs) {
				t.Errorf("%v, %v: %v, want %v", err, err2, got, want)
			}
		})
	}
	all.Wait()
	if most != 1 {
		t.Errorf("%d rows stood in one batch", most)
	}
}
