// Package vectors searches many vectors exactly, in a file that is mapped into memory. Each vector is
// kept in 8 bits a number; what a search finds are candidates, some more than were asked for, whose
// scores the caller computes anew from the vectors themselves.
//
// The file holds nothing that cannot be made again: one that is missing, damaged, of another store or
// packed for another processor is opened as an empty one.
package vectors

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"unsafe"

	"github.com/crossattn/xpipe/internal/filelock"
	"github.com/crossattn/xpipe/internal/kernel"
)

// The file begins with a page for the header; chunks follow. A chunk holds the vectors of 1,024 slots:
// their bytes in kernel.ByteMatrix's panels of 16 columns, then for each slot the sum of its bytes as an
// int32 and the size of a step as a float32, NaN for a slot without a vector. Numbers are in the
// processor's order of bytes, which the magic number gives away.
const (
	page       = 4096
	magic      = 0x7870_6970_6576_6563 // "xpipevec"
	version    = 1
	chunkSlots = 1024
	panelSlots = 16
	slotExtra  = 8 // bytes for the sum and the step
)

// mostDim bounds the numbers of a vector.
const mostDim = 1 << 16

// ErrLocked says that another process writes the file.
var ErrLocked = filelock.ErrLocked

type header struct {
	Magic      uint64
	Version    uint32
	Form       uint32 // kernel.ByteForm
	Dim        uint32
	_          uint32
	Store      [16]byte
	Generation uint64
}

// File is a file of vectors. Searches may run at once with each other, and beside a process that
// writes: of a vector that is being written they may see half, as with any candidate whose score the
// caller then finds to be another.
type File struct {
	f      *os.File
	header header
	mapped []byte
	unmap  func() error
}

// Open opens the file at path for vectors of dim numbers, of a store with an id. It does not write, and
// a file that cannot be used is as good as none: it has the generation 0 and no vectors.
func Open(path string, store [16]byte, dim int) (*File, error) {
	v := &File{header: newHeader(store, dim)}
	f, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return v, nil
	case err != nil:
		return nil, err
	}
	v.f = f
	if !v.readHeader() {
		return v, nil
	}
	info, err := f.Stat()
	if err == nil {
		err = v.mapFile(info.Size())
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// Create opens a file to write to, and makes it where there is none or another one. The file is locked
// until it is closed: ErrLocked says that another process writes it.
func Create(path string, store [16]byte, dim int) (*File, error) {
	f, err := Lock(path)
	if err != nil {
		return nil, err
	}
	v := &File{f: f, header: newHeader(store, dim)}
	if v.readHeader() {
		return v, nil
	}
	// A new file, because whoever has mapped the old one would crash if it became shorter.
	if err := os.Remove(path); err != nil {
		f.Close()
		return nil, err
	}
	f.Close()
	if v.f, err = Lock(path); err != nil {
		return nil, err
	}
	if err := v.SetGeneration(0); err != nil {
		v.f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return v, nil
}

// Lock opens a file, makes it if there is none, and locks it until it is closed.
func Lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o666)
	if err != nil {
		return nil, err
	}
	if err := filelock.TryLock(f); err != nil && !errors.Is(err, errors.ErrUnsupported) {
		f.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return f, nil
}

func newHeader(store [16]byte, dim int) header {
	return header{Magic: magic, Version: version, Form: kernel.ByteForm(), Dim: uint32(dim), Store: store}
}

// readHeader takes the generation of a file whose header is otherwise the one that is wanted.
func (v *File) readHeader() bool {
	buf := make([]byte, page)
	if _, err := v.f.ReadAt(buf, 0); err != nil {
		return false
	}
	var h header
	if err := binary.Read(bytes.NewReader(buf), binary.NativeEndian, &h); err != nil {
		return false
	}
	want := v.header
	want.Generation = h.Generation
	if h != want || h.Dim == 0 || h.Dim > mostDim {
		return false
	}
	v.header = h
	return true
}

// Generation is the last one that SetGeneration noted.
func (v *File) Generation() uint64 { return v.header.Generation }

// Stale says that there is more in the file at path by now, or another file.
func (v *File) Stale(path string) bool {
	info, err := os.Stat(path)
	if v.f == nil || err != nil {
		return err == nil
	}
	if mine, err := v.f.Stat(); err != nil || !os.SameFile(mine, info) {
		return true
	}
	now := File{f: v.f, header: v.header}
	return int64(len(v.mapped)) > info.Size() || v.mapped == nil || !now.readHeader() || now.Generation() != v.Generation()
}

// SetGeneration notes in the file up to which change of the store it holds its vectors.
func (v *File) SetGeneration(generation uint64) error {
	v.header.Generation = generation
	var b bytes.Buffer
	if err := binary.Write(&b, binary.NativeEndian, v.header); err != nil {
		return err
	}
	_, err := v.f.WriteAt(append(b.Bytes(), make([]byte, page-b.Len())...), 0)
	return err
}

// Close closes the file and unlocks it.
func (v *File) Close() error {
	var errs []error
	if v.unmap != nil {
		errs = append(errs, v.unmap())
	}
	if v.f != nil {
		errs = append(errs, v.f.Close())
	}
	return errors.Join(errs...)
}

func (v *File) dim() int { return int(v.header.Dim) }

// panelBytes is the size of a panel, and chunkBytes that of a chunk.
func (v *File) panelBytes() int { return panelSlots * 4 * kernel.Quads(v.dim()) }

func (v *File) chunkBytes() int {
	return chunkSlots/panelSlots*v.panelBytes() + chunkSlots*slotExtra
}

// Slots is one more than the last slot that a search looks at.
func (v *File) Slots() int {
	if v.dim() == 0 {
		return 0
	}
	return max(0, len(v.mapped)-page) / v.chunkBytes() * chunkSlots
}

// Put sets the vectors of slots, each from 0; nil takes one away. The lengths of others are those of
// the file. They are seen by those who open the file from then on.
func (v *File) Put(slots []int64, rows [][]float32) error {
	for len(slots) > 0 {
		chunk, n := slots[0]/chunkSlots, 1
		for n < len(slots) && slots[n]/chunkSlots == chunk {
			n++
		}
		if err := v.putChunk(chunk, slots[:n], rows[:n]); err != nil {
			return err
		}
		slots, rows = slots[n:], rows[n:]
	}
	return nil
}

// putChunk is Put for slots of one chunk.
func (v *File) putChunk(chunk int64, slots []int64, rows [][]float32) error {
	size := v.chunkBytes()
	data := make([]byte, size)
	at := page + chunk*int64(size)
	n, err := v.f.ReadAt(data, at)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	_, steps := v.extras(data)
	if n < size { // the chunk is new, or was cut off
		clear(data)
		for i := range steps {
			steps[i] = float32(math.NaN())
		}
	}
	var floats []float32
	var columns []int // where those go
	for i, slot := range slots {
		j := int(slot % chunkSlots)
		steps[j] = float32(math.NaN())
		if rows[i] != nil {
			floats, columns = append(floats, rows[i]...), append(columns, j)
		}
	}
	if len(columns) > 0 {
		v.pack(data, floats, columns)
	}
	_, err = v.f.WriteAt(data, at)
	return err
}

// pack puts vectors, one behind the other in floats, into columns of a chunk.
func (v *File) pack(chunk []byte, floats []float32, columns []int) {
	m := kernel.NewByteMatrix(v.dim(), len(columns))
	packedSteps := make([]float32, len(columns))
	m.FillFloats(floats, v.dim(), true, packedSteps, 0, m.Panels())
	panels, packedSums := m.Packed()
	sums, steps := v.extras(chunk)
	for i, j := range columns {
		steps[j] = packedSteps[i]
		if packedSums != nil {
			sums[j] = packedSums[i]
		}
		from, to := panels[i/panelSlots*v.panelBytes():], chunk[j/panelSlots*v.panelBytes():]
		for q := range kernel.Quads(v.dim()) {
			copy(to[q*64+j%panelSlots*4:][:4], from[q*64+i%panelSlots*4:])
		}
	}
}

// extras are the sums and the steps of a chunk.
func (v *File) extras(chunk []byte) (sums []int32, steps []float32) {
	from := chunkSlots / panelSlots * v.panelBytes()
	sums = unsafe.Slice((*int32)(unsafe.Pointer(&chunk[from])), chunkSlots)
	steps = unsafe.Slice((*float32)(unsafe.Pointer(&chunk[from+4*chunkSlots])), chunkSlots)
	return sums, steps
}

// ClearFrom takes the vectors of all slots from one on away.
func (v *File) ClearFrom(slot int64) error {
	info, err := v.f.Stat()
	if err != nil {
		return err
	}
	end := max(0, info.Size()-page) / int64(v.chunkBytes()) * chunkSlots
	var slots []int64
	for ; slot < end; slot++ {
		slots = append(slots, slot)
	}
	return v.Put(slots, make([][]float32, len(slots)))
}
