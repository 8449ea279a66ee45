package enginetest

import (
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

type tensors = map[string]*tensor.Tensor

// floats makes a tensor of 0, 1, 2, ... times step.
func floats(step float32, shape ...int) *tensor.Tensor {
	t := tensor.Must(tensor.Zeros(tensor.Float32, shape...))
	for i := range tensor.Data[float32](t) {
		tensor.Data[float32](t)[i] = float32(i) * step
	}
	return t
}

// smallGraph has two inputs and three outputs: the sum of the inputs, its product with a constant
// matrix, and a sum over the batch.
func smallGraph() *onnx.Builder {
	b := onnx.NewBuilder("small", 17)
	b.Input("a", tensor.Float32, "batch", 4)
	b.Input("b", tensor.Float32, "batch", 4)
	b.NodeTo("Add", []string{"a", "b"}, []string{"sum"}, nil)
	b.NodeTo("MatMul", []string{"sum", b.Const(floats(0.5, 4, 3))}, []string{"product"}, nil)
	b.NodeTo("ReduceSum", []string{"sum", b.Ints(0)}, []string{"total"}, onnx.Attrs{"keepdims": 0})
	b.Output("sum", tensor.Float32, "batch", 4)
	b.Output("product", tensor.Float32, "batch", 3)
	b.Output("total", tensor.Float32, 4)
	return b
}

// cacheGraph appends to a cache, as decoders do.
func cacheGraph() *onnx.Builder {
	b := onnx.NewBuilder("cache", 17)
	b.Input("past", tensor.Float32, "batch", 2, "past", 4)
	b.Input("new", tensor.Float32, "batch", 2, "new", 4)
	b.NodeTo("Concat", []string{"past", "new"}, []string{"present"}, onnx.Attrs{"axis": 2})
	b.NodeTo("ReduceSum", []string{"present", b.Ints(2)}, []string{"total"},
		onnx.Attrs{"keepdims": 0})
	b.Output("present", tensor.Float32, "batch", 2, "all", 4)
	b.Output("total", tensor.Float32, "batch", 2, 4)
	return b
}

// slowGraph multiplies a matrix by itself many times: seconds of work.
func slowGraph() *onnx.Builder {
	b := onnx.NewBuilder("slow", 17)
	b.Input("x", tensor.Float32, 768, 768)
	v := "x"
	for range 400 {
		v = b.Node("MatMul", []string{v, "x"}, nil)
		v = b.Node("Tanh", []string{v}, nil)
	}
	b.NodeTo("Identity", []string{v}, []string{"y"}, nil)
	b.Output("y", tensor.Float32, 768, 768)
	return b
}

// small are inputs for smallGraph.
func small(batch int) tensors {
	return tensors{"a": floats(1, batch, 4), "b": floats(2, batch, 4)}
}
