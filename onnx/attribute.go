package onnx

import (
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/onnx/ir"
	"github.com/crossattn/xpipe/tensor"
)

// attribute reads the value of an attribute of n, in the types that ir.Attr lists. What cannot be read
// becomes an error in its place: a node that nothing needs must not keep a graph from being opened.
func (r *graphReader) attribute(a *pb.AttributeProto, n placed) any {
	if ref := a.GetRefAttrName(); ref != "" {
		return ir.Ref(ref)
	}
	switch t := attributeType(a); t {
	case pb.AttributeProto_UNDEFINED:
		return nil
	case pb.AttributeProto_FLOAT:
		return a.GetF()
	case pb.AttributeProto_INT:
		return a.GetI()
	case pb.AttributeProto_STRING:
		return string(a.GetS())
	case pb.AttributeProto_FLOATS:
		return a.GetFloats()
	case pb.AttributeProto_INTS:
		return a.GetInts()
	case pb.AttributeProto_STRINGS:
		list := make([]string, len(a.GetStrings()))
		for i, s := range a.GetStrings() {
			list[i] = string(s)
		}
		return list
	case pb.AttributeProto_TENSOR:
		return r.tensorAttribute(a)
	case pb.AttributeProto_GRAPH:
		if a.GetG() == nil {
			return fmt.Errorf("%w: attribute %q holds no graph", ErrGraph, a.GetName())
		}
		return r.subgraphAttribute(a.GetG(), n)
	case pb.AttributeProto_GRAPHS:
		var list []*ir.Graph
		for _, p := range a.GetGraphs() {
			g, err := r.subgraph(p, n)
			if err != nil {
				return err
			}
			list = append(list, g)
		}
		return list
	default:
		return fmt.Errorf("%w: attribute %q is %v, which is not supported",
			ErrGraph, a.GetName(), t)
	}
}

func (r *graphReader) tensorAttribute(a *pb.AttributeProto) any {
	if a.GetT() == nil {
		return fmt.Errorf("%w: attribute %q holds no tensor", ErrGraph, a.GetName())
	}
	t, err := r.model.Tensor(a.GetT())
	if err != nil {
		return err
	}
	return t
}

func (r *graphReader) subgraphAttribute(p *pb.GraphProto, n placed) any {
	g, err := r.subgraph(p, n)
	if err != nil {
		return err
	}
	return g
}

// attributeType returns the type that an attribute declares. Files of IR version 1 declare none:
// the field that is set shows it. UNDEFINED stands for neither.
func attributeType(a *pb.AttributeProto) pb.AttributeProto_AttributeType {
	switch {
	case a.GetType() != pb.AttributeProto_UNDEFINED:
		return a.GetType()
	case a.F != nil:
		return pb.AttributeProto_FLOAT
	case a.I != nil:
		return pb.AttributeProto_INT
	case a.S != nil:
		return pb.AttributeProto_STRING
	case a.T != nil:
		return pb.AttributeProto_TENSOR
	case a.G != nil:
		return pb.AttributeProto_GRAPH
	case a.Floats != nil:
		return pb.AttributeProto_FLOATS
	case a.Ints != nil:
		return pb.AttributeProto_INTS
	case a.Strings != nil:
		return pb.AttributeProto_STRINGS
	case a.Graphs != nil:
		return pb.AttributeProto_GRAPHS
	}
	return pb.AttributeProto_UNDEFINED
}

// attributeProto writes an attribute. It panics on a type that Attrs does not list.
func attributeProto(name string, value any) *pb.AttributeProto {
	a := &pb.AttributeProto{Name: proto.String(name)}
	switch v := value.(type) {
	case int:
		a.Type, a.I = pb.AttributeProto_INT.Enum(), proto.Int64(int64(v))
	case float32:
		a.Type, a.F = pb.AttributeProto_FLOAT.Enum(), proto.Float32(v)
	case string:
		a.Type, a.S = pb.AttributeProto_STRING.Enum(), []byte(v)
	case []int:
		a.Type = pb.AttributeProto_INTS.Enum()
		for _, x := range v {
			a.Ints = append(a.Ints, int64(x))
		}
	case []string:
		a.Type = pb.AttributeProto_STRINGS.Enum()
		for _, x := range v {
			a.Strings = append(a.Strings, []byte(x))
		}
	case *tensor.Tensor:
		a.Type, a.T = pb.AttributeProto_TENSOR.Enum(), TensorProto("", v)
	default:
		panic(fmt.Sprintf("onnx: attribute %q of type %T", name, value))
	}
	return a
}
