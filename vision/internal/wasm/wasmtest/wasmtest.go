// Package wasmtest lets the tests of a decoder start without compiling it each time.
package wasmtest

import (
	"context"
	"fmt"
	"os"
	"testing"

	"github.com/crossattn/xpipe/vision/internal/wasm"
	"github.com/tetratelabs/wazero"
)

// Main is a package's TestMain: it keeps the machine code in a folder, which is made. It is for the
// version of wazero, the program and the processor that made it.
func Main(m *testing.M, folder string) {
	cache, err := wazero.NewCompilationCacheWithDir(folder)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	wasm.Compiled = cache
	code := m.Run()
	_ = cache.Close(context.Background())
	os.Exit(code)
}
