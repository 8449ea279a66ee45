//go:build !js

package sqlitefile

import (
	"errors"

	"modernc.org/sqlite"
)

// resultCode is SQLite's extended code of an error.
func resultCode(err error) (int, bool) {
	failure, ok := errors.AsType[*sqlite.Error](err)
	if !ok {
		return 0, false
	}
	return failure.Code(), true
}
