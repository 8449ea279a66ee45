package tensor

import (
	"archive/zip"
	"io"
	"maps"
	"slices"
)

// WriteNpz writes arrays as a .npz file, a zip archive of .npy files in the order
// of their names, as numpy.savez_compressed does.
func WriteNpz(w io.Writer, arrays map[string]*Tensor) error {
	z := zip.NewWriter(w)
	for _, name := range slices.Sorted(maps.Keys(arrays)) {
		member, err := z.Create(name + ".npy")
		if err != nil {
			return err
		}
		if err := WriteNpy(member, arrays[name]); err != nil {
			return err
		}
	}
	return z.Close()
}
