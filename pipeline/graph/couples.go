package graph

import (
	"slices"
	"sync"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/onnx"
)

// rangeOps are the operators that take one range for a whole tensor as the graph runs: what they make of
// a row depends on the rows beside it.
var rangeOps = []string{"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM"}

// Couples returns a function that reports whether what a graph of one of the roles computes for a row, or
// a token, depends on those beside it, which graphs of 8 bits do that quantise activations over the whole
// batch. No roles stand for all. It reads the graphs when it is first called; one that cannot be read
// counts for coupled.
func Couples(bundle *models.Bundle, roles ...string) func() bool {
	return sync.OnceValue(func() bool {
		if bundle.DType == "int8" {
			return true
		}
		for role := range bundle.Graphs {
			if len(roles) > 0 && !slices.Contains(roles, role) {
				continue
			}
			source, err := bundle.Graph(role)
			if err != nil {
				return true
			}
			model, err := onnx.Load(source)
			if err != nil {
				return true
			}
			ops := model.Summary().Ops
			model.Close()
			if slices.ContainsFunc(ops, func(op onnx.OpCount) bool { return slices.Contains(rangeOps, op.Op) }) {
				return true
			}
		}
		return false
	})
}
