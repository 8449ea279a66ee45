//go:build cgo && !noort

package ort

import "C"

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/crossattn/xpipe/engine"
)

// The codes of OrtErrorCode that tell whose fault it is.
const (
	codeEngine         = 5
	codeNotImplemented = 9
	codeProvider       = 11
)

// runError makes an error of ONNX Runtime's message about a run. Nearly always the sizes of the
// inputs do not go together: everything that can be checked without running was checked before.
func runError(code C.int, message string) error {
	switch text := brief(message); {
	case outOfMemory.MatchString(message):
		return fmt.Errorf("%w: out of memory: %s", engine.ErrEngine, text)
	case code == codeNotImplemented:
		return fmt.Errorf("%w: %s", engine.ErrGraph, text)
	case code == codeProvider, code == codeEngine:
		return fmt.Errorf("%w: %s", engine.ErrEngine, text)
	default:
		return fmt.Errorf("%w: %s", engine.ErrInput, text)
	}
}

// openError makes an error of its message about a graph.
func openError(err error, provider string) error {
	text := brief(err.Error())
	if provider != "" && provider != "cpu" && aboutDevice.MatchString(err.Error()) {
		return fmt.Errorf("%w: provider %s failed to start: %s", engine.ErrEngine, provider, text)
	}
	return fmt.Errorf("%w: %s", engine.ErrGraph, text)
}

// optimizerError is the failure to open a graph that may be the optimiser's fault: a lower level may do.
type optimizerError struct{ error }

func (e *optimizerError) Unwrap() error { return e.error }

// failsInOptimizer reports whether a session's own work on a graph that it had read failed, which is
// where the optimiser runs. Damaged files and operators that are not there fail before.
func failsInOptimizer(err error) bool {
	return strings.Contains(err.Error(), "Exception during initialization")
}

var (
	aboutDevice = regexp.MustCompile(`(?i)cuda|cudnn|cublas|tensorrt|openvino|coreml|directml|dml|execution provider`)
	outOfMemory = regexp.MustCompile(`(?i)failed to allocate|bad_alloc|out of memory|bad allocation`)

	// ONNX Runtime puts into its messages where in its source the check stands, and the C++ name of
	// the function.
	sourcePlace = regexp.MustCompile(`(?:[A-Za-z]:)?[\w./\\+-]+\.(?:cc|h|cpp|hpp|cu|mm):\d+ `)
	signature   = regexp.MustCompile(`(?:[\w:<>,*&~]+ )*(?:[\w]+::)+[^\s(]+\([^)]*\)(?: const)?(?: \[with [^\]]*\])? `)
	exception   = regexp.MustCompile(`\[ONNXRuntimeError\] : \d+ : \w+ : `)
	tidy        = []struct{ from, to string }{
		{"Error creating C session: ", ""},
		{"Error running network: ", ""},
		{"Non-zero status code returned while running ", "running "},
		{"Status Message: ", ""},
		{"Exception during initialization: ", ""},
		{"Exception during loading: ", ""},
		{"Fatal error: ", ""},
	}
)

// brief makes one clear line of a message of ONNX Runtime.
func brief(message string) string {
	text := strings.Join(strings.Fields(message), " ")
	text = sourcePlace.ReplaceAllString(text, "")
	text = exception.ReplaceAllString(text, "")
	text = signature.ReplaceAllString(text, "")
	for _, t := range tidy {
		text = strings.ReplaceAll(text, t.from, t.to)
	}
	const longest = 400
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "..."
	}
	return strings.TrimSpace(text)
}
