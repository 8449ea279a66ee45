package whispermini

import (
	"cmp"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
)

// suffix is that of the files that are stored compressed.
const suffix = ".gz"

// files are those of a folder, those with suffix under their names without it, expanded.
type files struct{ packed fs.FS }

func (f files) Open(name string) (fs.File, error) {
	if !fs.ValidPath(name) || strings.HasSuffix(name, suffix) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	inner, err := f.packed.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		if inner, err = f.packed.Open(name + suffix); err != nil {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		return expand(inner)
	}
	if dir, ok := inner.(fs.ReadDirFile); ok {
		return &folder{dir, f, name, nil, false}, nil
	}
	return inner, err
}

// ReadFile expands a file into memory of its size, where io.ReadAll would grow it.
func (f files) ReadFile(name string) ([]byte, error) {
	file, err := f.Open(name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if info.IsDir() {
		return nil, &fs.PathError{Op: "read", Path: name, Err: errors.New("is a folder")}
	}
	data := make([]byte, info.Size())
	_, err = io.ReadFull(file, data)
	return data, err
}

// file is one that is expanded as it is read.
type file struct {
	*gzip.Reader
	fs.File
	info fileInfo
}

func (f *file) Read(p []byte) (int, error) { return f.Reader.Read(p) }
func (f *file) Close() error               { return f.File.Close() }
func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }

// expand opens what a file holds. Its last four bytes are the length of that (RFC 1952).
func expand(inner fs.File) (fs.File, error) {
	info, err := inner.Stat()
	if err != nil {
		return nil, err
	}
	var length [4]byte
	if _, err := inner.(io.ReaderAt).ReadAt(length[:], info.Size()-int64(len(length))); err != nil {
		return nil, err
	}
	r, err := gzip.NewReader(inner)
	if err != nil {
		return nil, err
	}
	return &file{r, inner, fileInfo{info, int64(binary.LittleEndian.Uint32(length[:]))}}, nil
}

// fileInfo is that of a compressed file as it is seen from outside.
type fileInfo struct {
	fs.FileInfo
	size int64
}

func (i fileInfo) Name() string { return strings.TrimSuffix(i.FileInfo.Name(), suffix) }
func (i fileInfo) Size() int64  { return i.size }

// folder lists files by the names that they are opened by.
type folder struct {
	fs.ReadDirFile
	files  files
	name   string
	rest   []fs.DirEntry
	listed bool
}

func (d *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	if !d.listed {
		entries, err := d.files.ReadDir(d.name)
		if err != nil {
			return nil, err
		}
		d.rest, d.listed = entries, true
	}
	if n <= 0 {
		n = len(d.rest)
	} else if len(d.rest) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(d.rest))
	list := d.rest[:n:n]
	d.rest = d.rest[n:]
	return list, nil
}

// ReadDir lists a folder, sorted.
func (f files) ReadDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(f.packed, name)
	for i, e := range entries {
		if strings.HasSuffix(e.Name(), suffix) {
			entries[i] = entry{e, f, strings.TrimPrefix(name+"/", "./") + strings.TrimSuffix(e.Name(), suffix)}
		}
	}
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, err
}

// entry is a compressed file in a folder's list.
type entry struct {
	fs.DirEntry
	files files
	path  string
}

func (e entry) Name() string { return strings.TrimSuffix(e.DirEntry.Name(), suffix) }

func (e entry) Info() (fs.FileInfo, error) { return fs.Stat(e.files, e.path) }
