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
	"testing"
	"time"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/tensor"
)

// resident returns the bytes of memory that the process has, C's among them,
// after everything unreachable has gone.
func resident(t *testing.T) int64 {
	t.Helper()
	for range 3 {
		runtime.GC()
		time.Sleep(10 * time.Millisecond) // cleanups run beside us
	}
	debug.FreeOSMemory()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("this system does not tell the resident memory: ", err)
	}
	pages, err := strconv.ParseInt(string(bytes.Fields(data)[1]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// A run cancelled at any moment, 1,000 times: the error is the context's, nothing
// is left behind, and the next run is right.
func TestCancelAtRandom(t *testing.T) {
	s := open(t, slow())
	check := open(t, doubler())
	seed := rand.New(rand.NewPCG(11, 3))
	in := tensors{"x": tensor.Must(tensor.Zeros(tensor.Float32, 512, 512))}
	goroutines := runtime.NumGoroutine()
	var before, longest, sum int64
	cancelled := 0
	for i := range 1000 {
		if i == 100 {
			before = resident(t)
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
	after := resident(t)
	t.Logf("%d cancelled; from cancelling to returning %d us in the mean, %d us at most; resident memory %.1f MB after 100, %.1f MB after 1000",
		cancelled, sum/int64(cancelled), longest, float64(before)/1e6, float64(after)/1e6)
	if n := runtime.NumGoroutine(); n > goroutines {
		t.Errorf("%d goroutines are left, %d before", n, goroutines)
	}
	if float64(after) > 1.05*float64(before) {
		t.Errorf("resident memory grew from %d to %d bytes", before, after)
	}
}

// 10,000 captions' worth of decoding, with caches that grow token by token: the
// memory after 1,000 and after 10,000 is the same within 5 %.
func TestSoak(t *testing.T) {
	const layers, tokens = 6, 24
	for _, release := range []bool{true, false} {
		t.Run(fmt.Sprint("release=", release), func(t *testing.T) {
			s := open(t, cacheGraph(layers))
			seed := rand.New(rand.NewPCG(11, 5))
			var first int64
			for caption := range 10_000 {
				in := tensors{}
				for i := range layers {
					in[fmt.Sprint("past.", i)] = tensor.Must(tensor.Zeros(tensor.Float32, 1, 4, 0, 8))
				}
				in["new"] = ramp(1, 4, 16+seed.IntN(600), 8) // the prompt
				for range 1 + seed.IntN(tokens) {
					out, err := s.Run(t.Context(), in)
					if err != nil {
						t.Fatal(err)
					}
					for i := range layers {
						old := in[fmt.Sprint("past.", i)]
						in[fmt.Sprint("past.", i)] = out[fmt.Sprint("present.", i)]
						if release {
							old.Release()
						}
					}
					in["new"] = ramp(1, 4, 1, 8)
				}
				if caption+1 == 1000 {
					first = resident(t)
				}
			}
			last := resident(t)
			t.Logf("resident memory: %.1f MB after 1,000, %.1f MB after 10,000; %d bytes held by outputs", float64(first)/1e6, float64(last)/1e6, bytesHeld())
			if float64(last) > 1.05*float64(first) {
				t.Errorf("resident memory grew from %d to %d bytes", first, last)
			}
		})
	}
}

// Sessions opened and closed leave nothing behind.
func TestOpenCloseSoak(t *testing.T) {
	e := testEngine(t)
	source := cacheGraph(4).Source()
	var first int64
	for i := range 2000 {
		s, err := e.Open(t.Context(), source, engine.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if i+1 == 500 {
			first = resident(t)
		}
	}
	last := resident(t)
	t.Logf("resident memory: %.1f MB after 500 sessions, %.1f MB after 2,000", float64(first)/1e6, float64(last)/1e6)
	if float64(last) > 1.05*float64(first) {
		t.Errorf("resident memory grew from %d to %d bytes", first, last)
	}
}
