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

// What scales and shifts the channels of a convolution goes into its weights where nothing else
// reads what lies between, and the results are the same.
func TestChannelsOfConvolutions(t *testing.T) {
	t.Parallel()
	norm := func(b *onnx.Builder, r *rand.Rand, x string, channels int) string {
		variance := randTensor(r, channels)
		for i, v := range tensor.Data[float32](variance) {
			tensor.Data[float32](variance)[i] = v*v + 0.1
		}
		return b.Node("BatchNormalization", []string{x, b.Const(randTensor(r, channels)),
			b.Const(randTensor(r, channels)), b.Const(randTensor(r, channels)), b.Const(variance)},
			onnx.Attrs{"epsilon": float32(1e-3)})
	}
	transposed := func(b *onnx.Builder, r *rand.Rand) string {
		return b.Node("ConvTranspose", []string{"x", b.Const(randTensor(r, 6, 2, 3, 3))},
			onnx.Attrs{"group": 3, "strides": []int{2, 2}})
	}
	conv := func(b *onnx.Builder, r *rand.Rand, group int) string {
		return b.Node("Conv", []string{"x", b.Const(randTensor(r, 6, 6/group, 3, 3)),
			b.Const(randTensor(r, 6))}, onnx.Attrs{"group": group})
	}
	for _, c := range []struct {
		name  string
		left  map[string]int // operators that must be left
		build build
	}{
		{"normalised", nil, func(b *onnx.Builder, r *rand.Rand) string {
			return do(b, "Relu", norm(b, r, conv(b, r, 1), 6))
		}},
		{"groups", nil, func(b *onnx.Builder, r *rand.Rand) string {
			return norm(b, r, conv(b, r, 3), 6)
		}},
		{"depthwise, scaled, shifted", nil, func(b *onnx.Builder, r *rand.Rand) string {
			x := do(b, "Mul", b.Const(randTensor(r, 6, 1, 1)), conv(b, r, 6))
			return norm(b, r, do(b, "Add", x, b.Const(randTensor(r, 1, 6, 1, 1))), 6)
		}},
		{"transposed", nil, func(b *onnx.Builder, r *rand.Rand) string {
			x := do(b, "Add", transposed(b, r), b.Const(randTensor(r, 1, 6, 1, 1)))
			return norm(b, r, x, 6)
		}},
		{"read twice", map[string]int{"BatchNormalization": 1}, func(b *onnx.Builder, r *rand.Rand) string {
			x := conv(b, r, 1)
			return do(b, "Mul", norm(b, r, x, 6), x)
		}},
		{"activated before", map[string]int{"BatchNormalization": 1}, func(b *onnx.Builder, r *rand.Rand) string {
			return norm(b, r, do(b, "Relu", conv(b, r, 1)), 6)
		}},
		{"along another axis", nil, func(b *onnx.Builder, r *rand.Rand) string {
			return do(b, "Add", conv(b, r, 1), b.Const(randTensor(r, 1, 1, 6, 1)))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b, r := onnx.NewBuilder("channels", 17), rand.New(rand.NewPCG(3, 4))
			b.Input("x", tensor.Float32, "n", 6, "h", "w")
			b.Output(c.build(b, r), tensor.Float32, "n", 6, "h", "w")
			plain, fused := open(t, b, engine.Options{NoFusion: true}), open(t, b, engine.Options{})
			for _, op := range []string{"BatchNormalization", "Add", "Mul", "Relu"} {
				n := fallback.Operators(fused)[op]
				if want := c.left[op]; n != want && (want > 0 || c.left == nil) {
					t.Errorf("%d %s are left, want %d", n, op, want)
				}
			}
			in := map[string]*tensor.Tensor{"x": randTensor(r, 2, 6, 8, 7)}
			want, err := plain.Run(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			got, err := fused.Run(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			for name := range want {
				if err := enginetest.Compare(got[name], want[name], 1e-4, 1e-4); err != nil {
					t.Error(err)
				}
			}
		})
	}
}
