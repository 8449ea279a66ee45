package pdf

import (
	"context"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sync"

	"github.com/klippa-app/go-pdfium"
	"github.com/klippa-app/go-pdfium/webassembly"
	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/experimental"
)

// instanceMemory is the most that one instance of PDFium may take, in bytes.
const instanceMemory = 512 << 20

const wasmPage = 64 << 10

// PDFium is compiled once a process, for each of two ways: with and without checks for the end of a
// context in its loops and functions.
var (
	plain         = sync.OnceValues(func() (pdfium.Pool, error) { return start(false) })
	interruptible = sync.OnceValues(func() (pdfium.Pool, error) { return start(true) })
)

// start compiles PDFium, or takes what an earlier process has compiled from the user's cache folder.
func start(checks bool) (pdfium.Pool, error) {
	config := wazero.NewRuntimeConfig().
		// What go-pdfium's own configuration has: PDFium's setjmp is built on exceptions.
		WithCoreFeatures(api.CoreFeaturesV2 | experimental.CoreFeaturesExceptionHandling).
		WithMemoryLimitPages(instanceMemory / wasmPage).
		WithCloseOnContextDone(checks)
	// Without a folder to write to it is compiled each time, which takes seconds.
	if dir, err := os.UserCacheDir(); err == nil {
		if cache, err := wazero.NewCompilationCacheWithDir(filepath.Join(dir, "xpipe", "wasm")); err == nil {
			config = config.WithCompilationCache(cache)
		}
	}
	pool, err := webassembly.Init(webassembly.Config{
		MaxTotal:      math.MaxInt32, // documents bound theirs
		FSConfig:      wazero.NewFSConfig(),
		RuntimeConfig: config,
		Stdout:        io.Discard,
		Stderr:        io.Discard,
	})
	if err != nil {
		return nil, fmt.Errorf("PDFium could not be started: %w", err)
	}
	return pool, nil
}

func (d *Document) instance(ctx context.Context) (pdfium.Pdfium, error) {
	pool := plain
	if d.options.Interruptible {
		pool = interruptible
	}
	p, err := pool()
	if err != nil {
		return nil, err
	}
	return p.GetInstanceWithContext(ctx)
}
