// Package wasm runs decoders that were compiled to WebAssembly, each call in a memory of its own
// that ends with it: what a damaged file makes them do stays in there.
package wasm

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/tetratelabs/wazero"
	"github.com/tetratelabs/wazero/api"
	"github.com/tetratelabs/wazero/imports/wasi_snapshot_preview1"
)

// Compiled, if it is not nil, keeps machine code between processes. Tests set it before they open
// anything: compiling a decoder takes seconds.
var Compiled wazero.CompilationCache

// Module is a program, compiled when it is first opened. It may be opened by many goroutines.
type Module struct {
	packed   []byte
	once     sync.Once
	runtime  wazero.Runtime
	compiled wazero.CompiledModule
	err      error
}

// New returns the module of a gzip-compressed binary. It must export malloc.
func New(packed []byte) *Module { return &Module{packed: packed} }

func (m *Module) compile(ctx context.Context) error {
	z, err := gzip.NewReader(bytes.NewReader(m.packed))
	if err != nil {
		return err
	}
	code, err := io.ReadAll(z)
	if err != nil {
		return err
	}
	config := wazero.NewRuntimeConfig()
	if Compiled != nil {
		config = config.WithCompilationCache(Compiled)
	}
	m.runtime = wazero.NewRuntimeWithConfig(ctx, config)
	if _, err := wasi_snapshot_preview1.Instantiate(ctx, m.runtime); err != nil {
		return err
	}
	m.compiled, err = m.runtime.CompileModule(ctx, code)
	return err
}

// Instance is a running program.
type Instance struct {
	ctx context.Context
	mod api.Module
}

// Open starts the program. The caller closes it.
func (m *Module) Open() (*Instance, error) {
	ctx := context.Background()
	m.once.Do(func() { m.err = m.compile(ctx) })
	if m.err != nil {
		return nil, fmt.Errorf("the decoder cannot be started: %w", m.err)
	}
	mod, err := m.runtime.InstantiateModule(ctx, m.compiled, wazero.NewModuleConfig().WithName(""))
	if err != nil {
		return nil, fmt.Errorf("the decoder cannot be started: %w", err)
	}
	return &Instance{ctx, mod}, nil
}

// Close frees the memory.
func (i *Instance) Close() { _ = i.mod.Close(i.ctx) }

var errMemory = errors.New("the decoder is out of memory")

// Call runs a function, which returns one number or none.
func (i *Instance) Call(name string, args ...uint64) (uint64, error) {
	f := i.mod.ExportedFunction(name)
	if f == nil {
		return 0, fmt.Errorf("the decoder has no function %s", name)
	}
	results, err := f.Call(i.ctx, args...)
	if err != nil {
		return 0, fmt.Errorf("the decoder failed: %w", err)
	}
	if len(results) == 0 {
		return 0, nil
	}
	return results[0], nil
}

// Alloc takes n bytes, which last until Close.
func (i *Instance) Alloc(n uint64) (uint64, error) {
	if n > 1<<32-1 {
		return 0, errMemory
	}
	at, err := i.Call("malloc", max(n, 1))
	if at == 0 && err == nil {
		err = errMemory
	}
	return at, err
}

// Write copies data into the program's memory and returns where.
func (i *Instance) Write(data []byte) (uint64, error) {
	at, err := i.Alloc(uint64(len(data)))
	if err == nil && !i.mod.Memory().Write(uint32(at), data) {
		err = errMemory
	}
	return at, err
}

// Read returns n bytes of the program's memory, which are lost at Close or the next call.
func (i *Instance) Read(at, n uint64) ([]byte, error) {
	if at > 1<<32-1 || n > 1<<32-1 {
		return nil, errMemory
	}
	b, ok := i.mod.Memory().Read(uint32(at), uint32(n))
	if !ok {
		return nil, errMemory
	}
	return b, nil
}

// Numbers reads n 32-bit numbers.
func (i *Instance) Numbers(at uint64, n int) ([]uint64, error) {
	b, err := i.Read(at, 4*uint64(n))
	if err != nil {
		return nil, err
	}
	list := make([]uint64, n)
	for k := range list {
		list[k] = uint64(binary.LittleEndian.Uint32(b[4*k:]))
	}
	return list, nil
}

// File is the file of a picture in an Instance's memory.
type File struct {
	*Instance
	Data, Length uint64
	Results      uint64 // where the decoder writes numbers, of 32 bits each
}

// OpenFile starts a program and puts a file into its memory, with room for the given count of
// results.
func (m *Module) OpenFile(file []byte, results int) (*File, error) {
	i, err := m.Open()
	if err != nil {
		return nil, err
	}
	f := &File{Instance: i, Length: uint64(len(file))}
	if f.Data, err = i.Write(file); err == nil {
		f.Results, err = i.Alloc(4 * uint64(results))
	}
	if err != nil {
		i.Close()
		return nil, err
	}
	return f, nil
}
