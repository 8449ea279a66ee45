// Package inplace gives embedded graphs to engines where they lie in the program: an embed.FS would hand
// out copies, as large as the model.
package inplace

import (
	"embed"
	"io/fs"
	"strings"
	"unsafe"
)

// FS is an embedded file system some of whose files are in variables of strings, too; the linker keeps
// what both have once.
type FS struct {
	embed.FS
	Files map[string]string // by path
}

// Embedded is what onnx.Embedded asks for.
func (f FS) Embedded() embed.FS { return f.FS }

// Open implements fs.FS.
func (f FS) Open(name string) (fs.File, error) {
	data, ok := f.Files[name]
	if !ok {
		return f.FS.Open(name)
	}
	info, err := fs.Stat(f.FS, name)
	if err != nil {
		return nil, err
	}
	return &file{*strings.NewReader(data), data, info}, nil
}

// file is an open file. Package onnx takes its contents where they are.
type file struct {
	strings.Reader
	data string
	info fs.FileInfo
}

// Contents returns the file's bytes, which are the program's own: nobody may write them.
func (f *file) Contents() []byte { return unsafe.Slice(unsafe.StringData(f.data), len(f.data)) }

// InProgram says that the contents are pages of the program's file, which the system reads again.
func (f *file) InProgram() bool { return true }

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }
