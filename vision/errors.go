package vision

import (
	"errors"
	"fmt"

	"github.com/crossattn/xpipe/media"
)

// ErrImage is wrapped by every error about input that cannot be used: a file that is not an image,
// is damaged or is of a kind not supported, and a preprocessing configuration that cannot be
// followed.
var ErrImage = errors.New("image")

// ErrLimit is wrapped by errors about input refused for its size (see Limits), before memory is
// taken for it.
var ErrLimit = media.ErrLimit

func imageErrorf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrImage, fmt.Errorf(format, args...))
}

// limitErrorf makes an error about a field of Limits; "" stands for a limit that is fixed.
func limitErrorf(field, format string, args ...any) error {
	return &media.LimitError{Field: field, Text: fmt.Sprintf(format, args...)}
}
