package audio

import (
	"errors"
	"fmt"

	"github.com/crossattn/xpipe/media"
)

// ErrSound is wrapped by every error about input that cannot be used: a file that is no sound, is
// damaged or is of a kind not supported, and a preprocessing configuration that cannot be followed.
var ErrSound = errors.New("sound")

// ErrLimit is wrapped by errors about input refused for its size (see Limits), before memory is
// taken for it.
var ErrLimit = media.ErrLimit

func soundErrorf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrSound, fmt.Errorf(format, args...))
}

// limitErrorf makes an error about a field of Limits.
func limitErrorf(field, format string, args ...any) error {
	return &media.LimitError{Field: field, Text: fmt.Sprintf(format, args...)}
}
