package onnx

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"unsafe"

	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/tensor"
)

// DType returns the tensor type of an ONNX element type; tensor.Invalid where package tensor has
// none.
func DType(t int32) tensor.DType {
	switch pb.TensorProto_DataType(t) {
	case pb.TensorProto_FLOAT:
		return tensor.Float32
	case pb.TensorProto_FLOAT16:
		return tensor.Float16
	case pb.TensorProto_DOUBLE:
		return tensor.Float64
	case pb.TensorProto_BFLOAT16:
		return tensor.BFloat16
	case pb.TensorProto_INT64:
		return tensor.Int64
	case pb.TensorProto_INT32:
		return tensor.Int32
	case pb.TensorProto_INT8:
		return tensor.Int8
	case pb.TensorProto_UINT8:
		return tensor.Uint8
	case pb.TensorProto_BOOL:
		return tensor.Bool
	}
	return tensor.Invalid
}

// TypeName returns the name of an ONNX element type, such as "DOUBLE".
func TypeName(t int32) string { return pb.TensorProto_DataType(t).String() }

// Tensor decodes p. It shares the file's memory where the layout allows that. Errors wrap ErrGraph.
func (m *Model) Tensor(p *pb.TensorProto) (*tensor.Tensor, error) {
	fail := func(format string, args ...any) (*tensor.Tensor, error) {
		args = append([]any{ErrGraph, p.GetName()}, args...)
		return nil, fmt.Errorf("%w: tensor %q: "+format, args...)
	}
	dtype := DType(p.GetDataType())
	if dtype == tensor.Invalid {
		return fail("%s", NotRun(strings.ToLower(TypeName(p.GetDataType()))))
	}
	if p.GetSegment() != nil {
		return fail("segmented tensors are not supported")
	}
	shape, err := dims(p.GetDims())
	if err != nil {
		return fail("%v", err)
	}
	n, err := tensor.NumElements(shape)
	if err != nil {
		return fail("%v", err)
	}
	if p.GetDataLocation() == pb.TensorProto_EXTERNAL {
		raw, err := m.externalData(p, int64(n), dtype)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", p.GetName(), err)
		}
		return fromRaw(p, dtype, shape, n, raw)
	}
	if p.RawData != nil || n == 0 {
		return fromRaw(p, dtype, shape, n, p.RawData)
	}
	return fromTyped(p, dtype, shape, n)
}

func dims(d []int64) ([]int, error) {
	shape := make([]int, len(d))
	for i, v := range d {
		if v < 0 || int64(int(v)) != v {
			return nil, fmt.Errorf("dimension %d is %d", i, v)
		}
		shape[i] = int(v)
	}
	return shape, nil
}

func (m *Model) externalData(p *pb.TensorProto, n int64, dtype tensor.DType) ([]byte, error) {
	var location string
	var offset int64
	length := n * int64(dtype.Size()) // NumElements made sure that it fits
	if length/int64(dtype.Size()) != n {
		return nil, fmt.Errorf("%w: too many elements", ErrGraph)
	}
	for _, e := range p.GetExternalData() {
		var err error
		switch e.GetKey() {
		case "location":
			location = e.GetValue()
		case "offset":
			offset, err = strconv.ParseInt(e.GetValue(), 10, 64)
		case "length":
			var given int64
			given, err = strconv.ParseInt(e.GetValue(), 10, 64)
			if err == nil && given != length {
				return nil, fmt.Errorf("%w: external length %d, the shape needs %d bytes",
					ErrGraph, given, length)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("%w: external data %s %q is no number",
				ErrGraph, e.GetKey(), e.GetValue())
		}
	}
	if m.source.FS == nil {
		return nil, fmt.Errorf("%w: external data has no file to lie in", ErrGraph)
	}
	return m.external(location, offset, length)
}

// hostLittleEndian reports whether numbers have the same byte order in memory and in the file.
var hostLittleEndian = binary.NativeEndian.Uint16([]byte{1, 0}) == 1

// unalignedOK reports whether numbers may lie at any address. Protobuf does not align tensor data.
const unalignedOK = runtime.GOARCH == "amd64" || runtime.GOARCH == "arm64" ||
	runtime.GOARCH == "386"

func fromRaw(
	p *pb.TensorProto, dtype tensor.DType, shape []int, n int, raw []byte,
) (*tensor.Tensor, error) {
	if n > len(raw) || n*dtype.Size() != len(raw) {
		return nil, fmt.Errorf("%w: tensor %q: %v%s needs %d elements, the file holds %d bytes",
			ErrGraph, p.GetName(), dtype, tensor.FormatShape(shape), n, len(raw))
	}
	switch dtype {
	case tensor.Float32:
		return tensor.New(shape, view[float32](raw, n))
	case tensor.Float64:
		return tensor.New(shape, view[float64](raw, n))
	case tensor.Float16:
		return tensor.New(shape, view[tensor.Half](raw, n))
	case tensor.BFloat16:
		return tensor.New(shape, view[tensor.BF16](raw, n))
	case tensor.Int64:
		return tensor.New(shape, view[int64](raw, n))
	case tensor.Int32:
		return tensor.New(shape, view[int32](raw, n))
	case tensor.Int8:
		return tensor.New(shape, view[int8](raw, n))
	case tensor.Uint8:
		return tensor.New(shape, view[uint8](raw, n))
	}
	// A bool in memory must be 0 or 1, which a file does not promise.
	b := make([]bool, n)
	for i, v := range raw {
		b[i] = v != 0
	}
	return tensor.New(shape, b)
}

// view reads raw as n numbers, without a copy where the machine allows it.
func view[T float32 | float64 | tensor.Half | tensor.BF16 | int64 | int32 | int8 | uint8](raw []byte, n int) []T {
	if n == 0 {
		return []T{}
	}
	var zero T
	aligned := uintptr(unsafe.Pointer(&raw[0]))%unsafe.Sizeof(zero) == 0
	if hostLittleEndian && (aligned || unalignedOK) {
		return unsafe.Slice((*T)(unsafe.Pointer(&raw[0])), n)
	}
	dst := make([]T, n)
	if _, err := binary.Decode(raw, binary.LittleEndian, dst); err != nil {
		panic(err) // the caller made sure of the size
	}
	return dst
}

// fromTyped reads the repeated fields that hold a tensor's elements where raw_data does not.
func fromTyped(p *pb.TensorProto, dtype tensor.DType, shape []int, n int) (*tensor.Tensor, error) {
	have := 0
	switch dtype {
	case tensor.Float32:
		have = len(p.FloatData)
	case tensor.Float64:
		have = len(p.DoubleData)
	case tensor.Int64:
		have = len(p.Int64Data)
	default:
		have = len(p.Int32Data)
	}
	if have != n {
		return nil, fmt.Errorf("%w: tensor %q: %v%s needs %d elements, the file holds %d",
			ErrGraph, p.GetName(), dtype, tensor.FormatShape(shape), n, have)
	}
	switch dtype {
	case tensor.Float32:
		return tensor.New(shape, p.FloatData)
	case tensor.Float64:
		return tensor.New(shape, p.DoubleData)
	case tensor.Int64:
		return tensor.New(shape, p.Int64Data)
	case tensor.Int32:
		return tensor.New(shape, p.Int32Data)
	case tensor.Float16:
		return tensor.New(shape, narrow[tensor.Half](p.Int32Data))
	case tensor.BFloat16:
		return tensor.New(shape, narrow[tensor.BF16](p.Int32Data))
	case tensor.Int8:
		return tensor.New(shape, narrow[int8](p.Int32Data))
	case tensor.Uint8:
		return tensor.New(shape, narrow[uint8](p.Int32Data))
	}
	bools := make([]bool, n)
	for i, v := range p.Int32Data {
		bools[i] = v != 0
	}
	return tensor.New(shape, bools)
}

// narrow converts numbers that the format keeps in 32 bits.
func narrow[T tensor.Half | tensor.BF16 | int8 | uint8](src []int32) []T {
	dst := make([]T, len(src))
	for i, v := range src {
		dst[i] = T(v)
	}
	return dst
}
