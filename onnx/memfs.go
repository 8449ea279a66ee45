package onnx

import (
	"bytes"
	"io/fs"
	"time"
)

// MemorySource makes a source of a model file's bytes, which must not change while the source is in
// use.
func MemorySource(data []byte) Source {
	return Source{FS: memFS{data}, Name: "model.onnx"}
}

// memFS is a file system of one file, model.onnx.
type memFS struct{ data []byte }

func (m memFS) Open(name string) (fs.File, error) {
	if name != "model.onnx" {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &memFile{Reader: *bytes.NewReader(m.data), data: m.data}, nil
}

// memFile is an open model.onnx, and its own fs.FileInfo.
type memFile struct {
	bytes.Reader
	data []byte
}

// Contents returns the file's bytes where they are. Files of other file systems that are in memory may
// have such a method.
func (f *memFile) Contents() []byte { return f.data }

func (f *memFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *memFile) Close() error               { return nil }
func (f *memFile) Name() string               { return "model.onnx" }
func (f *memFile) Size() int64                { return int64(len(f.data)) }
func (f *memFile) Mode() fs.FileMode          { return 0o444 }
func (f *memFile) ModTime() time.Time         { return time.Time{} }
func (f *memFile) IsDir() bool                { return false }
func (f *memFile) Sys() any                   { return nil }
