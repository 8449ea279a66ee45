// Package graph opens and runs the graphs of a model bundle, checks their outputs, and does the
// arithmetic between them: rows and projections. It knows no family, no text and no task. It
// declares the names of roles and tensors, and the errors, that all packages under pipeline share.
package graph

import (
	"errors"
	"fmt"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
)

// The kinds of failure of the packages under pipeline; package pipeline exports them under the
// same names.
var (
	// ErrBundle: a file of the bundle is missing, damaged or does not fit the others.
	ErrBundle = models.ErrBundle
	// ErrPrompt: the text is too long or lacks what the model needs.
	ErrPrompt = errors.New("prompt")
	// ErrOption: a parameter is out of its range, or two of them exclude each other.
	ErrOption = errors.New("option")
	// ErrUnsupported: the model's family cannot do the task.
	ErrUnsupported = errors.New("unsupported")
	// ErrLimit: a size or a count is beyond the limits of the Pipeline.
	ErrLimit = media.ErrLimit
)

// CheckLimit refuses n above most, the value of a field of pipeline.Limits. The error is a
// *media.LimitError and names what is counted.
func CheckLimit[T int | int64](field, what string, n, most T) error {
	if n <= most {
		return nil
	}
	text := fmt.Sprintf("%s: %d, the limit is %d", what, n, most)
	return &media.LimitError{Field: field, Text: text}
}
