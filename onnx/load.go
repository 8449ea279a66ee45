// Package onnx reads ONNX model files: graphs, in the form of package ir; the tensors inside the
// file and in external data files beside it; and a summary for people. It computes nothing. A
// Builder writes small models, for tests and benchmarks.
package onnx

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
	"strings"
	"unsafe"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/runtime/protoiface"

	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/tensor"
)

// maxModelBytes is the largest model file read; protobuf itself ends at 2 GiB. Larger models keep
// their weights in external data.
const maxModelBytes = 1<<31 - 1

// maxNesting bounds how deep messages (subgraphs) may nest.
const maxNesting = 200

// Model is a model file in memory. Its tensors share memory with the file, which is mapped where
// that is possible, so nothing obtained from a Model may be used after Close.
type Model struct {
	Proto *pb.ModelProto
	// Opsets holds the version of each operator domain the model imports; the default domain is "".
	Opsets map[string]int

	source Source
	data   []region          // the model file
	files  map[string]region // external data files by path
}

// region is a file's bytes, mapped or read.
type region struct {
	bytes []byte
	// forget lets the system take back whole pages that it can read again; nil: there are none.
	forget func(pages []byte)
	close  func() error
}

// Release gives back the memory of t where it lies in a mapped file of the model. t stays valid:
// the system reads the file again when t is read.
func (m *Model) Release(t *tensor.Tensor) {
	if t == nil || t.Len() == 0 {
		return
	}
	b := bytesOf(t)
	start := uintptr(unsafe.Pointer(&b[0]))
	release := func(r region) {
		begin := uintptr(unsafe.Pointer(unsafe.SliceData(r.bytes)))
		if r.forget != nil && start >= begin && start+uintptr(len(b)) <= begin+uintptr(len(r.bytes)) {
			r.forget(wholePages(b))
		}
	}
	for _, r := range m.data {
		release(r)
	}
	for _, r := range m.files {
		release(r)
	}
}

// Forget lets the system take back the memory of the files, as after what was read once alone: hashed, or
// packed. Tensors stay valid, as with Release.
func (m *Model) Forget() {
	forget := func(r region) {
		if r.forget != nil {
			r.forget(wholePages(r.bytes))
		}
	}
	for _, r := range m.data {
		forget(r)
	}
	for _, r := range m.files {
		forget(r)
	}
}

// wholePages returns the pages of memory that lie in b alone.
func wholePages(b []byte) []byte {
	page := uintptr(os.Getpagesize())
	skip := -uintptr(unsafe.Pointer(unsafe.SliceData(b))) & (page - 1)
	if size := uintptr(len(b)); size >= skip+page {
		return b[skip : skip+(size-skip)&^(page-1)]
	}
	return nil
}

// Load reads the model that source names. Errors about the file's contents wrap ErrGraph; a file
// that is not there gives the file system's error.
func Load(source Source) (*Model, error) {
	r, err := openRegion(source, source.Name, maxModelBytes)
	if err != nil {
		return nil, err
	}
	m := &Model{
		Proto: new(pb.ModelProto), source: source, data: []region{r}, files: map[string]region{},
	}
	if err := unmarshalModel(r.bytes, m.Proto); err != nil {
		pointer := bytes.HasPrefix(r.bytes, []byte("version https://git-lfs"))
		m.Close()
		if pointer {
			return nil, fmt.Errorf("%w: %s is a pointer of Git LFS, not the model itself; "+
				"`git lfs pull` fetches it", ErrGraph, source.Name)
		}
		return nil, fmt.Errorf("%w: %s is not an ONNX model, or is damaged: %v",
			ErrGraph, source.Name, err)
	}
	if m.Proto.GetGraph() == nil {
		m.Close()
		return nil, fmt.Errorf("%w: %s is not an ONNX model: it holds no graph",
			ErrGraph, source.Name)
	}
	m.Opsets, err = opsets(m.Proto.GetOpsetImport())
	if err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

func opsets(imports []*pb.OperatorSetIdProto) (map[string]int, error) {
	set := map[string]int{}
	for _, o := range imports {
		v := o.GetVersion()
		if v < 1 || v > 1<<20 {
			return nil, fmt.Errorf("%w: operator set %q has version %d", ErrGraph, o.GetDomain(), v)
		}
		set[Domain(o.GetDomain())] = int(v)
	}
	return set, nil
}

// Domain returns the usual spelling of an operator domain: the default domain, which may also be
// written "ai.onnx", is "".
func Domain(d string) string {
	if d == "ai.onnx" {
		return ""
	}
	return d
}

// unmarshal decodes m from b. It asks for byte fields that share b's memory; version 1.36 of the
// protobuf module copies them all the same, for which see unmarshalModel.
func unmarshal(b []byte, m proto.Message) error {
	r := m.ProtoReflect()
	methods := r.ProtoMethods()
	if methods == nil || methods.Unmarshal == nil {
		return proto.Unmarshal(b, m)
	}
	_, err := methods.Unmarshal(protoiface.UnmarshalInput{
		Message:  r,
		Buf:      b,
		Flags:    protoiface.UnmarshalAliasBuffer | protoiface.UnmarshalDiscardUnknown,
		Resolver: protoregistry.GlobalTypes,
		Depth:    maxNesting,
	})
	return err
}

// Close frees the memory of the files. Tensors of the model must not be used any more.
func (m *Model) Close() error {
	var first error
	for _, r := range m.data {
		if err := r.close(); err != nil && first == nil {
			first = err
		}
	}
	for _, r := range m.files {
		if err := r.close(); err != nil && first == nil {
			first = err
		}
	}
	m.data, m.files = nil, nil
	return first
}

// ExternalFiles lists the files in which the model's weights lie beside it, sorted, as paths in its file
// system. They need not be there.
func (m *Model) ExternalFiles() []string {
	found := map[string]bool{}
	note := func(t *pb.TensorProto) {
		if t.GetDataLocation() != pb.TensorProto_EXTERNAL {
			return
		}
		for _, e := range t.GetExternalData() {
			if e.GetKey() == "location" {
				found[path.Join(path.Dir(m.source.Name), e.GetValue())] = true
			}
		}
	}
	var nodes func([]*pb.NodeProto)
	graph := func(g *pb.GraphProto) {
		for _, t := range g.GetInitializer() {
			note(t)
		}
		nodes(g.GetNode())
	}
	nodes = func(list []*pb.NodeProto) {
		for _, n := range list {
			for _, a := range n.GetAttribute() {
				note(a.GetT())
				for _, t := range a.GetTensors() {
					note(t)
				}
				if a.GetG() != nil {
					graph(a.GetG())
				}
				for _, g := range a.GetGraphs() {
					graph(g)
				}
			}
		}
	}
	graph(m.Proto.GetGraph())
	for _, f := range m.Proto.GetFunctions() {
		nodes(f.GetNode())
	}
	return slices.Sorted(maps.Keys(found))
}

// external returns the bytes that an external data entry points to. location is relative to the
// model's folder and may not leave it.
func (m *Model) external(location string, offset, length int64) ([]byte, error) {
	if location == "" || strings.ContainsAny(location, "\\\x00") ||
		path.IsAbs(location) || !fs.ValidPath(path.Clean(location)) {
		return nil, fmt.Errorf("%w: external data %q lies outside the model's folder",
			ErrGraph, location)
	}
	name := path.Join(path.Dir(m.source.Name), location)
	r, ok := m.files[name]
	if !ok {
		var err error
		if r, err = openRegion(m.source, name, 1<<40); err != nil {
			return nil, fmt.Errorf("%w: external data: %w", ErrGraph, err)
		}
		m.files[name] = r
	}
	size := int64(len(r.bytes))
	if offset < 0 || length < 0 || offset > size || length > size-offset {
		return nil, fmt.Errorf("%w: external data %q holds %d bytes, %d at %d are asked for",
			ErrGraph, location, size, length, offset)
	}
	return r.bytes[offset : offset+length : offset+length], nil
}

// openRegion maps or reads a whole file of a source, and has it checked.
func openRegion(source Source, name string, limit int64) (region, error) {
	r, err := readRegion(source.FS, name, limit)
	if err != nil {
		return region{}, err
	}
	if source.Check != nil {
		if err := source.Check(name, r.pieces); err != nil {
			r.close()
			return region{}, err
		}
	}
	return r, nil
}

// checkedPiece is how many bytes are checked before their memory is given back.
const checkedPiece = 16 << 20

// pieces gives the bytes from front to back. Those of a mapped file that were read leave the process's
// memory again: a large model would otherwise be in it twice when it is packed.
func (r region) pieces(yield func([]byte) bool) {
	for piece := range slices.Chunk(r.bytes, checkedPiece) {
		more := yield(piece)
		if r.forget != nil && len(r.bytes) > checkedPiece {
			r.forget(wholePages(piece))
		}
		if !more {
			return
		}
	}
}

func readRegion(fsys fs.FS, name string, limit int64) (region, error) {
	if !fs.ValidPath(name) {
		return region{}, fmt.Errorf("%w: %q is no valid path", ErrGraph, name)
	}
	f, err := fsys.Open(name)
	if err != nil {
		return region{}, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return region{}, err
	}
	if !info.Mode().IsRegular() {
		return region{}, fmt.Errorf("%w: %s is no regular file", ErrGraph, name)
	}
	if info.Size() > limit {
		return region{}, fmt.Errorf("%w: %s has %d bytes, more than the %d that are read",
			ErrGraph, name, info.Size(), limit)
	}
	if m, inMemory := f.(interface{ Contents() []byte }); inMemory {
		r := region{bytes: m.Contents(), close: func() error { return nil }}
		if p, ok := f.(interface{ InProgram() bool }); ok && p.InProgram() {
			r.forget = pageOut
		}
		return r, nil
	}
	if r, ok := mapFile(f, info.Size()); ok {
		return r, nil
	}
	b := make([]byte, info.Size())
	if _, err := io.ReadFull(f, b); err != nil {
		return region{}, fmt.Errorf("reading %s: %w", name, err)
	}
	return region{bytes: b, close: func() error { return nil }}, nil
}
