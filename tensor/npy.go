package tensor

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"
)

// The .npy format is numpy's: magic, version, header length, a Python dict with descr,
// fortran_order and shape, then the elements (numpy/lib/format.py). It has no bfloat16; numpy saves
// the type of package ml_dtypes as two plain bytes, V2, which its reader views as bfloat16 again.
const npyMagic = "\x93NUMPY"

// maxNpyHeader bounds the header, which numpy itself keeps under 10,000 bytes.
const maxNpyHeader = 1 << 16

var npyDescr = map[DType]string{
	Float32: "<f4", Float64: "<f8", Float16: "<f2", BFloat16: "<V2", Int64: "<i8", Int32: "<i4",
	Int8: "|i1", Uint8: "|u1", Bool: "|b1",
}

// WriteNpy writes t as a version 1.0 .npy file in little-endian C order.
func WriteNpy(w io.Writer, t *Tensor) error {
	header, err := NpyHeader(t.dtype, t.shape...)
	if err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	b.Write(header)
	// binary.Write takes a slice of any of the element types.
	if err := binary.Write(b, binary.LittleEndian, t.elements()); err != nil {
		return err
	}
	return b.Flush()
}

// NpyHeader returns what WriteNpy writes in front of the elements of a tensor. Its length is a
// multiple of 64 bytes: 128 for float32 [N,E] of any size.
func NpyHeader(dtype DType, shape ...int) ([]byte, error) {
	descr, ok := npyDescr[dtype]
	if !ok {
		return nil, fmt.Errorf("%w: cannot write elements of type %v", ErrTensor, dtype)
	}
	dims := make([]string, len(shape))
	for i, d := range shape {
		dims[i] = strconv.Itoa(d)
	}
	sizes := strings.Join(dims, ", ")
	if len(dims) == 1 {
		sizes += ","
	}
	dict := fmt.Sprintf("{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr, sizes)
	// The elements start at a multiple of 64 bytes.
	dict += strings.Repeat(" ", 63-(len(npyMagic)+4+len(dict))%64) + "\n"
	header := binary.LittleEndian.AppendUint16([]byte(npyMagic+"\x01\x00"), uint16(len(dict)))
	return append(header, dict...), nil
}

var (
	npyDescrRE   = regexp.MustCompile(`'descr'\s*:\s*'([^']*)'`)
	npyFortranRE = regexp.MustCompile(`'fortran_order'\s*:\s*(True|False)`)
	npyShapeRE   = regexp.MustCompile(`'shape'\s*:\s*\(([0-9, ]*)\)`)
)

// ReadNpy reads one .npy file of versions 1 to 3. Elements of two plain bytes (V2) are bfloat16.
// Big-endian and Fortran-ordered files are refused. Memory grows with the bytes that are read, not
// with the header's claim.
func ReadNpy(r io.Reader) (*Tensor, error) {
	fail := func(format string, args ...any) (*Tensor, error) {
		return nil, fmt.Errorf("%w: not a usable .npy file: %w",
			ErrTensor, fmt.Errorf(format, args...))
	}
	var pre [8]byte
	if _, err := io.ReadFull(r, pre[:]); err != nil {
		return fail("reading the magic: %w", err)
	}
	if string(pre[:6]) != npyMagic {
		return fail("it does not start with \\x93NUMPY")
	}
	var headerLen uint32
	switch pre[6] {
	case 1:
		var n uint16
		if err := binary.Read(r, binary.LittleEndian, &n); err != nil {
			return fail("reading the header length: %w", err)
		}
		headerLen = uint32(n)
	case 2, 3:
		if err := binary.Read(r, binary.LittleEndian, &headerLen); err != nil {
			return fail("reading the header length: %w", err)
		}
	default:
		return fail("version %d.%d is unknown", pre[6], pre[7])
	}
	if headerLen > maxNpyHeader {
		return fail("a header of %d bytes is too long", headerLen)
	}
	header := make([]byte, headerLen)
	if _, err := io.ReadFull(r, header); err != nil {
		return fail("reading the header: %w", err)
	}
	descr := npyDescrRE.FindSubmatch(header)
	fortran := npyFortranRE.FindSubmatch(header)
	dims := npyShapeRE.FindSubmatch(header)
	if descr == nil || fortran == nil || dims == nil {
		return fail("the header lacks descr, fortran_order or shape: %.80q", header)
	}
	shape := []int{}
	separates := func(r rune) bool { return r == ',' || r == ' ' }
	for _, s := range strings.FieldsFunc(string(dims[1]), separates) {
		d, err := strconv.Atoi(s)
		if err != nil {
			return fail("dimension %q: %w", s, err)
		}
		shape = append(shape, d)
	}
	if string(fortran[1]) == "True" && len(shape) > 1 {
		return fail("Fortran order is not supported; save it with numpy.ascontiguousarray")
	}
	n, err := NumElements(shape)
	if err != nil {
		return nil, err
	}
	for dtype, d := range npyDescr {
		if d == string(descr[1]) || d[1:] == strings.TrimPrefix(string(descr[1]), "|") {
			t, err := readTensor(r, dtype, shape, n)
			if err != nil {
				return fail("reading %d elements of %v: %w", n, dtype, err)
			}
			return t, nil
		}
	}
	return fail("elements of type %q are not supported", descr[1])
}

func readTensor(r io.Reader, dtype DType, shape []int, n int) (*Tensor, error) {
	switch dtype {
	case Float32:
		return readInto[float32](r, shape, n)
	case Float64:
		return readInto[float64](r, shape, n)
	case Float16:
		return readInto[Half](r, shape, n)
	case BFloat16:
		return readInto[BF16](r, shape, n)
	case Int64:
		return readInto[int64](r, shape, n)
	case Int32:
		return readInto[int32](r, shape, n)
	case Int8:
		return readInto[int8](r, shape, n)
	case Uint8:
		return readInto[uint8](r, shape, n)
	default:
		return readInto[bool](r, shape, n)
	}
}

func readInto[T Element](r io.Reader, shape []int, n int) (*Tensor, error) {
	data, err := readElements[T](r, n)
	if err != nil {
		return nil, err
	}
	return New(shape, data)
}

// readElements reads n little-endian elements a block at a time, so that a header which claims too
// much costs one block and not n elements.
func readElements[T Element](r io.Reader, n int) ([]T, error) {
	const block = 1 << 16
	data := make([]T, 0, min(n, block))
	for len(data) < n {
		part := make([]T, min(n-len(data), block))
		if err := binary.Read(r, binary.LittleEndian, part); err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		data = append(data, part...)
	}
	return data, nil
}

// LoadNpy reads the .npy file at path. Errors name it.
func LoadNpy(path string) (*Tensor, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	t, err := ReadNpy(bufio.NewReader(f))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// SaveNpy writes t to a .npy file at path, replacing what is there.
func SaveNpy(path string, t *Tensor) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	if err := WriteNpy(f, t); err != nil {
		f.Close()
		return fmt.Errorf("%s: %w", path, err)
	}
	return f.Close()
}
