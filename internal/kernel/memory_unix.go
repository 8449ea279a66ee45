//go:build unix

package kernel

import "syscall"

// mapPages returns memory of the system's, nil where it gives none.
func mapPages(size int) []byte {
	b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil
	}
	return b
}

// unmapPages gives back what mapPages gave.
func unmapPages(b []byte) { syscall.Munmap(b) }
