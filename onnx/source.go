package onnx

import (
	"embed"
	"errors"
	"io/fs"
	"iter"
	"os"
	"slices"
)

// ErrGraph is wrapped by every error about a model file: it is no ONNX model, is damaged, or needs
// something that is not supported.
var ErrGraph = errors.New("graph")

// Source names a model file inside a file system, which must hold its external data too. Nothing
// outside the file system is ever read.
type Source struct {
	FS   fs.FS
	Name string // slash-separated, as fs.ValidPath wants it
	// Check, where it is not nil, is called with the content of each file that is read whole, in
	// pieces, by its name in FS, before any of it is used; its error ends the opening. So a file need
	// not be read a second time to hash it. A piece stays valid until the next one alone: the memory of
	// a large file is given back piece by piece. Files that ONNX Runtime reads itself (external data)
	// are not checked.
	Check func(name string, content iter.Seq[[]byte]) error
}

// Path returns the operating system's path of the file, for engines that read files themselves; ok
// is false where the source does not lie on a disk but is embedded or archived.
func (s Source) Path() (path string, ok bool) {
	f, err := s.FS.Open(s.Name)
	if err != nil {
		return "", false
	}
	defer f.Close()
	if disk, isFile := f.(*os.File); isFile {
		return disk.Name(), true
	}
	return "", false
}

// Read returns the whole model file, checked.
func (s Source) Read() ([]byte, error) {
	data, err := fs.ReadFile(s.FS, s.Name)
	if err == nil {
		err = s.Checked(s.Name, data)
	}
	return data, err
}

// Checked calls Check with a file's content where it is not nil.
func (s Source) Checked(name string, data []byte) error {
	if s.Check == nil {
		return nil
	}
	return s.Check(name, slices.Values([][]byte{data}))
}

// Embedded returns the embed.FS that holds the files of a file system: files of a program, which
// cannot change while it runs. A file system that shows them in another way has a method Embedded.
func Embedded(files fs.FS) (embed.FS, bool) {
	switch f := files.(type) {
	case embed.FS:
		return f, true
	case interface{ Embedded() embed.FS }:
		return f.Embedded(), true
	}
	return embed.FS{}, false
}
