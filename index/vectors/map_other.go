//go:build !unix && !windows

package vectors

// mapFile reads the file, where it cannot be mapped.
func (v *File) mapFile(size int64) error {
	v.mapped = make([]byte, size)
	_, err := v.f.ReadAt(v.mapped, 0)
	return err
}
