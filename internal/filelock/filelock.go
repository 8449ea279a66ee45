// Package filelock locks open files against other processes. A lock is advisory: it holds off those
// who ask for it alone. The system gives it up when its file is closed or its process dies.
package filelock

import (
	"errors"
	"os"
)

// ErrLocked says that another has the lock.
var ErrLocked = errors.New("the file is locked")

// TryLock takes the lock of an open file, without waiting: ErrLocked says that another open file,
// of this or another process, has it. An error that wraps errors.ErrUnsupported says that the
// system or the file system has no locks.
func TryLock(f *os.File) error { return tryLock(f) }
