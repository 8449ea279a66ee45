package models

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// Hash returns a name for the bundle's content, "sha256:" and hexadecimal digits: bundles of other
// weights, graphs or configurations have another one. Where the manifest has the hashes of the
// files, it is the manifest's own hash. Otherwise it covers the files: small ones whole, of large
// ones the size and some places, so that it costs milliseconds. Graphs that the bundle does not
// use, such as those of other variants, documents and hidden files do not count. Errors wrap
// ErrBundle.
func (b *Bundle) Hash() (string, error) {
	h := sha256.New()
	h.Write(b.manifest)
	if len(b.SHA256) == 0 {
		if err := b.hashFiles(h); err != nil {
			return "", fmt.Errorf("%w: %w", ErrBundle, err)
		}
	}
	return "sha256:" + hex.EncodeToString(h.Sum(nil)), nil
}

// hashFiles adds the files that the bundle may read.
func (b *Bundle) hashFiles(h hash.Hash) error {
	var files, unused []string
	used := slices.Collect(maps.Values(b.Graphs))
	err := fs.WalkDir(b.fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		hidden := name != "." && strings.HasPrefix(path.Base(name), ".")
		switch {
		case err != nil || hidden && entry.IsDir():
			return fs.SkipDir // nothing is read there
		case entry.IsDir() || hidden || path.Ext(name) == ".md" || name == ManifestName:
		case path.Ext(name) == ".onnx" && !slices.Contains(used, name):
			unused = append(unused, strings.TrimSuffix(name, ".onnx"))
		default:
			files = append(files, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, name := range files {
		data := func(graph string) bool { // of a graph, beside it
			return strings.HasPrefix(name, graph+".onnx")
		}
		if slices.ContainsFunc(unused, data) {
			continue
		}
		if err := b.hashFile(h, name); err != nil {
			return err
		}
	}
	return nil
}

// Of a file larger than smallFile so many places of so many bytes are read.
const (
	hashedPlaces = 64
	hashedBytes  = 4096
)

// hashFile adds a file's name, its size, and its content or places of it.
func (b *Bundle) hashFile(h hash.Hash, name string) error {
	f, err := b.fsys.Open(name)
	if err != nil {
		return nil // a link out of the bundle, which is not read either
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return err
	}
	size := info.Size()
	fmt.Fprintf(h, "\n%q %d\n", name, size)
	at, ok := f.(io.ReaderAt)
	if size <= smallFile || !ok {
		_, err = io.Copy(h, f)
		return err
	}
	for i := range int64(hashedPlaces) {
		from := (size - hashedBytes) / (hashedPlaces - 1) * i
		if _, err := io.Copy(h, io.NewSectionReader(at, from, hashedBytes)); err != nil {
			return err
		}
	}
	return nil
}
