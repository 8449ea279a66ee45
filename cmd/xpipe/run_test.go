package main

import (
	"testing"

	"github.com/crossattn/xpipe/tensor"
)

// numpy makes float64 by default, for graphs that take float32; those that take it get it.
func TestNarrow(t *testing.T) {
	t.Parallel()
	wide := tensor.Scalar(0.1)
	in := map[string]*tensor.Tensor{"single": wide, "double": wide, "other": wide}
	narrow(in, []tensor.Spec{
		{Name: "single", DType: tensor.Float32}, {Name: "double", DType: tensor.Float64},
	})
	if got := tensor.Data[float32](in["single"]); len(got) != 1 || got[0] != 0.1 {
		t.Errorf("single is %v", in["single"])
	}
	if in["double"] != wide || in["other"] != wide {
		t.Error("other inputs changed")
	}
}
