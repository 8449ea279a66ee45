package engine

import (
	"fmt"
	"maps"
	"slices"

	"github.com/crossattn/xpipe/tensor"
)

// CheckInputs compares the inputs of a Run with those of its graph, as the contract of Session
// says: every input of the graph must be given, with its element type, its rank and its fixed
// sizes, and no other. The error wraps ErrInput, and tensor.ErrTensor too where a tensor does not
// fit its spec. An input whose element type package tensor lacks is the graph's fault (ErrGraph).
// Run checks the sizes that are free.
func CheckInputs(inputs []tensor.Spec, in map[string]*tensor.Tensor) error {
	for _, spec := range inputs {
		t := in[spec.Name]
		switch {
		case spec.DType == tensor.Invalid:
			return fmt.Errorf("%w: input %q is of a type that xpipe has no tensors for",
				ErrGraph, spec.Name)
		case t == nil:
			return fmt.Errorf("%w: %v is not given", ErrInput, spec)
		}
		if err := spec.Check(t); err != nil {
			return fmt.Errorf("%w: %w", ErrInput, err)
		}
	}
	if len(in) == len(inputs) {
		return nil
	}
	names := make([]string, 0, len(inputs))
	for _, spec := range inputs {
		names = append(names, spec.Name)
	}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		if !slices.Contains(names, name) {
			return fmt.Errorf("%w: the graph has no input %q; it takes %q", ErrInput, name, names)
		}
	}
	return nil
}
