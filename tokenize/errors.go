package tokenize

import (
	"errors"
	"fmt"
)

// ErrTokenizer is wrapped by every error of this package: a file that is not a tokenizer.json, one
// that asks for something this package cannot do exactly, or a text that the tokenizer's own rules
// reject.
var ErrTokenizer = errors.New("tokenizer")

// refuse reports what in a tokenizer file cannot be used.
func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrTokenizer, fmt.Sprintf(format, args...))
}
