package fallback_test

import (
	"errors"
	"math"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// What the checkpoints of other tools rely on, and specifications leave open or forbid.

// waves are numbers of a shape that differ from each other.
func waves(seed float64, shape ...int) *tensor.Tensor {
	t := tensor.Must(tensor.Zeros(tensor.Float32, shape...))
	for i := range tensor.Data[float32](t) {
		tensor.Data[float32](t)[i] = float32(math.Sin(seed + 1.7*float64(i)))
	}
	return t
}

// dims is a tensor's shape as the builder takes it.
func dims(t *tensor.Tensor) (d []any) {
	for _, n := range t.Shape() {
		d = append(d, n)
	}
	return d
}

// nodeOf runs a graph of one node with its inputs; nil stands for one that is left out.
func nodeOf(t *testing.T, opset int, domain, op string, inputs []*tensor.Tensor, attrs onnx.Attrs) *tensor.Tensor {
	t.Helper()
	b := onnx.NewBuilder("hub", opset)
	if domain != "" {
		b.Model.OpsetImport = append(b.Model.OpsetImport,
			&pb.OperatorSetIdProto{Domain: proto.String(domain), Version: proto.Int64(1)})
	}
	in := map[string]*tensor.Tensor{}
	names := make([]string, len(inputs))
	for i, x := range inputs {
		if x != nil {
			names[i] = string(rune('a' + i))
			b.Input(names[i], x.DType(), dims(x)...)
			in[names[i]] = x
		}
	}
	b.NodeTo(op, names, []string{"y"}, attrs)
	b.Model.Graph.Node[0].Domain = proto.String(domain)
	b.Output("y", tensor.Float32)
	s, err := fallback.New().Open(t.Context(), b.Source(), engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	got, err := s.Run(t.Context(), in)
	if err != nil {
		t.Fatal(err)
	}
	return got["y"]
}

// TestMaskedRow holds Attention to zeros where a query sees no key, whether the mask is boolean or
// added, as ONNX Runtime 1.32 and ONNX's reference give: 1.27 gives the mean, or NaN.
func TestMaskedRow(t *testing.T) {
	t.Parallel()
	q, k, v := waves(1, 1, 2, 3, 8), waves(2, 1, 2, 5, 8), waves(3, 1, 2, 5, 8)
	seen, added := tensor.Must(tensor.Zeros(tensor.Bool, 3, 5)), tensor.Must(tensor.Zeros(tensor.Float32, 3, 5))
	for i := range 15 {
		tensor.Data[bool](seen)[i] = i/5 != 1
		if i/5 == 1 {
			tensor.Data[float32](added)[i] = float32(math.Inf(-1))
		}
	}
	for _, mask := range []*tensor.Tensor{seen, added} {
		y := tensor.Data[float32](nodeOf(t, 23, "", "Attention", []*tensor.Tensor{q, k, v, mask}, nil))
		for head := range 2 {
			for i, x := range y[head*24 : (head+1)*24] {
				if (x == 0) != (i/8 == 1) || x != x {
					t.Fatalf("%v: query %d of head %d: %v", mask.DType(), i/8, head, x)
				}
			}
		}
	}
}

// TestPaddingOfAll holds MultiHeadAttention to attending to all keys where the padding mask leaves
// none: -10000 is added to every score.
func TestPaddingOfAll(t *testing.T) {
	t.Parallel()
	q, k, v := waves(1, 1, 3, 16), waves(2, 1, 3, 16), waves(3, 1, 3, 16)
	none := tensor.Must(tensor.Zeros(tensor.Int32, 1, 3))
	heads := onnx.Attrs{"num_heads": 2}
	want := nodeOf(t, 17, "com.microsoft", "MultiHeadAttention", []*tensor.Tensor{q, k, v}, heads)
	got := nodeOf(t, 17, "com.microsoft", "MultiHeadAttention", []*tensor.Tensor{q, k, v, nil, none}, heads)
	if err := enginetest.Compare(got, want, 2e-3, 2e-3); err != nil { // scores near -10000 are coarse
		t.Error(err)
	}
}

// TestNormsBelowTheirVersion opens norms where ONNX Runtime's optimiser and onnxruntime-genai's builder
// write them: in the default domain, below the version that has them.
func TestNormsBelowTheirVersion(t *testing.T) {
	t.Parallel()
	x, scale, shift := waves(1, 2, 8), waves(2, 8), waves(3, 8)
	attrs := onnx.Attrs{"axis": -1, "epsilon": float32(1e-5)}
	want := nodeOf(t, 17, "", "LayerNormalization", []*tensor.Tensor{x, scale, shift}, attrs)
	got := nodeOf(t, 12, "", "LayerNormalization", []*tensor.Tensor{x, scale, shift}, attrs)
	if err := enginetest.Compare(got, want, 0, 0); err != nil {
		t.Error(err)
	}
	want = nodeOf(t, 23, "", "RMSNormalization", []*tensor.Tensor{x, scale}, attrs)
	got = nodeOf(t, 14, "", "SimplifiedLayerNormalization", []*tensor.Tensor{x, scale}, attrs)
	if err := enginetest.Compare(got, want, 1e-6, 1e-6); err != nil {
		t.Error(err)
	}
}

// TestStateOfLongPrompts carries the state of a causal convolution and of linear attention from part
// to part of a prompt: the same as the whole in one run.
func TestStateOfLongPrompts(t *testing.T) {
	t.Parallel()
	const length, cut = 150, 67
	part := func(x *tensor.Tensor, lo, hi int) *tensor.Tensor {
		width := x.Dim(2)
		return tensor.Must(tensor.New([]int{1, hi - lo, width}, tensor.Data[float32](x)[lo*width:hi*width]))
	}
	run := func(build func(b *onnx.Builder), in map[string]*tensor.Tensor) (y, state *tensor.Tensor) {
		b := onnx.NewBuilder("state", 17)
		b.Model.OpsetImport = append(b.Model.OpsetImport,
			&pb.OperatorSetIdProto{Domain: proto.String("com.microsoft"), Version: proto.Int64(1)})
		for name, x := range in {
			b.Input(name, x.DType(), dims(x)...)
		}
		build(b)
		b.Model.Graph.Node[0].Domain = proto.String("com.microsoft")
		b.Output("y", tensor.Float32)
		b.Output("state", tensor.Float32)
		s, err := fallback.New().Open(t.Context(), b.Source(), engine.Options{Threads: 2})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		out, err := s.Run(t.Context(), in)
		if err != nil {
			t.Fatal(err)
		}
		return out["y"], out["state"]
	}
	check := func(what string, got, want *tensor.Tensor) {
		if err := enginetest.Compare(got, want, 1e-4, 1e-4); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}

	x, w := waves(1, 1, length, 6), waves(2, 6, 1, 4)
	conv := func(b *onnx.Builder) {
		b.NodeTo("CausalConvWithState", []string{"x", "w", "", "past"}, []string{"y", "state"},
			onnx.Attrs{"channels_last": 1, "activation": "silu"})
	}
	zero := tensor.Must(tensor.Zeros(tensor.Float32, 1, 3, 6))
	y, state := run(conv, map[string]*tensor.Tensor{"x": x, "w": w, "past": zero})
	_, first := run(conv, map[string]*tensor.Tensor{"x": part(x, 0, cut), "w": w, "past": zero})
	rest, last := run(conv, map[string]*tensor.Tensor{"x": part(x, cut, length), "w": w, "past": first})
	check("CausalConvWithState", rest, part(y, cut, length))
	check("its state", last, state)

	in := map[string]*tensor.Tensor{
		"q": waves(1, 1, length, 16), "k": waves(2, 1, length, 16), "v": waves(3, 1, length, 10),
		"d": waves(4, 1, length, 2), "r": waves(5, 1, length, 2),
		"past": tensor.Must(tensor.Zeros(tensor.Float32, 1, 2, 8, 5)),
	}
	for i := range 2 * length {
		tensor.Data[float32](in["d"])[i] -= 1.1
		tensor.Data[float32](in["r"])[i] = (tensor.Data[float32](in["r"])[i] + 1) / 8
	}
	linear := func(b *onnx.Builder) {
		b.NodeTo("LinearAttention", []string{"q", "k", "v", "past", "d", "r"}, []string{"y", "state"},
			onnx.Attrs{"q_num_heads": 2, "kv_num_heads": 2})
	}
	parts := func(lo, hi int, past *tensor.Tensor) map[string]*tensor.Tensor {
		p := map[string]*tensor.Tensor{"past": past}
		for name, x := range in {
			if name != "past" {
				p[name] = part(x, lo, hi)
			}
		}
		return p
	}
	y, state = run(linear, in)
	_, first = run(linear, parts(0, cut, in["past"]))
	rest, last = run(linear, parts(cut, length, first))
	check("LinearAttention", rest, part(y, cut, length))
	check("its state", last, state)
}

// TestOddContribInputs runs operators on what is rare but possible: no channels, and heads of which
// a cache of 4 bits cannot pair the values.
func TestOddContribInputs(t *testing.T) {
	t.Parallel()
	run := func(op string, names, outs []string, attrs onnx.Attrs, in map[string]*tensor.Tensor) error {
		b := onnx.NewBuilder("odd", 17)
		b.Model.OpsetImport = append(b.Model.OpsetImport,
			&pb.OperatorSetIdProto{Domain: proto.String("com.microsoft"), Version: proto.Int64(1)})
		for name, x := range in {
			b.Input(name, x.DType(), dims(x)...)
		}
		b.NodeTo(op, names, outs, attrs)
		b.Model.Graph.Node[0].Domain = proto.String("com.microsoft")
		b.Output("y", tensor.Float32)
		_, err := open(t, b, engine.Options{}).Run(t.Context(), in)
		return err
	}
	none := tensor.Must(tensor.Zeros(tensor.Float32, 0, 1, 4))
	if err := run("CausalConvWithState", []string{"x", "w"}, []string{"y", "state"}, onnx.Attrs{"channels_last": 1},
		map[string]*tensor.Tensor{"x": tensor.Must(tensor.Zeros(tensor.Float32, 1, 3, 0)), "w": none}); err != nil {
		t.Error(err)
	}
	scale := tensor.Must(tensor.New([]int{1}, []float32{0.2}))
	err := run("GroupQueryAttention", []string{"q", "k", "v", "", "", "ends", "total", "", "", "", "", "", "s", "s"},
		[]string{"y", "keys", "values"}, onnx.Attrs{"num_heads": 1, "kv_num_heads": 1, "k_quant_type": "PER_TENSOR",
			"v_quant_type": "PER_TENSOR", "kv_cache_bit_width": 4}, map[string]*tensor.Tensor{
			"q": waves(1, 1, 3, 5), "k": waves(2, 1, 3, 5), "v": waves(3, 1, 3, 5), "s": scale,
			"ends":  tensor.Must(tensor.New([]int{1}, []int32{2})),
			"total": tensor.Must(tensor.New([]int{1}, []int32{3}))})
	if !errors.Is(err, engine.ErrGraph) {
		t.Error(err)
	}
}
