//go:build slow && linux

package pipeline_test

import (
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/ort"
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
	runtimeEngine, err := ort.New(ort.WithLibrary(pipeline.TestLibrary()))
	if err != nil {
		t.Fatal(err)
	}
	for _, eng := range []engine.Engine{fallback.New(), runtimeEngine} {
		t.Run(eng.Name(), func(t *testing.T) {
			p := openMini(t, eng)
			early := 0
			for i := range calls {
				if i%2 == 0 {
					_, err = p.Caption(t.Context(), img)
				} else {
					_, err = p.Answer(t.Context(), img, "what is this?")
				}
				if err != nil {
					t.Fatal(err)
				}
				if i == calls/10 {
					early = resident(t)
				}
			}
			late := resident(t)
			t.Logf("resident %d MiB after %d calls, %d MiB after %d", early>>20, calls/10, late>>20, calls)
			if late > early+early/20 {
				t.Errorf("memory grew by more than 5 %%: %d to %d bytes", early, late)
			}
		})
	}
}

// resident is the process's resident memory in bytes after a collection.
func resident(t *testing.T) int {
	t.Helper()
	runtime.GC()
	debug.FreeOSMemory()
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(data))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
