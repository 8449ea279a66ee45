package onnx

import (
	"fmt"
	"unsafe"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/tensor"
)

// Builder writes a model node by node, for tests and benchmarks that need a graph of a certain
// form. Values are known by their names.
type Builder struct {
	Model *pb.ModelProto
	next  int
}

// NewBuilder begins a model of an operator set of the default domain.
func NewBuilder(name string, opset int) *Builder {
	version := &pb.OperatorSetIdProto{Domain: proto.String(""), Version: proto.Int64(int64(opset))}
	return &Builder{Model: &pb.ModelProto{
		IrVersion:    proto.Int64(8),
		ProducerName: proto.String("xpipe"),
		OpsetImport:  []*pb.OperatorSetIdProto{version},
		Graph:        &pb.GraphProto{Name: proto.String(name)},
	}}
}

// Input declares an input. A dimension is an int, or a string that names one that is not fixed.
func (b *Builder) Input(name string, dtype tensor.DType, dims ...any) string {
	b.Model.Graph.Input = append(b.Model.Graph.Input, valueInfo(name, dtype, dims))
	return name
}

// Output declares an output; the node that computes it must give it this name.
func (b *Builder) Output(name string, dtype tensor.DType, dims ...any) {
	b.Model.Graph.Output = append(b.Model.Graph.Output, valueInfo(name, dtype, dims))
}

// Const adds an initializer and returns its name. It shares t's memory.
func (b *Builder) Const(t *tensor.Tensor) string {
	b.next++
	name := fmt.Sprintf("const%d", b.next)
	b.Model.Graph.Initializer = append(b.Model.Graph.Initializer, TensorProto(name, t))
	return name
}

// Ints adds an initializer of int64, such as a shape.
func (b *Builder) Ints(v ...int64) string {
	return b.Const(tensor.Must(tensor.New([]int{len(v)}, v)))
}

// Attrs are a node's attributes: int, float32, string, []int, []string or *tensor.Tensor.
type Attrs map[string]any

// Node adds a node with one output and returns the output's name.
func (b *Builder) Node(op string, in []string, attrs Attrs) string {
	b.next++
	out := fmt.Sprintf("%s%d", op, b.next)
	b.NodeTo(op, in, []string{out}, attrs)
	return out
}

// NodeTo adds a node whose outputs have the given names.
func (b *Builder) NodeTo(op string, in, out []string, attrs Attrs) {
	n := &pb.NodeProto{
		OpType: proto.String(op), Name: proto.String(op + "/" + out[0]), Input: in, Output: out,
	}
	for name, v := range attrs {
		n.Attribute = append(n.Attribute, attributeProto(name, v))
	}
	b.Model.Graph.Node = append(b.Model.Graph.Node, n)
}

// Bytes returns the model file.
func (b *Builder) Bytes() ([]byte, error) { return proto.Marshal(b.Model) }

// Source returns the model as a file in memory. It panics where the model does not fit a file.
func (b *Builder) Source() Source {
	data, err := b.Bytes()
	if err != nil {
		panic(err)
	}
	return MemorySource(data)
}

// TensorProto wraps t, sharing its memory.
func TensorProto(name string, t *tensor.Tensor) *pb.TensorProto {
	p := &pb.TensorProto{
		Name:     proto.String(name),
		DataType: proto.Int32(ElementType(t.DType())),
		RawData:  bytesOf(t),
	}
	for _, d := range t.Shape() {
		p.Dims = append(p.Dims, int64(d))
	}
	return p
}

func valueInfo(name string, dtype tensor.DType, dims []any) *pb.ValueInfoProto {
	shape := &pb.TensorShapeProto{}
	for _, d := range dims {
		dim := &pb.TensorShapeProto_Dimension{}
		switch d := d.(type) {
		case int:
			dim.Value = &pb.TensorShapeProto_Dimension_DimValue{DimValue: int64(d)}
		case string:
			dim.Value = &pb.TensorShapeProto_Dimension_DimParam{DimParam: d}
		}
		shape.Dim = append(shape.Dim, dim)
	}
	t := &pb.TypeProto_Tensor{ElemType: proto.Int32(ElementType(dtype)), Shape: shape}
	return &pb.ValueInfoProto{
		Name: proto.String(name),
		Type: &pb.TypeProto{Value: &pb.TypeProto_TensorType{TensorType: t}},
	}
}

// ElementType returns the ONNX element type of a tensor type; 0, UNDEFINED, for tensor.Invalid.
func ElementType(d tensor.DType) int32 {
	for t := range int32(32) {
		if d != tensor.Invalid && DType(t) == d {
			return t
		}
	}
	return int32(pb.TensorProto_UNDEFINED)
}

// bytesOf views t's elements as little-endian bytes, copying only on machines that order them
// otherwise.
func bytesOf(t *tensor.Tensor) []byte {
	if t.Len() == 0 {
		return []byte{}
	}
	var p unsafe.Pointer
	switch t.DType() {
	case tensor.Float32:
		p = unsafe.Pointer(&tensor.Data[float32](t)[0])
	case tensor.Float64:
		p = unsafe.Pointer(&tensor.Data[float64](t)[0])
	case tensor.Float16:
		p = unsafe.Pointer(&tensor.Data[tensor.Half](t)[0])
	case tensor.BFloat16:
		p = unsafe.Pointer(&tensor.Data[tensor.BF16](t)[0])
	case tensor.Int64:
		p = unsafe.Pointer(&tensor.Data[int64](t)[0])
	case tensor.Int32:
		p = unsafe.Pointer(&tensor.Data[int32](t)[0])
	case tensor.Int8:
		p = unsafe.Pointer(&tensor.Data[int8](t)[0])
	case tensor.Uint8:
		p = unsafe.Pointer(&tensor.Data[uint8](t)[0])
	default:
		p = unsafe.Pointer(&tensor.Data[bool](t)[0])
	}
	size := t.DType().Size()
	b := unsafe.Slice((*byte)(p), t.Len()*size)
	if hostLittleEndian || size == 1 {
		return b
	}
	swapped := make([]byte, len(b))
	for i := range b {
		swapped[i] = b[i/size*size+size-1-i%size]
	}
	return swapped
}
