package fallback_test

import (
	"math/rand/v2"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// TestHalfCache grows a cache of float16 in place, and beside it one that is copied before each step,
// which gives the same bits.
func TestHalfCache(t *testing.T) {
	t.Parallel()
	const heads, kvHeads, size = 4, 2, 8
	b := onnx.NewBuilder("half cache", 17)
	b.Model.OpsetImport = append(b.Model.OpsetImport,
		&pb.OperatorSetIdProto{Domain: proto.String("com.microsoft"), Version: proto.Int64(1)})
	half := tensor.Float16
	reads := []string{
		b.Input("q", half, "batch", "length", heads*size), b.Input("k", half, "batch", "length", kvHeads*size),
		b.Input("v", half, "batch", "length", kvHeads*size), b.Input("pk", half, "batch", kvHeads, "past", size),
		b.Input("pv", half, "batch", kvHeads, "past", size), b.Input("ends", tensor.Int32, "batch"), b.Input("total", tensor.Int32),
	}
	b.NodeTo("GroupQueryAttention", reads, []string{"y", "nk", "nv"}, onnx.Attrs{"num_heads": heads, "kv_num_heads": kvHeads})
	b.Model.Graph.Node[0].Domain = proto.String("com.microsoft")
	b.Output("y", half, "batch", "length", heads*size)
	b.Output("nk", half, "batch", kvHeads, "total", size)
	b.Output("nv", half, "batch", kvHeads, "total", size)
	s := open(t, b, engine.Options{})
	r := rand.New(rand.NewPCG(31, 32))
	halves := func(shape ...int) *tensor.Tensor {
		wide, h := randTensor(r, shape...), tensor.Must(tensor.Zeros(half, shape...))
		for i, v := range tensor.Data[float32](wide) {
			tensor.Data[tensor.Half](h)[i] = tensor.ToHalf(v)
		}
		return h
	}
	grown := map[string]*tensor.Tensor{"nk": halves(1, kvHeads, 0, size), "nv": halves(1, kvHeads, 0, size)}
	copied, total := grown, 0
	for step := range 40 {
		length := 1
		if step == 0 {
			length = 5
		}
		total += length
		in := map[string]*tensor.Tensor{
			"q": halves(1, length, heads*size), "k": halves(1, length, kvHeads*size), "v": halves(1, length, kvHeads*size),
			"ends": tensor.Must(tensor.New([]int{1}, []int32{int32(total - 1)})), "total": tensor.Scalar(int32(total)),
		}
		run := func(cache map[string]*tensor.Tensor) map[string]*tensor.Tensor {
			in["pk"], in["pv"] = cache["nk"], cache["nv"]
			out, err := s.Run(t.Context(), in)
			if err != nil {
				t.Fatal(err)
			}
			return out
		}
		fresh := map[string]*tensor.Tensor{"nk": copied["nk"].Clone(), "nv": copied["nv"].Clone()}
		grown, copied = run(grown), run(fresh)
		if grown["nk"].Storage() == nil || grown["nk"].DType() != half {
			t.Fatalf("step %d: the cache %v was copied", step, grown["nk"])
		}
		if err := enginetest.Compare(grown["y"], copied["y"], 0, 0); err != nil {
			t.Fatalf("step %d: %v", step, err)
		}
		if step%10 == 9 { // Clone reads what is stored
			for _, name := range []string{"nk", "nv"} {
				if err := enginetest.Compare(grown[name].Clone(), copied[name].Clone(), 0, 0); err != nil {
					t.Fatalf("step %d: %s: %v", step, name, err)
				}
			}
		}
	}
}
