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

func limitErrorf(format string, args ...any) error {
	return fmt.Errorf("%w: %w", ErrLimit, fmt.Errorf(format, args...))
}
