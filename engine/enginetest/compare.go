package enginetest

import (
	"fmt"
	"math"
	"slices"

	"github.com/crossattn/xpipe/tensor"
)

// Compare reports the first element in which got is not want. Floats may differ by absolute +
// relative*|want|; NaN equals NaN; everything else must be equal.
func Compare(got, want *tensor.Tensor, relative, absolute float64) error {
	if got == nil {
		return fmt.Errorf("not there")
	}
	if got.DType() != want.DType() || !slices.Equal(got.Shape(), want.Shape()) {
		return fmt.Errorf("is %v, want %v", got, want)
	}
	switch want.DType() {
	case tensor.Float32, tensor.Float16, tensor.BFloat16:
		switch want.DType() { // two steps of the type
		case tensor.Float16:
			relative = max(relative, 2e-3)
		case tensor.BFloat16:
			relative = max(relative, 1.6e-2)
		}
		w := want.Float32s()
		for i, g := range got.Float32s() {
			if !near(float64(g), float64(w[i]), relative, absolute) {
				return fmt.Errorf("element %d of %v is %v, want %v", i, want, g, w[i])
			}
		}
		return nil
	case tensor.Float64:
		w := tensor.Data[float64](want)
		for i, g := range tensor.Data[float64](got) {
			if !near(g, w[i], relative, absolute) {
				return fmt.Errorf("element %d of %v is %v, want %v", i, want, g, w[i])
			}
		}
		return nil
	case tensor.Int64:
		return same[int64](got, want)
	case tensor.Int32:
		return same[int32](got, want)
	case tensor.Int8:
		return same[int8](got, want)
	case tensor.Uint8:
		return same[uint8](got, want)
	}
	return same[bool](got, want)
}

func near(g, w, relative, absolute float64) bool {
	if g == w || math.IsNaN(g) && math.IsNaN(w) {
		return true
	}
	return math.Abs(g-w) <= absolute+relative*math.Abs(w) // false for NaN and Inf
}

func same[T tensor.Element](got, want *tensor.Tensor) error {
	w := tensor.Data[T](want)
	for i, g := range tensor.Data[T](got) {
		if g != w[i] {
			return fmt.Errorf("element %d of %v is %v, want %v", i, want, g, w[i])
		}
	}
	return nil
}
