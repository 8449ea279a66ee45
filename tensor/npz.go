package tensor

import (
	"archive/zip"
	"bufio"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
)

// ErrTooLarge is wrapped, beside ErrTensor, by the error for a file that unpacks to more than its
// reader allows.
var ErrTooLarge = errors.New("too large")

// LoadNpz reads the arrays of a .npz file (a zip archive of .npy files) by name. A member that is
// not an array which this package reads is an error. So is a file whose members take, or say that
// they take, more than most bytes together when unpacked: on disk it may have a thousandth of that.
func LoadNpz(path string, most int64) (map[string]*Tensor, error) {
	z, err := zip.OpenReader(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: not a .npz file: %w", ErrTensor, path, err)
	}
	defer z.Close()
	tooLarge := fmt.Errorf("%w: %s: %w: it unpacks to more than %d bytes",
		ErrTensor, path, ErrTooLarge, most)
	left := most
	for _, member := range z.File {
		if member.UncompressedSize64 > uint64(left) {
			return nil, tooLarge
		}
		left -= int64(member.UncompressedSize64)
	}
	arrays := map[string]*Tensor{}
	left = most
	for _, member := range z.File {
		name := strings.TrimSuffix(member.Name, ".npy")
		if arrays[name] != nil {
			return nil, fmt.Errorf("%w: %s: %s is there twice", ErrTensor, path, member.Name)
		}
		r, err := member.Open()
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %s: %w", ErrTensor, path, member.Name, err)
		}
		bounded := &io.LimitedReader{R: r, N: left}
		arrays[name], err = ReadNpy(bufio.NewReader(bounded))
		r.Close()
		if left = bounded.N; left == 0 && err != nil {
			return nil, tooLarge
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %s: %w", path, member.Name, err)
		}
	}
	return arrays, nil
}

// WriteNpz writes arrays as a .npz file, a zip archive of .npy files in the order of their names,
// as numpy.savez_compressed does.
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
