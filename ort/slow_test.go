//go:build slow && cgo && !noort

package ort

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/internal/cmem"
	"github.com/crossattn/xpipe/tensor"
)

// memory is what a process uses.
type memory struct {
	c        int64 // bytes that C has allocated; -1 where its library does not tell
	heap     int64 // bytes of Go's heap in use
	resident int64 // bytes of all kinds, by the kernel's account
}

func (m memory) String() string {
	return fmt.Sprintf("%.2f MB in C, %.2f MB in Go, %.1f MB resident", float64(m.c)/1e6, float64(m.heap)/1e6, float64(m.resident)/1e6)
}

// inUse measures after everything unreachable has gone.
func inUse(t *testing.T) memory {
	t.Helper()
	for range 3 {
		runtime.GC()
		time.Sleep(10 * time.Millisecond) // cleanups run beside us
	}
	debug.FreeOSMemory()
	cmem.Trim()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("this system does not tell the resident memory: ", err)
	}
	pages, err := strconv.ParseInt(string(bytes.Fields(data)[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	c, ok := cmem.InUse()
	if !ok {
		c = -1
	}
	return memory{c, int64(stats.HeapInuse), pages * int64(os.Getpagesize())}
}

// checkGrowth fails where memory grew by more than 5 %, as C and Go count it. The kernel counts
// what Go's heap keeps idle and what it joined to huge pages, too, which in so small a process is
// more than 5 % either way.
func checkGrowth(t *testing.T, before, after memory) {
	t.Helper()
	if before.c < 0 {
		before.c, after.c = before.resident, after.resident
	}
	if float64(after.c) > 1.05*float64(before.c) || after.heap > before.heap+1<<20 {
		t.Errorf("memory grew from %v to %v", before, after)
	}
}

// A run cancelled at any moment, 1,000 times: the error is the context's, nothing is left behind,
// and the next run is right.
func TestCancelAtRandom(t *testing.T) {
	s := open(t, slow())
	check := open(t, doubler())
	seed := rand.New(rand.NewPCG(11, 3))
	in := tensors{"x": tensor.Must(tensor.Zeros(tensor.Float32, 512, 512))}
	goroutines := runtime.NumGoroutine()
	var before memory
	var longest, sum int64
	cancelled := 0
	for i := range 1000 {
		if i == 100 {
			before = inUse(t)
		}
		ctx, cancel := context.WithCancel(context.Background())
		var at time.Time
		timer := time.AfterFunc(time.Duration(seed.IntN(40_000))*time.Microsecond, func() {
			at = time.Now()
			cancel()
		})
		_, err := s.Run(ctx, in)
		took := time.Since(at).Microseconds()
		timer.Stop()
		cancel()
		if !errors.Is(err, context.Canceled) || errors.Is(err, engine.ErrInput) {
			t.Fatalf("run %d: %v", i, err)
		}
		cancelled++
		longest, sum = max(longest, took), sum+took
		out, err := check.Run(context.Background(), tensors{"x": ramp(4)})
		if err != nil || enginetest.Compare(out["y"], tensor.Must(tensor.New([]int{4}, []float32{0, 2, 4, 6})), 0, 0) != nil {
			t.Fatalf("the run after cancelled run %d: %v, %v", i, out, err)
		}
	}
	for i := 0; runtime.NumGoroutine() > goroutines && i < 100; i++ {
		time.Sleep(10 * time.Millisecond)
	}
	after := inUse(t)
	t.Logf("%d cancelled; from cancelling to returning %d us in the mean, %d us at most; after 100: %v; after 1000: %v",
		cancelled, sum/int64(cancelled), longest, before, after)
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines are left, %d before", n, goroutines)
	}
	checkGrowth(t, before, after)
}

// 10,000 captions' worth of decoding, with caches that grow token by token. Where each cache is
// released when it is done with, the memory after 1,000 and after 10,000 is the same within 5 %.
// Where caches are just dropped, the collector decides when they go, and what may pile up has a
// bound.
func TestSoak(t *testing.T) {
	const layers, longestPrompt, mostTokens = 6, 616, 24
	caption := func(t *testing.T, s engine.Session, prompt, tokens int, release bool) {
		in := tensors{"new": ramp(1, 4, prompt, 8)}
		for i := range layers {
			in[fmt.Sprint("past.", i)] = tensor.Must(tensor.Zeros(tensor.Float32, 1, 4, 0, 8))
		}
		for range tokens {
			out, err := s.Run(context.Background(), in)
			if err != nil {
				t.Error(err)
				return
			}
			for i := range layers {
				name := fmt.Sprint("past.", i)
				if release {
					in[name].Release()
				}
				in[name] = out[fmt.Sprint("present.", i)]
			}
			in["new"] = ramp(1, 4, 1, 8)
		}
		for i := range layers {
			if release {
				in[fmt.Sprint("past.", i)].Release()
			}
		}
	}
	for _, release := range []bool{true, false} {
		t.Run(fmt.Sprint("release=", release), func(t *testing.T) {
			start := inUse(t)
			s := open(t, cacheGraph(layers))
			// ONNX Runtime keeps the most that was ever in use at once, so let that be more than
			// what follows.
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() { caption(t, s, longestPrompt, mostTokens, release) })
			}
			wg.Wait()
			seed := rand.New(rand.NewPCG(11, 5))
			var first memory
			for i := range 10_000 {
				caption(t, s, 16+seed.IntN(longestPrompt-15), 1+seed.IntN(mostTokens), release)
				if i+1 == 1000 {
					first = inUse(t)
				}
				if t.Failed() {
					return
				}
			}
			last := inUse(t)
			t.Logf("after 1,000: %v; after 10,000: %v; %d bytes held by outputs", first, last, bytesHeld())
			if release {
				checkGrowth(t, first, last)
			} else if last.resident > start.resident+3*minGarbage {
				t.Errorf("memory grew from %v to %v", start, last)
			}
		})
	}
}

// Sessions opened and closed leave nothing behind.
func TestOpenCloseSoak(t *testing.T) {
	e := testEngine(t)
	source := cacheGraph(4).Source()
	var first memory
	for i := range 2000 {
		s, err := e.Open(t.Context(), source, engine.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if i+1 == 500 {
			first = inUse(t)
		}
	}
	last := inUse(t)
	t.Logf("after 500 sessions: %v; after 2,000: %v", first, last)
	checkGrowth(t, first, last)
}
