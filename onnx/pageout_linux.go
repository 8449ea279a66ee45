package onnx

import "golang.org/x/sys/unix"

// pageOut lets the system take back pages of the program itself. Unlike MADV_DONTNEED this loses nothing
// where a packer has unpacked the program into memory that no file stands behind.
func pageOut(pages []byte) {
	if len(pages) > 0 {
		unix.Madvise(pages, unix.MADV_PAGEOUT)
	}
}
