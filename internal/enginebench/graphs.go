// Package enginebench measures engines against each other: graphs of the sizes that real models
// have, with seeded random weights, and a way to time engines in turns, so that all see the same
// machine. It checks no results; package enginetest does.
package enginebench

import (
	"math"

	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// Graph is a graph to measure.
type Graph struct {
	Name, About string
	// Dims are the sizes of dimensions that are not fixed; 1 for those not named.
	Dims map[string]int
	// Build writes the model, with its weights.
	Build func() *Model
}

// Model is a built graph with the floating point operations of its products, for the sizes that
// Graph.Dims gives.
type Model struct {
	*onnx.Builder
	FLOP float64

	random    uint64
	form      form
	quantised map[string]string // what dynamic quantisation makes of values
	next      int               // numbers values whose names decoders give
}

// Graphs lists the graphs, as exporters write the layers of each model.
func Graphs() []Graph {
	one := map[string]int{"batch": 1}
	step := map[string]int{"length": 1, "past": 64, "total": 65}
	prefill := map[string]int{"length": 64, "past": 0, "total": 64}
	return append([]Graph{
		{"qformer", "BLIP-2 Q-Former: 12 layers, 32 queries x 257 image tokens of 1408",
			one, func() *Model { return qformer(1, 257, 12, asFloats) }},
		{"qformer-8", "the same, batch 8",
			map[string]int{"batch": 8}, func() *Model { return qformer(8, 257, 12, asFloats) }},
		{"clip-vision", "CLIP ViT-B/32 vision, 224 x 224", nil, clipVision},
		{"clip-text", "CLIP ViT-B/32 text, 77 tokens", nil, clipText},
		{"opt-step", "OPT-125m, one token, cache of 64",
			step, func() *Model { return opt(1, 64, asFloats) }},
		{"opt-prefill", "OPT-125m, 64 tokens, no cache",
			prefill, func() *Model { return opt(64, 0, asFloats) }},
		{"lxmert", "LXMERT base, 36 regions, 20 tokens", nil, lxmert},
		{"gated-block", "OpenFlamingo-3B: perceiver resampler of 256 image tokens, gated " +
			"cross-attention block on 32 tokens",
			nil, gatedBlock},
		{"efficientnet", "EfficientNet-lite0, 224 x 224",
			nil, func() *Model { return efficientNet(asFloats) }},
		{"int8-qformer", "qformer in 8 bits, as dynamic quantisation writes it",
			one, func() *Model { return qformer(1, 257, 12, asDynamic) }},
		{"int8-opt-step", "opt-step in 8 bits, dynamic",
			step, func() *Model { return opt(1, 64, asDynamic) }},
		{"int8-mlp", "eight pairs of layers 768 x 3072 on 32 rows, in 8 bits between " +
			"QuantizeLinear and DequantizeLinear",
			nil, mlp8},
		{"int8-efficientnet", "efficientnet in 8 bits between QuantizeLinear and DequantizeLinear",
			nil, func() *Model { return efficientNet(asQDQ) }},
		{"half-qformer", "qformer with its weights stored as float16",
			one, func() *Model { return qformer(1, 257, 12, asHalf) }},
		{"half-opt-step", "opt-step with its weights stored as float16",
			step, func() *Model { return opt(1, 64, asHalf) }},
	}, decoders()...)
}

func newModel(name string) *Model {
	return &Model{Builder: onnx.NewBuilder(name, 17), random: 42, quantised: map[string]string{}}
}

// numbers returns seeded numbers, uniform with the given standard deviation.
func (m *Model) numbers(std float64, shape ...int) *tensor.Tensor {
	t := tensor.Must(tensor.Zeros(tensor.Float32, shape...))
	scale := float32(std * math.Sqrt(12) / (1 << 24))
	for i := range tensor.Data[float32](t) {
		m.random = m.random*6364136223846793005 + 1442695040888963407
		tensor.Data[float32](t)[i] = (float32(m.random>>40) - 1<<23) * scale
	}
	return t
}

// weights returns an initializer of such numbers.
func (m *Model) weights(std float64, shape ...int) string {
	return m.Const(m.numbers(std, shape...))
}

func (m *Model) scalar(v float32) string { return m.Const(tensor.Scalar(v)) }

func (m *Model) op(name string, in ...string) string { return m.Node(name, in, nil) }

func (m *Model) transpose(x string, perm ...int) string {
	return m.Node("Transpose", []string{x}, onnx.Attrs{"perm": perm})
}

func (m *Model) concat(axis int, in ...string) string {
	return m.Node("Concat", in, onnx.Attrs{"axis": axis})
}

// linear is x*W + b for rows of x.
func (m *Model) linear(x string, rows, in, out int) string {
	return m.op("Add", m.plain(x, rows, in, out), m.weights(0.1, out))
}

// plain is linear without bias.
func (m *Model) plain(x string, rows, in, out int) string {
	m.FLOP += 2 * float64(rows) * float64(in) * float64(out)
	return m.matmul(x, in, out)
}

func (m *Model) norm(x string, width int) string {
	scaled := []string{x, m.weights(1, width), m.weights(0.1, width)}
	return m.Node("LayerNormalization", scaled, onnx.Attrs{"epsilon": float32(1e-6)})
}

// gelu as torch exports it.
func (m *Model) gelu(x string) string {
	e := m.op("Erf", m.op("Div", x, m.scalar(math.Sqrt2)))
	return m.op("Mul", m.op("Mul", x, m.op("Add", e, m.scalar(1))), m.scalar(0.5))
}

func (m *Model) quickGelu(x string) string {
	return m.op("Mul", x, m.op("Sigmoid", m.op("Mul", x, m.scalar(1.702))))
}

// split brings [B,T,H*D] to [B,H,T,D].
func (m *Model) split(x string, heads, depth int) string {
	return m.transpose(m.op("Reshape", x, m.Ints(0, 0, int64(heads), int64(depth))), 0, 2, 1, 3)
}

// attend is attention of heads that are split, and their joining.
func (m *Model) attend(q, k, v, mask string, batch, heads, depth, queries, keys int) string {
	m.FLOP += 4 * float64(batch*heads*queries*keys*depth)
	s := m.op("MatMul", q, m.transpose(k, 0, 1, 3, 2))
	s = m.op("Div", s, m.scalar(float32(math.Sqrt(float64(depth)))))
	if mask != "" {
		s = m.op("Add", s, mask)
	}
	p := m.Node("Softmax", []string{s}, onnx.Attrs{"axis": -1})
	o := m.transpose(m.op("MatMul", p, v), 0, 2, 1, 3)
	return m.op("Reshape", o, m.Ints(0, 0, int64(heads*depth)))
}

// attention is a layer of attention from x to context.
func (m *Model) attention(
	x, context, mask string, batch, queries, keys, width, contextWidth, heads int,
) string {
	d := width / heads
	q := m.split(m.linear(x, batch*queries, width, width), heads, d)
	k := m.split(m.linear(context, batch*keys, contextWidth, width), heads, d)
	v := m.split(m.linear(context, batch*keys, contextWidth, width), heads, d)
	read := m.attend(q, k, v, mask, batch, heads, d, queries, keys)
	return m.linear(read, batch*queries, width, width)
}

// postNorm is a layer of attention from x to context of one width, with residual and norm.
func (m *Model) postNorm(x, context string, batch, queries, keys, width, heads int) string {
	read := m.attention(x, context, "", batch, queries, keys, width, width, heads)
	return m.norm(m.op("Add", read, x), width)
}

func (m *Model) mlp(x string, rows, width, inner int, f func(string) string) string {
	return m.linear(f(m.linear(x, rows, width, inner)), rows, inner, width)
}

// batchOf repeats a constant of batch 1 as often as the input has rows.
func (m *Model) batchOf(input, constant string, dims int) string {
	b := m.Node("Gather", []string{m.op("Shape", input), m.Ints(0)}, onnx.Attrs{"axis": 0})
	rest := make([]int64, dims-1)
	for i := range rest {
		rest[i] = 1
	}
	return m.op("Expand", constant, m.concat(0, b, m.Ints(rest...)))
}

func (m *Model) out(x, name string, dims ...any) *Model {
	m.NodeTo("Identity", []string{x}, []string{name}, nil)
	m.Output(name, tensor.Float32, dims...)
	return m
}

// qformer is post-norm; every second layer attends to the image.
func qformer(batch, tokens, layers int, f form) *Model {
	const width, heads, queries = 768, 12, 32
	m := newModel("qformer")
	m.form = f
	image := m.Input("image_embeds", tensor.Float32, "batch", tokens, 1408)
	x := m.norm(m.batchOf(image, m.weights(1, 1, queries, width), 3), width)
	for layer := range layers {
		x = m.postNorm(x, x, batch, queries, queries, width, heads)
		if layer%2 == 0 {
			read := m.attention(x, image, "", batch, queries, tokens, width, 1408, heads)
			x = m.norm(m.op("Add", read, x), width)
		}
		x = m.norm(m.op("Add", m.mlp(x, batch*queries, width, 3072, m.gelu), x), width)
	}
	return m.out(x, "query_output", "batch", queries, width)
}

// preNorm is a stack of pre-norm layers of self-attention.
func (m *Model) preNorm(
	x, mask string, layers, rows, width, heads int, f func(string) string,
) string {
	for range layers {
		h := m.norm(x, width)
		x = m.op("Add", x, m.attention(h, h, mask, 1, rows, rows, width, width, heads))
		x = m.op("Add", x, m.mlp(m.norm(x, width), rows, width, 4*width, f))
	}
	return x
}

func clipVision() *Model {
	const width, tokens = 768, 50
	m := newModel("clip-vision")
	pixels := m.Input("pixel_values", tensor.Float32, "batch", 3, 224, 224)
	m.FLOP += 2 * 49 * 3 * 32 * 32 * width
	attrs := onnx.Attrs{"kernel_shape": []int{32, 32}, "strides": []int{32, 32}}
	x := m.Node("Conv", []string{pixels, m.weights(0.02, width, 3, 32, 32)}, attrs)
	x = m.transpose(m.op("Reshape", x, m.Ints(0, width, 49)), 0, 2, 1)
	x = m.concat(1, m.batchOf(pixels, m.weights(1, 1, 1, width), 3), x)
	x = m.norm(m.op("Add", x, m.weights(0.1, 1, tokens, width)), width)
	x = m.preNorm(x, "", 12, tokens, width, 12, m.quickGelu)
	return m.out(m.norm(x, width), "last_hidden_state", "batch", tokens, width)
}

// causal is the mask of a decoder without cache.
func (m *Model) causal(n int) string {
	t := tensor.Must(tensor.Zeros(tensor.Float32, 1, 1, n, n))
	for i := range n {
		for j := i + 1; j < n; j++ {
			tensor.Data[float32](t)[i*n+j] = -math.MaxFloat32
		}
	}
	return m.Const(t)
}

func clipText() *Model {
	const width, tokens = 512, 77
	m := newModel("clip-text")
	ids := m.Input("input_ids", tensor.Int64, "batch", tokens)
	x := m.op("Gather", m.weights(1, 49408, width), ids)
	x = m.op("Add", x, m.weights(0.1, 1, tokens, width))
	x = m.preNorm(x, m.causal(tokens), 12, tokens, width, 8, m.quickGelu)
	return m.out(m.norm(x, width), "last_hidden_state", "batch", tokens, width)
}

// opt is a decoder with cache; its mask comes as a tensor to add.
func opt(length, past int, f form) *Model {
	const width, heads, layers, vocabulary = 768, 12, 12, 50272
	const d = width / heads
	m := newModel("opt")
	m.form = f
	x := m.Input("inputs_embeds", tensor.Float32, "batch", "length", width)
	mask := m.Input("attention_mask", tensor.Float32, "batch", 1, "length", "total")
	relu := func(x string) string { return m.op("Relu", x) }
	for layer := range layers {
		h := m.norm(x, width)
		names := []string{"key", "value"}
		var cache []string
		q := m.split(m.linear(h, length, width, width), heads, d)
		for _, name := range names {
			suffix := "." + string(rune('a'+layer)) + "." + name
			old := m.Input("past_key_values"+suffix, tensor.Float32, "batch", heads, "past", d)
			fresh := m.split(m.linear(h, length, width, width), heads, d)
			m.NodeTo("Concat", []string{old, fresh}, []string{"present" + suffix},
				onnx.Attrs{"axis": 2})
			m.Output("present"+suffix, tensor.Float32, "batch", heads, "total", d)
			cache = append(cache, "present"+suffix)
		}
		a := m.attend(q, cache[0], cache[1], mask, 1, heads, d, length, past+length)
		x = m.op("Add", x, m.linear(a, length, width, width))
		x = m.op("Add", x, m.mlp(m.norm(x, width), length, width, 4*width, relu))
	}
	logits := m.plain(m.norm(x, width), length, width, vocabulary)
	return m.out(logits, "logits", "batch", "length", vocabulary)
}

func lxmert() *Model {
	const width, heads, words, regions = 768, 12, 20, 36
	m := newModel("lxmert")
	ids := m.Input("input_ids", tensor.Int64, "batch", words)
	features := m.Input("visual_feats", tensor.Float32, "batch", regions, 2048)
	boxes := m.Input("visual_pos", tensor.Float32, "batch", regions, 4)
	embeds := m.op("Gather", m.weights(1, 30522, width), ids)
	lang := m.norm(m.op("Add", embeds, m.weights(0.1, 1, words, width)), width)
	seen := m.norm(m.linear(features, regions, 2048, width), width)
	where := m.norm(m.linear(boxes, regions, 4, width), width)
	vis := m.op("Div", m.op("Add", seen, where), m.scalar(2))
	self := func(x string, rows int) string {
		return m.postNorm(x, x, 1, rows, rows, width, heads)
	}
	ff := func(x string, rows int) string {
		return m.norm(m.op("Add", m.mlp(x, rows, width, 4*width, m.gelu), x), width)
	}
	for range 9 {
		lang = ff(self(lang, words), words)
	}
	for range 5 {
		vis = ff(self(vis, regions), regions)
	}
	for range 5 {
		l := m.postNorm(lang, vis, 1, words, regions, width, heads)
		v := m.postNorm(vis, lang, 1, regions, words, width, heads)
		lang, vis = ff(self(l, words), words), ff(self(v, regions), regions)
	}
	first := m.op("Slice", lang, m.Ints(0), m.Ints(1), m.Ints(1))
	first = m.op("Squeeze", first, m.Ints(1))
	x := m.op("Tanh", m.linear(first, 1, width, width))
	x = m.norm(m.gelu(m.linear(x, 1, width, 2*width)), 2*width)
	m.op("Identity", vis)
	return m.out(m.linear(x, 1, 2*width, 3129), "question_answering_score", "batch", 3129)
}

// gatedBlock is OpenFlamingo's resampler followed by one gated block.
func gatedBlock() *Model {
	const media, latents, vis, width, tokens, heads, d = 256, 64, 1024, 2048, 32, 8, 64
	const inner = heads * d
	m := newModel("gated-block")
	image := m.Input("image_embeds", tensor.Float32, "batch", media, vis)
	text := m.Input("hidden_states", tensor.Float32, "batch", tokens, width)
	cross := func(x, context string, queries, keys, xWidth, contextWidth int) string {
		q := m.split(m.op("Mul", m.plain(x, queries, xWidth, inner), m.scalar(0.125)), heads, d)
		k := m.split(m.plain(context, keys, contextWidth, inner), heads, d)
		v := m.split(m.plain(context, keys, contextWidth, inner), heads, d)
		m.FLOP += 4 * float64(heads*queries*keys*d)
		s := m.op("MatMul", q, m.transpose(k, 0, 1, 3, 2))
		p := m.Node("Softmax", []string{s}, onnx.Attrs{"axis": -1})
		o := m.transpose(m.op("MatMul", p, v), 0, 2, 1, 3)
		return m.plain(m.op("Reshape", o, m.Ints(0, 0, inner)), queries, inner, xWidth)
	}
	ff := func(x string, rows, w int) string {
		return m.plain(m.gelu(m.plain(m.norm(x, w), rows, w, 4*w)), rows, 4*w, w)
	}
	x := m.batchOf(image, m.weights(1, 1, latents, vis), 3)
	for range 6 {
		h := m.norm(x, vis)
		context := m.concat(1, m.norm(image, vis), h)
		x = m.op("Add", cross(h, context, latents, media+latents, vis, vis), x)
		x = m.op("Add", ff(x, latents, vis), x)
	}
	x = m.norm(x, vis)
	gate := func(v string) string { return m.op("Mul", v, m.op("Tanh", m.scalar(0.7))) }
	y := m.op("Add", gate(cross(m.norm(text, width), x, tokens, latents, width, vis)), text)
	y = m.op("Add", gate(ff(y, tokens, width)), y)
	return m.out(y, "hidden_states_out", "batch", tokens, width)
}

// efficientNet is EfficientNet-lite0 up to its pooled features, batch norms folded.
func efficientNet(f form) *Model {
	m := newModel("efficientnet")
	m.form = f
	x := m.Input("pixel_values", tensor.Float32, "batch", 3, 224, 224)
	size := 224
	conv := func(x string, in, out, k, stride, group int, relu bool) string {
		before := size
		size = (size + stride - 1) / stride
		total := max(0, (size-1)*stride+k-before) // as TensorFlow pads
		m.FLOP += 2 * float64(size*size*k*k*(in/group)*out)
		std := math.Sqrt(2 / float64(k*k*in/group))
		low, high := total/2, total-total/2
		attrs := onnx.Attrs{
			"kernel_shape": []int{k, k}, "strides": []int{stride, stride}, "group": group,
			"pads": []int{low, low, high, high},
		}
		if f == asQDQ {
			return m.conv8(x, std, relu, attrs, out, in/group, k, k)
		}
		reads := []string{x, m.weights(std, out, in/group, k, k), m.weights(0.1, out)}
		x = m.Node("Conv", reads, attrs)
		if relu {
			x = m.op("Clip", x, m.scalar(0), m.scalar(6))
		}
		return x
	}
	if f == asQDQ {
		x = m.around(x, 1.0/64, 128)
	}
	x = conv(x, 3, 32, 3, 2, 1, true)
	in := 32
	for _, s := range []struct{ expand, out, layers, k, stride int }{
		{1, 16, 1, 3, 1}, {6, 24, 2, 3, 2}, {6, 40, 2, 5, 2}, {6, 80, 3, 3, 2},
		{6, 112, 3, 5, 1}, {6, 192, 4, 5, 2}, {6, 320, 1, 3, 1},
	} {
		for layer := range s.layers {
			stride := s.stride
			if layer > 0 {
				stride = 1
			}
			h := x
			if s.expand > 1 {
				h = conv(h, in, in*s.expand, 1, 1, 1, true)
			}
			h = conv(h, in*s.expand, in*s.expand, s.k, stride, in*s.expand, true)
			h = conv(h, in*s.expand, s.out, 1, 1, 1, false)
			if layer > 0 {
				h = m.op("Add", h, x)
				if f == asQDQ {
					h = m.around(h, linearScale, 128)
				}
			}
			x, in = h, s.out
		}
	}
	x = conv(x, in, 1280, 1, 1, 1, true)
	return m.out(m.op("GlobalAveragePool", x), "features", "batch", 1280, 1, 1)
}
