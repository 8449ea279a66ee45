package kernel

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A loop that is shared does what a plain one does: each item once, in parts of whole grains, and no
// worker two parts at a time. Many loops go on at once, some of them within others.
func TestShare(t *testing.T) {
	t.Parallel()
	var wg sync.WaitGroup
	for caller := range 6 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(51, uint64(caller)))
			for try := range 300 {
				n, grain, workers := r.IntN(200), 1+r.IntN(9), 1+r.IntN(5)
				got, busy := make([]int32, n), make([]atomic.Int32, workers)
				Share(t.Context(), workers, n, grain, func(worker, lo, hi int) {
					if busy[worker].Add(1) != 1 || lo%grain != 0 || hi%grain != 0 && hi != n || lo >= hi {
						t.Errorf("worker %d of %d: %d to %d of %d in %d", worker, workers, lo, hi, n, grain)
					}
					for i := lo; i < hi; i++ {
						if try%50 == 0 {
							Share(t.Context(), 2, 2, 1, func(_, lo, hi int) {
								atomic.AddInt32(&got[i], int32(hi-lo))
							})
						} else {
							got[i] += 2
						}
					}
					busy[worker].Add(-1)
				})
				if i := slices.IndexFunc(got, func(c int32) bool { return c != 2 }); i >= 0 {
					t.Errorf("%d items in %d, %d workers: item %d was done %d/2 times", n, grain, workers, i, got[i])
				}
			}
		})
	}
	wg.Wait()
}

// Two workers of a loop do run side by side, whether they come from waiting or are new.
func TestShareSideBySide(t *testing.T) {
	if runtime.GOMAXPROCS(0) < 2 {
		t.Skip("one core")
	}
	for range 100 {
		var inside atomic.Int32
		Share(t.Context(), 2, 2, 1, func(_, _, _ int) {
			inside.Add(1)
			for start := time.Now(); inside.Load() < 2; runtime.Gosched() {
				if time.Since(start) > 20*time.Second {
					t.Error("one worker did both parts")
					return
				}
			}
		})
	}
}

// A loop that is cancelled ends soon, and one that panics passes the panic on with its stack, when
// all its parts have ended.
func TestShareStops(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int32
	Share(ctx, 4, 1000, 1, func(_, _, _ int) {
		calls.Add(1)
		cancel()
	})
	if n := calls.Load(); n > 4 {
		t.Errorf("%d parts after the end of the context", n)
	}
	for workers := 1; workers < 4; workers++ {
		var inside atomic.Int32
		func() {
			defer func() {
				p := NewPanic(recover())
				if p.Value != "broken" || !strings.Contains(string(p.Stack), "TestShareStops") || inside.Load() != 0 {
					t.Errorf("%d workers: %v, %d parts go on\n%s", workers, p.Value, inside.Load(), p.Stack)
				}
			}()
			Share(t.Context(), workers, 64, 1, func(_, lo, hi int) {
				inside.Add(1)
				defer inside.Add(-1)
				if lo <= 40 && 40 < hi {
					panic("broken")
				}
			})
			t.Error("no panic")
		}()
	}
}

// Helpers end when there is nothing to do, on any number of cores, and there are none on one core.
func TestShareLeavesNothing(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	before := runtime.NumGoroutine()
	for _, cores := range []int{1, 2, 4} {
		runtime.GOMAXPROCS(cores)
		for range 50 {
			var sum atomic.Int64
			Share(t.Context(), 4, 100, 1, func(_, lo, hi int) { sum.Add(int64(hi - lo)) })
			if sum.Load() != 100 {
				t.Errorf("%d cores: %d items of 100", cores, sum.Load())
			}
		}
		for i := 0; i < 1000 && runtime.NumGoroutine() > before; i++ {
			time.Sleep(time.Millisecond)
		}
		if n := runtime.NumGoroutine(); n > before {
			t.Errorf("%d cores: %d goroutines more than before", cores, n-before)
		}
		if n := pool.waiting.Load(); n != 0 {
			t.Errorf("%d cores: %d helpers wait", cores, n)
		}
	}
}

// While there are as many runs as cores, no helper waits.
func TestShareMakesRoom(t *testing.T) {
	cores := runtime.GOMAXPROCS(0)
	for range cores {
		BeginRun()
		defer EndRun()
	}
	start := time.Now()
	came := wait(time.Minute, cores, func() bool { return false })
	if took := time.Since(start); came || took > 10*time.Second {
		t.Errorf("waited for %v", took)
	}
}

// goShare is what Share is for, with a new goroutine for each worker.
func goShare(workers, n int, f func(worker, lo, hi int)) {
	var wg sync.WaitGroup
	for w := 1; w < workers; w++ {
		wg.Go(func() { f(w, w*n/workers, (w+1)*n/workers) })
	}
	f(0, 0, n/workers)
	wg.Wait()
}

func BenchmarkShare(b *testing.B) {
	for _, size := range []int{1 << 12, 1 << 15, 1 << 18} {
		v := make([]float32, size)
		work := func(_, lo, hi int) { Scale(v[lo:hi], v[lo:hi], 1) }
		b.Run(fmt.Sprintf("%d/alone", size), func(b *testing.B) {
			for b.Loop() {
				work(0, 0, size)
			}
		})
		b.Run(fmt.Sprintf("%d/goroutines", size), func(b *testing.B) {
			for b.Loop() {
				goShare(2, size, work)
			}
		})
		b.Run(fmt.Sprintf("%d/shared", size), func(b *testing.B) {
			for b.Loop() {
				Share(b.Context(), 2, size, size/16, work)
			}
		})
	}
}

// A loop is cut at the same places each time, whoever takes the parts.
func TestShareCuts(t *testing.T) {
	t.Parallel()
	for _, n := range []int{1, 7, 100, 1001} {
		cut := func() []int {
			var mu sync.Mutex
			var places []int
			Share(t.Context(), 3, n, 2, func(_, lo, hi int) {
				mu.Lock()
				defer mu.Unlock()
				places = append(places, lo, hi)
			})
			slices.Sort(places)
			return places
		}
		want := cut()
		for range 50 {
			if got := cut(); !slices.Equal(got, want) {
				t.Fatalf("%d items are cut at %v, then at %v", n, want, got)
			}
		}
	}
}
