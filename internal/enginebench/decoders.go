package enginebench

import (
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// decoder is the size of a causal decoder of Llama's kind, and how its file is written.
type decoder struct {
	name                          string
	width, layers, heads, kvHeads int
	inner, vocabulary, most       int  // most: positions that the rotary embedding knows
	bias                          bool // of queries, keys and values
	embeds                        bool // the graph takes embeddings, not ids
	keep                          bool // the graph takes num_logits_to_keep
	level                         int  // accuracy_level of the products
}

var (
	// The decoder of HuggingFaceTB/SmolVLM-256M-Instruct, as transformers.js has it.
	smolVLM = decoder{
		name: "smolvlm", width: 576, layers: 30, heads: 9, kvHeads: 3, inner: 1536, vocabulary: 49280,
		most: 8192, embeds: true, keep: true,
	}
	// Qwen/Qwen2-0.5B, as onnxruntime-genai builds it.
	qwen2 = decoder{
		name: "qwen2", width: 896, layers: 24, heads: 14, kvHeads: 2, inner: 4864, vocabulary: 151936,
		most: 4096, bias: true,
	}
)

// int8 is the same decoder whose products may be computed in 8 bits.
func (d decoder) int8() decoder {
	d.level = 4
	return d
}

// decoders lists a step and a prefill of decoders with weights of 4 bits in blocks of 32.
func decoders() []Graph {
	var all []Graph
	for _, d := range []decoder{smolVLM, smolVLM.int8(), qwen2, qwen2.int8()} {
		name, about := "q4-"+d.name, map[string]string{"smolvlm": "SmolVLM-256M's decoder", "qwen2": "Qwen2-0.5B"}[d.name]
		about += ", weights of 4 bits"
		if d.level == 4 {
			name, about = name+"-int8", about+", products in 8 bits allowed"
		}
		step := map[string]int{"length": 1, "past": 256, "total": 257}
		prefill := map[string]int{"length": 128, "past": 0, "total": 128}
		all = append(all,
			Graph{name + "-step", about + ": one token, cache of 256", step,
				func() *Model { return d.build(1, 256) }},
			Graph{name + "-prefill", about + ": 128 tokens, no cache", prefill,
				func() *Model { return d.build(128, 0) }})
	}
	return all
}

// ms adds a node of com.microsoft.
func (m *Model) ms(op string, in, out []string, attrs onnx.Attrs) {
	m.NodeTo(op, in, out, attrs)
	m.Model.Graph.Node[len(m.Model.Graph.Node)-1].Domain = proto.String("com.microsoft")
}

// nibbles returns seeded bytes of two values of 4 bits each.
func (m *Model) nibbles(shape ...int) string {
	t := tensor.Must(tensor.Zeros(tensor.Uint8, shape...))
	data := tensor.Data[uint8](t)
	for i := range data {
		if i%4 == 0 {
			m.random = m.random*6364136223846793005 + 1442695040888963407
		}
		data[i] = uint8(m.random >> (32 + i%4*8))
	}
	return m.Const(t)
}

// blockScales are the scales [n,count] of weights of 4 bits with a standard deviation.
func (m *Model) blockScales(std float64, n, count int) string {
	t := tensor.Must(tensor.Zeros(tensor.Float32, n, count))
	scale := std * math.Sqrt(12) / 16
	for i := range tensor.Data[float32](t) {
		tensor.Data[float32](t)[i] = float32(scale) * (1 + float32(i%7)/16)
	}
	return m.Const(t)
}

const blockSize = 32

// build writes the decoder; length and past only count operations.
func (d decoder) build(length, past int) *Model {
	m := newModel(d.name)
	m.Model.OpsetImport = append(m.Model.OpsetImport,
		&pb.OperatorSetIdProto{Domain: proto.String("com.microsoft"), Version: proto.Int64(1)})
	size := d.width / d.heads
	rows := length
	product := func(x string, in, out int) string {
		m.FLOP += 2 * float64(rows) * float64(in) * float64(out)
		count := (in + blockSize - 1) / blockSize
		reads := []string{x, m.nibbles(out, count, blockSize/2),
			m.blockScales(1/math.Sqrt(float64(in)), out, count)}
		m.next++
		y := fmt.Sprintf("product%d", m.next)
		attrs := onnx.Attrs{"K": in, "N": out, "bits": 4, "block_size": blockSize}
		if d.level != 0 {
			attrs["accuracy_level"] = d.level
		}
		m.ms("MatMulNBits", reads, []string{y}, attrs)
		return y
	}
	biased := func(x string, in, out int) string {
		y := product(x, in, out)
		if d.bias {
			y = m.op("Add", y, m.weights(0.1, out))
		}
		return y
	}

	var x string
	if d.embeds {
		x = m.Input("inputs_embeds", tensor.Float32, "batch", "length", d.width)
	} else {
		ids := m.Input("input_ids", tensor.Int64, "batch", "length")
		count := d.width / blockSize
		m.ms("GatherBlockQuantized",
			[]string{m.nibbles(d.vocabulary, d.width/2), ids, m.blockScales(1, d.vocabulary, count)},
			[]string{"embeds"}, onnx.Attrs{"bits": 4, "block_size": blockSize, "gather_axis": 0, "quantize_axis": 1})
		x = "embeds"
	}
	mask := m.Input("attention_mask", tensor.Int64, "batch", "total")
	// The lengths of rows and of all, as both exporters compute them.
	ends := m.op("Sub", m.Node("ReduceSum", []string{mask, m.Ints(1)}, onnx.Attrs{"keepdims": 0}), m.Ints(1))
	ends = m.Node("Cast", []string{ends}, onnx.Attrs{"to": int(pb.TensorProto_INT32)})
	total := m.Node("Gather", []string{m.op("Shape", mask), m.Const(tensor.Scalar(int64(1)))}, nil)
	total = m.Node("Cast", []string{total}, onnx.Attrs{"to": int(pb.TensorProto_INT32)})
	cos, sin := m.angles(d.most, size/2)

	norm := func(x, skip string, layer string) (string, string) {
		if skip == "" {
			return m.Node("SimplifiedLayerNormalization", []string{x, m.weights(1, d.width)},
				onnx.Attrs{"epsilon": float32(1e-6), "axis": -1, "stash_type": 1}), x
		}
		m.ms("SkipSimplifiedLayerNormalization", []string{x, skip, m.weights(1, d.width)},
			[]string{layer + ".norm", "", "", layer + ".sum"}, onnx.Attrs{"epsilon": float32(1e-6)})
		return layer + ".norm", layer + ".sum"
	}
	add := ""
	for layer := range d.layers {
		prefix := fmt.Sprintf("layers.%d", layer)
		h, sum := norm(x, add, prefix+".input")
		reads := []string{
			biased(h, d.width, d.width), biased(h, d.width, d.kvHeads*size), biased(h, d.width, d.kvHeads*size),
		}
		writes := []string{prefix + ".attention"}
		for _, name := range []string{"key", "value"} {
			reads = append(reads, m.Input(fmt.Sprintf("past_key_values.%d.%s", layer, name), tensor.Float32,
				"batch", d.kvHeads, "past", size))
			present := fmt.Sprintf("present.%d.%s", layer, name)
			m.Output(present, tensor.Float32, "batch", d.kvHeads, "total", size)
			writes = append(writes, present)
		}
		m.FLOP += 4 * float64(d.heads*length*(past+length)*size)
		m.ms("GroupQueryAttention", append(reads, ends, total, cos, sin), writes, onnx.Attrs{
			"num_heads": d.heads, "kv_num_heads": d.kvHeads, "do_rotary": 1,
			"scale": float32(1 / math.Sqrt(float64(size))),
		})
		h, x = norm(sum, product(writes[0], d.width, d.width), prefix+".post")
		gate, up := product(h, d.width, d.inner), product(h, d.width, d.inner)
		gate = m.op("Mul", gate, m.op("Sigmoid", gate))
		add = product(m.op("Mul", gate, up), d.inner, d.width)
	}
	h, _ := norm(x, add, "final")
	if d.keep {
		keep := m.Input("num_logits_to_keep", tensor.Int64)
		from := m.op("Unsqueeze", m.op("Neg", keep), m.Ints(0))
		h = m.op("Slice", h, from, m.Ints(math.MaxInt64), m.Ints(1))
		rows = 1
	}
	return m.out(product(h, d.width, d.vocabulary), "logits", "batch", "kept", d.vocabulary)
}

// angles are the cosines and sines [positions,half] of a rotary embedding.
func (m *Model) angles(positions, half int) (cos, sin string) {
	tables := [2][]float32{}
	for p := range positions {
		for i := range half {
			angle := float64(p) * math.Pow(10000, -float64(i)/float64(half))
			tables[0] = append(tables[0], float32(math.Cos(angle)))
			tables[1] = append(tables[1], float32(math.Sin(angle)))
		}
	}
	cos = m.Const(tensor.Must(tensor.New([]int{positions, half}, tables[0])))
	return cos, m.Const(tensor.Must(tensor.New([]int{positions, half}, tables[1])))
}
