// Package enginetest is the suite that an engine must pass. It runs the same tables on any
// engine.Engine: the official ONNX tests of nodes and small models, golden cases of real graphs, and the contract's
// rules for inputs, outputs, concurrency, cancellation, closing and attention.
package enginetest

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/crossattn/xpipe/engine"
)

// Options say what to run an engine on. The zero value runs all node tests and the contract.
type Options struct {
	// Supported reports whether the engine claims an operator; nil means all. ONNX's tests with
	// other operators are counted as not claimed.
	Supported func(domain, op string, opset int) bool
	// Out names tests of ONNX that this engine does not pass, with the reason, beside those that no
	// engine runs.
	Out map[string]string
	// Sample, where it is above 1, leaves all but one in so many of ONNX's tests to runs with the
	// build tag slow.
	Sample int
	// Golden lists folders with golden cases; see LoadGolden.
	Golden []string
	// Open is how graphs are opened.
	Open engine.Options
}

// Run runs the whole suite on e.
func Run(t *testing.T, e engine.Engine, opts Options) {
	for _, kind := range nodeTestKinds {
		t.Run(kind, func(t *testing.T) { runNodeTests(t, e, kind, opts) })
	}
	for _, dir := range opts.Golden {
		t.Run("golden/"+filepath.Base(filepath.Dir(dir)), func(t *testing.T) {
			runGolden(t, e, dir, opts)
		})
	}
	t.Run("contract", func(t *testing.T) { runContract(t, subject{e, opts.Open}) })
}

// findUp looks for a path in the working directory and those above it, up to the module's root.
func findUp(rel string) (string, bool) {
	dir, err := os.Getwd()
	if err != nil {
		return "", false
	}
	for {
		if matches, _ := filepath.Glob(filepath.Join(dir, rel)); len(matches) > 0 {
			return matches[0], true
		}
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return "", false
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", false
		}
		dir = up
	}
}
