// Package tensor holds the one value both engines speak: a dense, row-major, typed array with a
// shape. It also reads and writes the .npy and .npz files in which golden outputs and user inputs
// travel.
//
// It has no arithmetic: operators belong to the engines, and the few transformations that the
// pipeline needs (projection, concatenation) to the pipeline. Rows can be picked (Take, Slice).
package tensor

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// ErrTensor is wrapped by every error of this package: a shape that does not fit its data, an
// unknown element type, a malformed .npy file.
var ErrTensor = errors.New("tensor")

// DType names an element type.
type DType uint8

// The element types a Tensor can hold. Invalid is the zero value.
const (
	Invalid DType = iota
	Float32
	Float16
	Int64
	Int32
	Int8
	Uint8
	Bool
	Float64
	BFloat16
)

var dtypeInfo = [...]struct {
	name string
	size int
}{
	Invalid:  {"invalid", 0},
	Float32:  {"float32", 4},
	Float16:  {"float16", 2},
	Int64:    {"int64", 8},
	Int32:    {"int32", 4},
	Int8:     {"int8", 1},
	Uint8:    {"uint8", 1},
	Bool:     {"bool", 1},
	Float64:  {"float64", 8},
	BFloat16: {"bfloat16", 2},
}

// String returns the numpy name of the type, such as "float32".
func (d DType) String() string {
	if int(d) < len(dtypeInfo) {
		return dtypeInfo[d].name
	}
	return "dtype(" + strconv.Itoa(int(d)) + ")"
}

// Size returns the bytes one element takes; 0 for Invalid.
func (d DType) Size() int {
	if int(d) < len(dtypeInfo) {
		return dtypeInfo[d].size
	}
	return 0
}

// Element lists the Go types of the elements, one for each DType.
type Element interface {
	float32 | float64 | Half | BF16 | int64 | int32 | int8 | uint8 | bool
}

// TypeOf returns the DType of the Go type T.
func TypeOf[T Element]() DType {
	var zero T
	switch any(zero).(type) {
	case float32:
		return Float32
	case float64:
		return Float64
	case Half:
		return Float16
	case BF16:
		return BFloat16
	case int64:
		return Int64
	case int32:
		return Int32
	case int8:
		return Int8
	case uint8:
		return Uint8
	default:
		return Bool
	}
}

// Tensor is a dense row-major array. The zero value is not usable; make one with New, Zeros or
// Scalar. Shape and data are shared, not copied: do not change a tensor that you were given, unless
// its giver says so.
type Tensor struct {
	shape []int
	dtype DType
	data  any // []T of the dtype's Go type

	stored *stored // where the elements are, in place of data, while an engine holds them
	owned  bool    // whether Append may use the room behind data
}

// New makes a tensor over data without copying it. A shape of no dimensions is a scalar with one
// element. The error wraps ErrTensor if a dimension is negative or the shape does not hold exactly
// len(data) elements.
func New[T Element](shape []int, data []T) (*Tensor, error) {
	n, err := NumElements(shape)
	if err != nil {
		return nil, err
	}
	if n != len(data) {
		return nil, fmt.Errorf("%w: shape %v holds %d elements, the data has %d",
			ErrTensor, shape, n, len(data))
	}
	return &Tensor{shape: append([]int{}, shape...), dtype: TypeOf[T](), data: data}, nil
}

// Must returns t and panics on err. It is for literals in programs and tests whose shapes are known
// to be right.
func Must(t *Tensor, err error) *Tensor {
	if err != nil {
		panic(err)
	}
	return t
}

// Scalar returns a tensor without dimensions that holds v.
func Scalar[T Element](v T) *Tensor {
	return &Tensor{shape: []int{}, dtype: TypeOf[T](), data: []T{v}}
}

// Zeros allocates a tensor of zeros (false for Bool).
func Zeros(dtype DType, shape ...int) (*Tensor, error) {
	n, err := NumElements(shape)
	if err != nil {
		return nil, err
	}
	t := &Tensor{shape: append([]int{}, shape...), dtype: dtype}
	switch dtype {
	case Float32:
		t.data = make([]float32, n)
	case Float64:
		t.data = make([]float64, n)
	case Float16:
		t.data = make([]Half, n)
	case BFloat16:
		t.data = make([]BF16, n)
	case Int64:
		t.data = make([]int64, n)
	case Int32:
		t.data = make([]int32, n)
	case Int8:
		t.data = make([]int8, n)
	case Uint8:
		t.data = make([]uint8, n)
	case Bool:
		t.data = make([]bool, n)
	default:
		return nil, fmt.Errorf("%w: cannot allocate elements of type %v", ErrTensor, dtype)
	}
	return t, nil
}

// Shape returns the dimensions. The caller must not change them.
func (t *Tensor) Shape() []int { return t.shape }

// Rank returns the number of dimensions; 0 for a scalar.
func (t *Tensor) Rank() int { return len(t.shape) }

// Dim returns dimension i; a negative i counts from the end, -1 the last.
func (t *Tensor) Dim(i int) int {
	if i < 0 {
		i += len(t.shape)
	}
	return t.shape[i]
}

// DType returns the element type.
func (t *Tensor) DType() DType { return t.dtype }

// Len returns the number of elements, which is 1 for a scalar and 0 where a dimension is 0.
func (t *Tensor) Len() int {
	n := 1
	for _, d := range t.shape {
		n *= d
	}
	return n
}

// Data returns the elements in row-major order, shared with t. It returns nil if T is not the
// tensor's element type; Values reports that as an error.
func Data[T Element](t *Tensor) []T {
	d, _ := t.elements().([]T)
	return d
}

// Values is Data with an error that names both types when they differ.
func Values[T Element](t *Tensor) ([]T, error) {
	if d, ok := t.elements().([]T); ok {
		return d, nil
	}
	return nil, fmt.Errorf("%w: elements are %v, not %v", ErrTensor, t.dtype, TypeOf[T]())
}

// Reshape returns a tensor that shares t's elements under another shape of the same number of
// elements.
func (t *Tensor) Reshape(shape ...int) (*Tensor, error) {
	n, err := NumElements(shape)
	if err != nil {
		return nil, err
	}
	if n != t.Len() {
		return nil, fmt.Errorf("%w: cannot reshape %v (%d elements) to %v (%d elements)",
			ErrTensor, t.shape, t.Len(), shape, n)
	}
	r := *t
	r.shape, r.owned = append([]int{}, shape...), false
	return &r, nil
}

// Clone returns a copy that shares nothing with t.
func (t *Tensor) Clone() *Tensor {
	c := &Tensor{shape: append([]int{}, t.shape...), dtype: t.dtype}
	switch d := t.elements().(type) {
	case []float32:
		c.data = append([]float32{}, d...)
	case []float64:
		c.data = append([]float64{}, d...)
	case []Half:
		c.data = append([]Half{}, d...)
	case []BF16:
		c.data = append([]BF16{}, d...)
	case []int64:
		c.data = append([]int64{}, d...)
	case []int32:
		c.data = append([]int32{}, d...)
	case []int8:
		c.data = append([]int8{}, d...)
	case []uint8:
		c.data = append([]uint8{}, d...)
	case []bool:
		c.data = append([]bool{}, d...)
	}
	return c
}

// Float32s returns the elements as float32: shared where they are float32 already, converted
// otherwise (true is 1, float64 is rounded).
func (t *Tensor) Float32s() []float32 {
	switch d := t.elements().(type) {
	case []float32:
		return d
	case []float64:
		return convert(d, func(v float64) float32 { return float32(v) })
	case []Half:
		return convert(d, Half.Float32)
	case []BF16:
		return convert(d, BF16.Float32)
	case []int64:
		return convert(d, func(v int64) float32 { return float32(v) })
	case []int32:
		return convert(d, func(v int32) float32 { return float32(v) })
	case []int8:
		return convert(d, func(v int8) float32 { return float32(v) })
	case []uint8:
		return convert(d, func(v uint8) float32 { return float32(v) })
	case []bool:
		return convert(d, func(v bool) float32 {
			if v {
				return 1
			}
			return 0
		})
	}
	return nil
}

func convert[T any](src []T, f func(T) float32) []float32 {
	dst := make([]float32, len(src))
	for i, v := range src {
		dst[i] = f(v)
	}
	return dst
}

// String describes the tensor without its elements, such as "float32[1,3,224,224]".
func (t *Tensor) String() string {
	return t.dtype.String() + FormatShape(t.shape)
}

// NumElements returns the product of the dimensions. The error wraps ErrTensor if one is negative
// or the product does not fit an int.
func NumElements(shape []int) (int, error) {
	n, zero := 1, false
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Errorf("%w: negative dimension in shape %v", ErrTensor, shape)
		}
		if d == 0 {
			zero = true
			continue
		}
		if n > math.MaxInt/d {
			return 0, fmt.Errorf("%w: shape %v holds more elements than memory can",
				ErrTensor, shape)
		}
		n *= d
	}
	if zero {
		return 0, nil
	}
	return n, nil
}

// FormatShape writes a shape as "[1,3,224,224]".
func FormatShape(shape []int) string {
	var b strings.Builder
	b.WriteByte('[')
	for i, d := range shape {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(strconv.Itoa(d))
	}
	b.WriteByte(']')
	return b.String()
}

// Spec describes an input or output of a graph.
type Spec struct {
	Name  string
	DType DType // Invalid where the graph uses a type this package lacks
	// Shape has -1 for each dimension that is not fixed, and is nil where the graph does not say
	// how many dimensions there are.
	Shape []int
	// Dims names the dimensions that are not fixed, such as "batch"; "" where the graph gives no
	// name. It is as long as Shape.
	Dims []string
}

// String describes the spec, such as "pixel_values float32[batch,3,160,160]".
func (s Spec) String() string {
	var b strings.Builder
	b.WriteString(s.Name + " " + s.DType.String())
	if s.Shape == nil {
		return b.String() + "[...]"
	}
	b.WriteByte('[')
	for i, d := range s.Shape {
		if i > 0 {
			b.WriteByte(',')
		}
		switch {
		case d >= 0:
			b.WriteString(strconv.Itoa(d))
		case i < len(s.Dims) && s.Dims[i] != "":
			b.WriteString(s.Dims[i])
		default:
			b.WriteByte('?')
		}
	}
	b.WriteByte(']')
	return b.String()
}

// Check reports how t fails to fit the spec: another element type, another rank, another size of a
// fixed dimension. The error wraps ErrTensor.
func (s Spec) Check(t *Tensor) error {
	fits := s.DType == t.dtype && (s.Shape == nil || len(s.Shape) == len(t.shape))
	if fits && s.Shape != nil {
		for i, d := range s.Shape {
			fits = fits && (d < 0 || d == t.shape[i])
		}
	}
	if fits {
		return nil
	}
	return fmt.Errorf("%w: the graph takes %v, given %v", ErrTensor, s, t)
}
