//go:build unix

package vectors

import "syscall"

// mapFile maps the file read-only. Whoever writes it never shortens it while it is of use.
func (v *File) mapFile(size int64) error {
	b, err := syscall.Mmap(int(v.f.Fd()), 0, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return err
	}
	v.mapped, v.unmap = b, func() error { return syscall.Munmap(b) }
	return nil
}
