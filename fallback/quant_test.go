package fallback_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/fallback/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// A constant 8-bit matrix goes through float products; the results must be
// those of integers, to the last one, however many rows are summed.
func TestConstantIntegerMatrix(t *testing.T) {
	ctx := context.Background()
	r := rand.New(rand.NewPCG(15, 16))
	for _, k := range []int{1, 5, 257, 258, 259, 1000} {
		n, m := 1+r.IntN(40), 1+r.IntN(12)
		a, w := tensor.Must(tensor.Zeros(tensor.Uint8, 2, m, k)), tensor.Must(tensor.Zeros(tensor.Int8, k, n))
		for i := range a.Len() {
			tensor.Data[uint8](a)[i] = uint8(r.Uint32())
		}
		for i := range w.Len() {
			tensor.Data[int8](w)[i] = int8(r.Uint32())
		}
		if k == 1000 { // the largest sums there are
			for i := range a.Len() {
				tensor.Data[uint8](a)[i] = 255
			}
			for i := range w.Len() {
				tensor.Data[int8](w)[i] = -128
			}
		}
		zero := tensor.Must(tensor.Zeros(tensor.Int8, n))
		for i := range n {
			tensor.Data[int8](zero)[i] = int8(127 - i)
		}
		in := map[string]*tensor.Tensor{"a": a, "za": tensor.Scalar(uint8(3)), "w": w, "z": zero}
		var results []*tensor.Tensor
		for _, constant := range []bool{true, false} {
			b := onnx.NewBuilder("integers", 17)
			given := map[string]*tensor.Tensor{"a": in["a"], "za": in["za"]}
			b.Input("a", tensor.Uint8, 2, m, k)
			b.Input("za", tensor.Uint8)
			names := []string{"a", "w", "za", "z"}
			if constant {
				names[1], names[3] = b.Const(w), b.Const(zero)
			} else {
				b.Input("w", tensor.Int8, k, n)
				b.Input("z", tensor.Int8, n)
				given = in
			}
			b.NodeTo("MatMulInteger", names, []string{"y"}, nil)
			b.Output("y", tensor.Int32, 2, m, n)
			s, err := fallback.New().Open(ctx, b.Source(), engine.Options{})
			if err != nil {
				t.Fatal(err)
			}
			out, err := s.Run(ctx, given)
			if err != nil {
				t.Fatal(err)
			}
			results = append(results, out["y"])
			s.Close()
		}
		if err := enginetest.Compare(results[0], results[1], 0, 0); err != nil {
			t.Errorf("k %d: %v", k, err)
		}
	}
}
