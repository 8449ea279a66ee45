//go:build unix

package onnx

import (
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// mapFile maps a file of the operating system read-only. ok is false where f is something else or
// mapping fails; the file is then read. As with any mapping, the process crashes if someone
// shortens the file while it is in use.
func mapFile(f fs.File, size int64) (r region, ok bool) {
	disk, isFile := f.(*os.File)
	if !isFile || size == 0 || int64(int(size)) != size {
		return region{}, false
	}
	b, err := syscall.Mmap(int(disk.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return region{}, false
	}
	return region{bytes: b, forget: forget, close: func() error { return syscall.Munmap(b) }}, true
}

// forget lets the system take back pages of a mapping. It reads them from the file again when they are
// used.
func forget(pages []byte) {
	if len(pages) > 0 {
		unix.Madvise(pages, unix.MADV_DONTNEED)
	}
}
