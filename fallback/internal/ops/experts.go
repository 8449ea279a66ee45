package ops

import (
	"cmp"
	"math"
	"slices"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/tensor"
)

// Mixtures of experts as com.microsoft has them (MoE, and QMoE whose weights have a few bits; ONNX
// Runtime, docs/ContribOperators.md): a router chooses k of the experts for each row, each of them
// two products with an activation between, and their results are weighed and added.

// experts is what the attributes say.
type experts struct {
	op                 string
	k                  int
	normalize, swiglu  bool
	fusion             int // of swiglu: 0 has a third product, 1 interleaves both parts, 2 joins them
	alpha, beta, limit float32
	activate           func(dst, src []float32)
}

func expertsOf(n *Node) *experts {
	e := &experts{
		op: n.Op, k: n.int("k", 1), normalize: n.int("normalize_routing_weights", 0) != 0,
		fusion: n.int("swiglu_fusion", 0), alpha: n.float("activation_alpha", 1),
		beta: n.float("activation_beta", 0), limit: n.float("swiglu_limit", float32(math.Inf(1))),
	}
	kind := n.str("activation_type", "relu")
	n.oneOf("activation_type", kind, "relu", "gelu", "silu", "swiglu", "identity")
	switch kind {
	case "relu":
		e.activate = kernel.Relu
	case "gelu":
		e.activate = kernel.GeluTanh // as ONNX Runtime does on the CPU
	case "silu":
		e.activate = func(dst, src []float32) { kernel.Swish(dst, src, 1) }
	case "swiglu":
		e.swiglu = true
	}
	switch {
	case e.k < 1:
		n.fail("attribute \"k\" is %d", e.k)
	case e.fusion < 0 || e.fusion > 2:
		n.fail("attribute \"swiglu_fusion\" is %d", e.fusion)
	case n.int("use_sparse_mixer", 0) != 0:
		n.fail("attribute \"use_sparse_mixer\" is not supported; ONNX Runtime on the CPU does as if it were 0")
	case n.int("swiglu_limit_after_activation", 0) != 0:
		n.fail("attribute \"swiglu_limit_after_activation\" is not supported, nor by ONNX Runtime on the CPU")
	}
	return e
}

// parts is how many columns the first product has for one of its results.
func (e *experts) parts() int {
	if e.swiglu && e.fusion > 0 {
		return 2
	}
	return 1
}

// expertProduct multiplies rows [T,K] by an expert's weights and adds its bias.
type expertProduct func(x *Context, a *tensor.Tensor, expert int) (*tensor.Tensor, error)

// run computes the mixture of t [...,H] by scores [T,experts]. weights, nil for none, weigh the
// results in place of the scores. Without them the scores of all experts become weights by softmax.
func (e *experts) run(
	x *Context, t, scores, weights *tensor.Tensor, count int, first, second, third expertProduct,
) (*tensor.Tensor, error) {
	if t.Rank() != 2 && t.Rank() != 3 {
		return nil, graphErr("%s of %v", e.op, t)
	}
	width := t.Dim(t.Rank() - 1)
	rows := prod(t.Shape()[:t.Rank()-1])
	if !slices.Equal(scores.Shape(), []int{rows, count}) || e.k > count {
		return nil, graphErr("%s of %v to %d of %d experts by %v", e.op, t, e.k, count, scores)
	}
	if weights != nil && !slices.Equal(weights.Shape(), scores.Shape()) {
		return nil, graphErr("%s with scores %v and weights %v", e.op, scores, weights)
	}
	y, dst, err := zeros[float32](x, t.Shape())
	if err != nil || len(dst) == 0 {
		return y, err
	}
	type choice struct {
		row    int
		weight float32
	}
	chosen := make([][]choice, count)
	order, share := make([]int, count), make([]float32, count)
	all := tensor.Data[float32](scores)
	for r := range rows {
		row := all[r*count : (r+1)*count]
		for i := range order {
			order[i] = i
		}
		slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(row[j], row[i]) })
		if weights != nil {
			copy(share, tensor.Data[float32](weights)[r*count:])
		} else {
			kernel.Softmax(share, row)
		}
		var sum float32 = 1
		if e.normalize {
			sum = 0
			for _, i := range order[:e.k] {
				sum += share[i]
			}
		}
		for _, i := range order[:e.k] {
			chosen[i] = append(chosen[i], choice{r, share[i] / sum})
		}
	}
	src := tensor.Data[float32](t)
	for i, list := range chosen {
		if len(list) == 0 {
			continue
		}
		a, part, err := alloc[float32](x, []int{len(list), width})
		if err != nil {
			return nil, err
		}
		for j, c := range list {
			copy(part[j*width:(j+1)*width], src[c.row*width:])
		}
		h, err := first(x, a, i)
		if err != nil {
			return nil, err
		}
		var up *tensor.Tensor
		if third != nil {
			if up, err = third(x, a, i); err != nil {
				return nil, err
			}
		}
		if h, err = e.between(x, h, up); err != nil {
			return nil, err
		}
		if h, err = second(x, h, i); err != nil {
			return nil, err
		}
		result := tensor.Data[float32](h)
		for j, c := range list {
			kernel.Axpy(dst[c.row*width:(c.row+1)*width], result[j*width:(j+1)*width], c.weight)
		}
	}
	return y, nil
}

// between is what stands between both products. up is the third product's result, nil for none.
func (e *experts) between(x *Context, h, up *tensor.Tensor) (*tensor.Tensor, error) {
	src := tensor.Data[float32](h)
	if !e.swiglu {
		if e.activate != nil {
			e.activate(src, src)
		}
		return h, nil
	}
	rows, width := h.Dim(0), h.Dim(1)/e.parts()
	r, dst, err := alloc[float32](x, []int{rows, width})
	if err != nil {
		return nil, err
	}
	for i := range rows {
		for j := range width {
			var gate, line float32
			switch e.fusion {
			case 0:
				gate, line = src[i*width+j], tensor.Data[float32](up)[i*width+j]
			case 1:
				gate, line = src[2*(i*width+j)], src[2*(i*width+j)+1]
			default:
				gate, line = src[2*i*width+j], src[(2*i+1)*width+j]
			}
			gate, line = min(gate, e.limit), min(max(line, -e.limit), e.limit)
			dst[i*width+j] = gate / (1 + float32(math.Exp(float64(-e.alpha*gate)))) * (line + e.beta)
		}
	}
	return r, nil
}

// expertBias is the bias of an expert among those of all [experts,N]; nil for none.
func expertBias(bias *tensor.Tensor, expert, n int) []float32 {
	if bias == nil {
		return nil
	}
	return tensor.Data[float32](bias)[expert*n : (expert+1)*n]
}

// thirdProduct checks that the inputs of a third product are there where it is used, and only there.
func (e *experts) thirdProduct(n *Node, at int) bool {
	needed := e.swiglu && e.fusion == 0
	switch {
	case needed && n.left(at):
		n.fail("swiglu of two products needs input %d, the weights of the third", at)
	case !needed && !n.left(at):
		n.fail("input %d, the weights of a third product, is supported for swiglu of swiglu_fusion 0 only", at)
	}
	return needed
}

// buildMoE has weights of floats [experts,N,K].
func buildMoE(n *Node) Kernel {
	e := expertsOf(n)
	gated := e.thirdProduct(n, 6)
	if n.left(4) {
		n.fail("input 4, the weights of the second product, is left out")
	}
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		if err := singleInputs(n.Op, in); err != nil {
			return err
		}
		t := in[0]
		if t.Rank() == 0 || in[2].Rank() != 3 {
			return graphErr("MoE of %v with weights %v", t, in[2])
		}
		count, width, inner := in[2].Dim(0), t.Dim(t.Rank()-1), in[2].Dim(1)/e.parts()
		product := func(at, n, k int) (expertProduct, error) {
			w, bias := in[at], input(in, at+1)
			if !slices.Equal(w.Shape(), []int{count, n, k}) || bias != nil && !slices.Equal(bias.Shape(), []int{count, n}) {
				return nil, graphErr("MoE of %d experts [%d,%d] with weights %v and bias %v", count, n, k, w, bias)
			}
			data := tensor.Data[float32](w)
			return func(x *Context, a *tensor.Tensor, i int) (*tensor.Tensor, error) {
				part := data[i*n*k : (i+1)*n*k]
				copyRow := func(dst []float32, row int) { copy(dst, part[row*k:]) }
				return multiplyRows(x, a, n, k, copyRow, &kernel.Epilogue{Bias: expertBias(bias, i, n)})
			}, nil
		}
		first, err := product(2, inner*e.parts(), width)
		if err != nil {
			return err
		}
		second, err := product(4, width, inner)
		if err != nil {
			return err
		}
		var third expertProduct
		if gated {
			if third, err = product(6, inner, width); err != nil {
				return err
			}
		}
		out[0], err = e.run(x, t, in[1], nil, count, first, second, third)
		return err
	})
}

// buildQMoE has weights of 2, 4 or 8 bits, in blocks along K or with one scale for a row.
func buildQMoE(n *Node) Kernel {
	e := expertsOf(n)
	gated := e.thirdProduct(n, 8)
	if n.left(5) {
		n.fail("input 5, the weights of the second product, is left out")
	}
	kind, bits, size := n.str("quant_type", "int"), n.int("expert_weight_bits", 4), n.int("block_size", 0)
	n.oneOf("quant_type", kind, "int")
	width := map[int]int{2: n.int("fc1_expert_weight_bits", bits), 5: n.int("fc2_expert_weight_bits", bits),
		8: n.int("fc3_expert_weight_bits", bits)}
	for _, b := range width {
		if b != 2 && b != 4 && b != 8 {
			n.fail("weights of %d bits, of which only 2, 4 and 8 are supported", b)
		}
	}
	if size != 0 && (size < 16 || size&(size-1) != 0) {
		n.fail("attribute \"block_size\" is %d, not a power of 2 from 16 on", size)
	}
	for i := 15; i < n.Inputs; i++ {
		if !n.left(i) {
			n.fail("input %d is not supported", i)
		}
	}
	if n.left(14) {
		e.normalize = true // the chosen experts' weights are made of their scores alone
	}
	bytes := n.int("accuracy_level", 0) == 4
	keep := n.keep(2, 3, 5, 6, 8, 9, 11, 12, 13)
	return viaFloat(func(x *Context, in, out []*tensor.Tensor) error {
		in = keep(in)
		t, weights := in[0], input(in, 14)
		if err := singleInputs(n.Op, []*tensor.Tensor{t, in[1], weights, input(in, 4), input(in, 7), input(in, 10)}); err != nil {
			return err
		}
		if t.Rank() == 0 || in[2].Rank() != 3 {
			return graphErr("QMoE of %v with weights %v", t, in[2])
		}
		count, hidden, inner := in[2].Dim(0), t.Dim(t.Rank()-1), in[2].Dim(1)/e.parts()
		product := func(at, n, k int) (expertProduct, error) {
			w, bias := in[at], input(in, at+2)
			blocks, err := expertBlocks(w, input(in, at+1), input(in, 11+(at-2)/3), count, n, k, width[at], size)
			if err != nil {
				return nil, err
			}
			if bias != nil && !slices.Equal(bias.Shape(), []int{count, n}) {
				return nil, graphErr("QMoE of %d experts [%d,%d] with bias %v", count, n, k, bias)
			}
			return func(x *Context, a *tensor.Tensor, i int) (*tensor.Tensor, error) {
				b := &nbits{Blocks: blocks(i), bytes: bytes}
				return b.product(x, a, &kernel.Epilogue{Bias: expertBias(bias, i, n)})
			}, nil
		}
		first, err := product(2, inner*e.parts(), hidden)
		if err != nil {
			return err
		}
		second, err := product(5, hidden, inner)
		if err != nil {
			return err
		}
		var third expertProduct
		if gated {
			if third, err = product(8, inner, hidden); err != nil {
				return err
			}
		}
		out[0], err = e.run(x, t, in[1], weights, count, first, second, third)
		return err
	})
}

// expertBlocks returns the weights [N,K] of each of count experts. Zero points of blocks are packed
// along a row of theirs; those of whole rows along the rows of an expert.
func expertBlocks(
	w, scales, zeros *tensor.Tensor, count, n, k, bits, size int,
) (func(expert int) kernel.Blocks, error) {
	blocks, scaled := 1, []int{count, n}
	if size > 0 {
		blocks = k / size
		scaled = []int{count, n, blocks}
	} else {
		size = k
	}
	zeroed := (blocks*bits + 7) / 8 * n // bytes of an expert
	if blocks == 1 && len(scaled) == 2 {
		zeroed = (n*bits + 7) / 8
	}
	bad := func(what string, t *tensor.Tensor) error {
		return graphErr("QMoE of %d experts [%d,%d] of %d bits in blocks of %d with %s %v", count, n, k, bits, size, what, t)
	}
	switch {
	case w == nil || w.DType() != tensor.Uint8 || size == 0 || k%size != 0 || size*bits%8 != 0 ||
		!slices.Equal(w.Shape(), []int{count, n, k * bits / 8}):
		return nil, bad("weights", w)
	case scales == nil || scales.DType() != tensor.Float32 && !isNarrow(scales) || !slices.Equal(scales.Shape(), scaled):
		return nil, bad("scales", scales)
	case zeros != nil && (zeros.DType() != tensor.Uint8 || zeros.Len() != count*zeroed):
		return nil, bad("zero points", zeros)
	}
	factors := packedFloats(scales)
	return func(expert int) kernel.Blocks {
		b := kernel.Blocks{N: n, K: k, Bits: bits, Size: size, Count: blocks}
		b.Data = tensor.Data[uint8](w)[expert*n*k*bits/8 : (expert+1)*n*k*bits/8]
		b.Scales = factors.Part(expert*n*blocks, (expert+1)*n*blocks)
		if zeros != nil {
			b.Zeros = tensor.Data[uint8](zeros)[expert*zeroed : (expert+1)*zeroed]
			if len(scaled) == 2 { // a byte for each row
				packed := b.Zeros
				b.Zeros = make([]uint8, n)
				for i := range b.Zeros {
					b.Zeros[i] = packed[i*bits/8] >> (i * bits % 8) & uint8(1<<bits-1)
				}
			}
		}
		return b
	}, nil
}
