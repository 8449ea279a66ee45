package models

import (
	"encoding/binary"
	"fmt"
	"math"

	"github.com/crossattn/xpipe/tensor"
	"github.com/nlpodyssey/safetensors"
)

// Weights are the named float32 tensors of a safetensors file.
type Weights map[string]*tensor.Tensor

// Weights reads the bundle's projection file. Float16 and bfloat16 tensors are widened to float32;
// other element types are refused. Errors wrap ErrBundle.
func (b *Bundle) Weights() (Weights, error) {
	if b.Projection == "" {
		return nil, fmt.Errorf("%w: %s names no projection file", ErrBundle, ManifestName)
	}
	data, err := b.File(b.Projection)
	if err != nil {
		return nil, err
	}
	w, err := parseWeights(data)
	if err != nil {
		return nil, fmt.Errorf("%w: %s: %w", ErrBundle, b.Projection, err)
	}
	return w, nil
}

func parseWeights(data []byte) (Weights, error) {
	st, err := safetensors.Deserialize(data)
	if err != nil {
		return nil, err
	}
	w := Weights{}
	for _, view := range st.Tensors() {
		t, err := toFloat32(view.TensorView)
		if err != nil {
			return nil, fmt.Errorf("tensor %q: %w", view.Name, err)
		}
		w[view.Name] = t
	}
	return w, nil
}

func toFloat32(view safetensors.TensorView) (*tensor.Tensor, error) {
	shape := make([]int, len(view.Shape()))
	for i, d := range view.Shape() {
		shape[i] = int(d)
	}
	raw := view.Data()
	var values []float32
	switch view.DType() {
	case safetensors.F32:
		values = make([]float32, len(raw)/4)
		for i := range values {
			values[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
		}
	case safetensors.F16:
		values = make([]float32, len(raw)/2)
		for i := range values {
			values[i] = tensor.Half(binary.LittleEndian.Uint16(raw[2*i:])).Float32()
		}
	case safetensors.BF16:
		values = make([]float32, len(raw)/2)
		for i := range values {
			values[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(raw[2*i:])) << 16)
		}
	default:
		return nil, fmt.Errorf("elements of type %v are not supported; use F32, F16 or BF16",
			view.DType())
	}
	return tensor.New(shape, values)
}

// Need returns the named tensor, which must have the given shape; -1 fits any size. Errors wrap
// ErrBundle.
func (w Weights) Need(name string, shape ...int) (*tensor.Tensor, error) {
	t, ok := w[name]
	if !ok {
		return nil, fmt.Errorf("%w: the projection file has no tensor %q", ErrBundle, name)
	}
	if err := (tensor.Spec{Name: name, DType: tensor.Float32, Shape: shape}).Check(t); err != nil {
		return nil, fmt.Errorf("%w: the projection file does not fit: %w", ErrBundle, err)
	}
	return t, nil
}
