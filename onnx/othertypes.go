package onnx

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/tensor"
)

// OtherType is an operator that takes or makes elements of a type which package tensor lacks.
type OtherType struct {
	Domain, Op string
	Type       string // such as "string" or "uint16"
}

func (o OtherType) String() string {
	name := o.Op
	if o.Domain != "" {
		name = o.Domain + "." + o.Op
	}
	return name + ": " + NotRun(o.Type)
}

// NotRun says that package tensor lacks an element type.
func NotRun(name string) string { return fmt.Sprintf("element type %s is not run", name) }

// otherType returns the name of an ONNX element type that package tensor lacks, in lower case; ""
// for those that it has, and where none is given.
func otherType(t int32) string {
	if t == int32(pb.TensorProto_UNDEFINED) || DType(t) != tensor.Invalid {
		return ""
	}
	return strings.ToLower(TypeName(t))
}

// typeText describes a type in words, such as "string" or "sequence of float32"; "" where none is
// given.
func typeText(t *pb.TypeProto) string {
	switch {
	case t.GetTensorType() != nil:
		code := t.GetTensorType().GetElemType()
		if code == int32(pb.TensorProto_UNDEFINED) {
			return ""
		}
		return cmp.Or(otherType(code), DType(code).String())
	case t.GetSequenceType() != nil:
		return "sequence of " + typeText(t.GetSequenceType().GetElemType())
	case t.GetOptionalType() != nil:
		return "optional " + typeText(t.GetOptionalType().GetElemType())
	case t.GetMapType() != nil:
		return "map"
	case t.GetSparseTensorType() != nil:
		return "sparse tensor"
	}
	return ""
}

// otherOf is otherType of a declared value, or of what a sequence or optional value holds.
func otherOf(t *pb.TypeProto) string {
	switch {
	case t.GetSequenceType() != nil:
		return otherOf(t.GetSequenceType().GetElemType())
	case t.GetOptionalType() != nil:
		return otherOf(t.GetOptionalType().GetElemType())
	}
	return otherType(t.GetTensorType().GetElemType())
}

// declared collects the values of a graph whose types are others.
func declared(g *pb.GraphProto) map[string]string {
	types := map[string]string{}
	for _, v := range slices.Concat(g.GetInput(), g.GetOutput(), g.GetValueInfo()) {
		if t := otherOf(v.GetType()); t != "" {
			types[v.GetName()] = t
		}
	}
	for _, p := range g.GetInitializer() {
		if t := otherType(p.GetDataType()); t != "" {
			types[p.GetName()] = t
		}
	}
	return types
}

// otherIn returns a type that a node names or that one of its declared values has; "" for none.
func otherIn(n *pb.NodeProto, types map[string]string) string {
	for _, name := range slices.Concat(n.GetInput(), n.GetOutput()) {
		if t := types[name]; t != "" {
			return t
		}
	}
	for _, a := range n.GetAttribute() {
		switch a.GetName() {
		case "to", "dtype":
			if t := otherType(int32(a.GetI())); t != "" {
				return t
			}
		case "value_string", "value_strings":
			return "string"
		}
		if t := otherType(a.GetT().GetDataType()); t != "" {
			return t
		}
	}
	return ""
}
