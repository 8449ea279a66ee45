//go:build slow && linux

package pipeline_test

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/cmem"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
)

// Memory after many captions and questions is what it was after a tenth of them:
// XPIPE_SOAK sets how many, 1,000 without it.
func TestSoak(t *testing.T) {
	calls := 1000
	if s := os.Getenv("XPIPE_SOAK"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 20 {
			t.Fatalf("XPIPE_SOAK=%q is no number from 20 on", s)
		}
		calls = n
	}
	img, err := vision.DecodeFile(filepath.Join(images, "apple.png"))
	if err != nil {
		t.Fatal(err)
	}
	pipeline.EachEngine(t, func(t *testing.T, eng engine.Engine) {
		p := pipeline.OpenEmbedded(t, mini.Default, pipeline.WithEngine(eng))
		var early, late used
		start := time.Now()
		for i := range calls {
			if i%2 == 0 {
				_, err = p.Caption(t.Context(), img)
			} else {
				_, err = p.Answer(t.Context(), img, "what is this?")
			}
			if err != nil {
				t.Fatal(err)
			}
			if (i+1)%(calls/10) == 0 {
				late = measure(t)
				t.Logf("after %d calls, %.0f ms each: %v", i+1, time.Since(start).Seconds()*1000/float64(i+1), late)
			}
			if i+1 == calls/10 {
				early = late
			}
		}
		if late.resident > early.resident+early.resident/20 || late.c > early.c+early.c/20 {
			t.Errorf("memory grew by more than 5 %%: from %v to %v", early, late)
		}
	})
}

// used is what the process uses after a collection, in bytes.
type used struct {
	resident int64 // by the kernel's account
	c        int64 // by C's own; 0 where its library does not tell
}

func (u used) String() string {
	return fmt.Sprintf("%.1f MiB resident, %.2f MiB allocated in C", float64(u.resident)/(1<<20), float64(u.c)/(1<<20))
}

func measure(t *testing.T) used {
	t.Helper()
	for range 3 {
		runtime.GC()
		time.Sleep(10 * time.Millisecond) // cleanups run beside us
	}
	debug.FreeOSMemory()
	cmem.Trim()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(data))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	c, _ := cmem.InUse()
	return used{pages * int64(os.Getpagesize()), c}
}
