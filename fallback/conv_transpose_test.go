package fallback_test

import (
	"math/rand/v2"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// Products of float32, some positions at a time, give what the plain loop over float64 gives. The
// numbers are small integers, so both are exact.
func TestConvTransposeProducts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		x, w  []int
		attrs onnx.Attrs
	}{
		{"many positions", []int{1, 4, 50, 41}, []int{4, 64, 4, 4}, onnx.Attrs{"strides": []int{2, 2},
			"pads": []int{1, 1, 1, 1}}},
		{"groups", []int{2, 12, 5, 7}, []int{12, 3, 3, 2}, onnx.Attrs{"group": 2,
			"strides": []int{2, 3}, "pads": []int{2, 0, 1, 1}, "dilations": []int{1, 2},
			"output_padding": []int{1, 2}}},
		{"line", []int{1, 5, 300}, []int{5, 2, 9}, onnx.Attrs{"strides": []int{4},
			"dilations": []int{3}, "pads": []int{11, 30}}},
		{"space", []int{1, 6, 3, 4, 5}, []int{6, 2, 2, 3, 1}, onnx.Attrs{"strides": []int{1, 2, 3}}},
		{"larger padding than window", []int{1, 4, 3, 3}, []int{4, 5, 2, 2}, onnx.Attrs{
			"pads": []int{3, 0, 0, 3}, "strides": []int{4, 4}}},
		{"negative padding", []int{1, 4, 3, 3}, []int{4, 5, 2, 2}, onnx.Attrs{
			"strides": []int{3, 3}, "auto_pad": "SAME_UPPER"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got [2]*tensor.Tensor
			for i, dtype := range []tensor.DType{tensor.Float32, tensor.Float64} {
				r := rand.New(rand.NewPCG(1, 2))
				whole := func(shape []int) *tensor.Tensor {
					x := tensor.Must(tensor.Zeros(dtype, shape...))
					for j := range x.Len() {
						if v := r.IntN(7) - 3; dtype == tensor.Float32 {
							tensor.Data[float32](x)[j] = float32(v)
						} else {
							tensor.Data[float64](x)[j] = float64(v)
						}
					}
					return x
				}
				b := onnx.NewBuilder("transposed", 17)
				dims := make([]any, len(c.x))
				for j := range dims {
					dims[j] = "n"
				}
				b.Input("x", dtype, dims...)
				b.Output("y", dtype, dims...)
				groups := 1
				if g, ok := c.attrs["group"].(int); ok {
					groups = g
				}
				w, bias := b.Const(whole(c.w)), b.Const(whole([]int{c.w[1] * groups}))
				b.NodeTo("ConvTranspose", []string{"x", w, bias}, []string{"y"}, c.attrs)
				s, err := fallback.New().Open(t.Context(), b.Source(), engine.Options{Threads: 2})
				if err != nil {
					t.Fatal(err)
				}
				defer s.Close()
				y, err := s.Run(t.Context(), map[string]*tensor.Tensor{"x": whole(c.x)})
				if err != nil {
					t.Fatal(err)
				}
				got[i] = y["y"]
			}
			wide := make([]float64, got[0].Len())
			for i, v := range tensor.Data[float32](got[0]) {
				wide[i] = float64(v)
			}
			same := tensor.Must(tensor.New(got[0].Shape(), wide))
			if err := enginetest.Compare(same, got[1], 0, 0); err != nil {
				t.Error(err)
			}
		})
	}
}
