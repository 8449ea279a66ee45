package fallback

import (
	"fmt"
	"slices"

	"github.com/crossattn/xpipe/fallback/internal/ops"
	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/onnx/ir"
	"github.com/crossattn/xpipe/tensor"
)

// Graphs that were saved behind ONNX Runtime's optimiser have its own operators: convolutions and
// products with the activation behind them, and convolutions over channels in blocks. This file turns
// those back into what they were made of, so that nothing else has to know them.

const (
	microsoftDomain = "com.microsoft"
	blockedDomain   = "com.microsoft.nchwc"
)

// padChannels is the one operator of ops.FusedDomain that is made here; no file names it.
const padChannels = "PadChannels"

// plainVersion is the operator set of the nodes made here.
const plainVersion = 13

// unfuser makes nodes in the place of others.
type unfuser struct {
	g        *ir.Graph
	nodes    []*ir.Node
	block    int            // channels that lie side by side
	channels map[string]int // of blocked values, padding included; where they are known
	made     int
	err      error
}

// unfuse replaces ONNX Runtime's own operators of optimised graphs. Errors wrap engine.ErrGraph.
func unfuse(g *ir.Graph) error {
	u := &unfuser{g: g, block: blockOf(g), channels: map[string]int{}}
	changed := false
	for _, n := range g.Nodes {
		if n.Domain == ops.FusedDomain { // no file has these
			return fmt.Errorf("%v: %w", n, ops.Unsupported(n.Domain, n.Op, n.Version))
		}
		for _, a := range n.Attrs {
			if sub, ok := a.Value.(*ir.Graph); ok {
				if err := unfuse(sub); err != nil {
					return err
				}
			}
		}
		one := unfusers[n.Domain+"."+n.Op]
		if one == nil {
			u.nodes = append(u.nodes, n)
			continue
		}
		changed = true
		if one(u, n); u.err != nil {
			return fmt.Errorf("%v: %w", n, u.err)
		}
	}
	if changed {
		g.SetNodes(u.nodes)
	}
	return nil
}

var unfusers = map[string]func(*unfuser, *ir.Node){
	microsoftDomain + ".FusedConv":             (*unfuser).conv,
	microsoftDomain + ".FusedGemm":             (*unfuser).gemm,
	blockedDomain + ".Conv":                    (*unfuser).blockedConv,
	blockedDomain + ".ReorderInput":            (*unfuser).reorderInput,
	blockedDomain + ".ReorderOutput":           (*unfuser).reorderOutput,
	blockedDomain + ".MaxPool":                 (*unfuser).blockedPool,
	blockedDomain + ".AveragePool":             (*unfuser).blockedPool,
	blockedDomain + ".GlobalMaxPool":           (*unfuser).blockedPool,
	blockedDomain + ".GlobalAveragePool":       (*unfuser).blockedPool,
	blockedDomain + ".Upsample":                (*unfuser).blockedUpsample,
	microsoftDomain + ".DynamicQuantizeMatMul": (*unfuser).dynamicMatMul,
	microsoftDomain + ".MatMulIntegerToFloat":  (*unfuser).integerMatMul,

	// Operators of 8 bits: unfuse_quant.go.
	microsoftDomain + ".QLinearAdd":               quantBinary("Add"),
	microsoftDomain + ".QLinearMul":               quantBinary("Mul"),
	microsoftDomain + ".QLinearSigmoid":           quantUnary("Sigmoid"),
	microsoftDomain + ".QLinearLeakyRelu":         quantUnary("LeakyRelu"),
	microsoftDomain + ".QLinearGlobalAveragePool": quantUnary("GlobalAveragePool"),
	microsoftDomain + ".QLinearAveragePool":       quantUnary("AveragePool"),
	microsoftDomain + ".QLinearSoftmax":           quantUnary("Softmax"),
	microsoftDomain + ".QLinearConcat":            (*unfuser).quantConcat,
	microsoftDomain + ".QLinearWhere":             (*unfuser).quantWhere,
	microsoftDomain + ".QGemm":                    (*unfuser).quantGemm,
	microsoftDomain + ".QAttention":               (*unfuser).quantAttention,
	microsoftDomain + ".QuantizeLinear":           (*unfuser).renamed,
	microsoftDomain + ".DequantizeLinear":         (*unfuser).renamed,
}

// blockOf returns how many channels lie side by side. No file says it: it is what suits the processor that
// the file was written on, and ONNX Runtime takes it for granted that this is the one it runs on. Weights
// whose channels are no multiple of 16 tell of 8.
func blockOf(g *ir.Graph) int {
	for _, n := range g.Nodes {
		if n.Domain != blockedDomain || n.Op != "Conv" {
			continue
		}
		if w := g.Consts[n.Input(1)]; w != nil && w.Rank() > 0 && w.Dim(0)%16 != 0 {
			return 8
		}
	}
	return kernel.ChannelBlock()
}

func (u *unfuser) fail(format string, args ...any) {
	if u.err == nil {
		u.err = ops.GraphError(format, args...)
	}
}

// name makes a name that no file has.
func (u *unfuser) name(n *ir.Node) string {
	u.made++
	return fmt.Sprintf("%s\x00%d", n.Outputs[0], u.made)
}

// constant adds a constant.
func (u *unfuser) constant(n *ir.Node, t *tensor.Tensor) string {
	name := u.name(n)
	u.g.Consts[name] = t
	return name
}

func (u *unfuser) int64s(n *ir.Node, values ...int64) string {
	return u.constant(n, tensor.Must(tensor.New([]int{len(values)}, values)))
}

// add adds a node of ONNX's own in the place of n. Without outputs it makes one, whose name is returned.
func (u *unfuser) add(n *ir.Node, op string, inputs []string, attrs []ir.Attr, outputs ...string) string {
	if len(outputs) == 0 {
		outputs = []string{u.name(n)}
	}
	u.nodes = append(u.nodes, &ir.Node{
		Name: n.Name, Op: op, Version: plainVersion, Inputs: inputs, Outputs: outputs, Attrs: attrs,
	})
	return outputs[0]
}

// without returns a node's attributes but for some.
func without(n *ir.Node, names ...string) []ir.Attr {
	return slices.DeleteFunc(slices.Clone(n.Attrs), func(a ir.Attr) bool { return slices.Contains(names, a.Name) })
}

// floats reads an attribute that is a list of floats, or one.
func floats(n *ir.Node, name string) []float32 {
	switch v, _ := n.Attr(name); v := v.(type) {
	case []float32:
		return v
	case float32:
		return []float32{v}
	}
	return nil
}

// activations are those that optimisers fuse, with the attributes that their parameters are.
var activations = map[string][]string{
	"Relu": nil, "Sigmoid": nil, "Tanh": nil, "Softplus": nil, "Softsign": nil, "LeakyRelu": {"alpha"}, "Elu": {"alpha"},
	"HardSigmoid": {"alpha", "beta"}, "Selu": {"alpha", "gamma"}, "ThresholdedRelu": {"alpha"}, "Clip": {"min", "max"},
}

// activate adds the activation of n, if it has one, and gives n's output.
func (u *unfuser) activate(n *ir.Node, value string, parameters []float32) {
	text, _ := n.Attr("activation")
	name, _ := text.(string)
	names, known := activations[name]
	switch {
	case name == "": // the node before is the last
		u.nodes[len(u.nodes)-1].Outputs = n.Outputs[:1]
	case !known:
		u.fail("activation %q is not supported", name)
	case name == "Clip":
		if len(parameters) != 2 {
			u.fail("activation Clip with parameters %v", parameters)
			return
		}
		low, high := u.constant(n, tensor.Scalar(parameters[0])), u.constant(n, tensor.Scalar(parameters[1]))
		u.add(n, name, []string{value, low, high}, nil, n.Outputs[0])
	default:
		var attrs []ir.Attr
		for i, attr := range names[:min(len(names), len(parameters))] {
			attrs = append(attrs, ir.Attr{Name: attr, Value: parameters[i]})
		}
		u.add(n, name, []string{value}, attrs, n.Outputs[0])
	}
}

// conv is FusedConv: activation(Conv(X, W, B) + Z).
func (u *unfuser) conv(n *ir.Node) {
	u.convOf(n, n.Inputs[:min(3, len(n.Inputs))], without(n, "activation", "activation_params"))
}

func (u *unfuser) convOf(n *ir.Node, inputs []string, attrs []ir.Attr) {
	value := u.add(n, "Conv", inputs, attrs)
	if added := n.Input(3); added != "" {
		value = u.add(n, "Add", []string{value, added}, nil)
	}
	u.activate(n, value, floats(n, "activation_params"))
}

// gemm is FusedGemm.
func (u *unfuser) gemm(n *ir.Node) {
	names := []string{"activation_alpha", "activation_beta", "activation_gamma"}
	var parameters []float32
	for _, name := range names {
		parameters = append(parameters, floats(n, name)...)
	}
	value := u.add(n, "Gemm", n.Inputs, without(n, append(names, "activation")...))
	u.activate(n, value, parameters)
}

// reorderInput puts channels into blocks, whose last is filled with zeros. Here they stay where they are.
func (u *unfuser) reorderInput(n *ir.Node) {
	value := n.Input(0)
	if n.Int("channels_last", 0) != 0 {
		value = u.add(n, "Transpose", []string{value}, []ir.Attr{{Name: "perm", Value: []int64{0, 3, 1, 2}}})
	}
	u.nodes = append(u.nodes, &ir.Node{
		Name: n.Name, Domain: ops.FusedDomain, Op: padChannels, Inputs: []string{value}, Outputs: n.Outputs,
		Attrs: []ir.Attr{{Name: "multiple", Value: int64(u.block)}},
	})
}

// reorderOutput takes channels out of their blocks, without what fills the last.
func (u *unfuser) reorderOutput(n *ir.Node) {
	value, channels, last := n.Input(0), n.Int("channels", 0), n.Int("channels_last", 0) != 0
	if channels < 1 {
		u.fail("channels %d", channels)
		return
	}
	if u.channels[value] != int(channels) {
		from, to, axis := u.int64s(n, 0), u.int64s(n, channels), u.int64s(n, 1)
		value = u.add(n, "Slice", []string{value, from, to, axis}, nil)
	}
	if last {
		u.add(n, "Transpose", []string{value}, []ir.Attr{{Name: "perm", Value: []int64{0, 2, 3, 1}}}, n.Outputs[0])
		return
	}
	u.add(n, "Identity", []string{value}, nil, n.Outputs[0])
}

// blockedConv is a convolution whose weights are laid out for blocks, [M/B][I/B][H][W][Bi][Bm] or, of one
// channel a group or of an image of fewer channels than a block, [M/B][I][H][W][Bm]
// (MlasReorderFilterOIHWBiBo and OIHWBo of ONNX Runtime's mlas/lib/reorder.cpp).
func (u *unfuser) blockedConv(n *ir.Node) {
	w := u.g.Consts[n.Input(1)]
	if w == nil || w.DType() != tensor.Float32 || w.Rank() != 4 || w.Dim(0)%u.block != 0 {
		u.fail("weights in blocks of %d channels are %v, not a constant [M,I,H,W] of float32", u.block, w)
		return
	}
	m, c, area := w.Dim(0), w.Dim(1), w.Dim(2)*w.Dim(3)
	inner := u.block
	if n.Int("group", 1) > 1 && c == 1 || n.Int("group", 1) == 1 && c < u.block {
		inner = 1
	}
	if c%inner != 0 {
		u.fail("weights %v are no blocks of %d channels", w, u.block)
		return
	}
	src, dst := tensor.Data[float32](w), make([]float32, w.Len())
	at := 0
	for mb := 0; mb < m; mb += u.block {
		for cb := 0; cb < c; cb += inner {
			for k := range area {
				for ci := range inner {
					for mi := range u.block {
						dst[((mb+mi)*c+cb+ci)*area+k] = src[at]
						at++
					}
				}
			}
		}
	}
	weights := u.constant(n, tensor.Must(tensor.New(w.Shape(), dst)))
	inputs := []string{n.Input(0), weights}
	if bias := n.Input(2); bias != "" {
		inputs = append(inputs, bias)
	}
	u.channels[n.Outputs[0]] = m
	u.convOf(n, inputs, without(n, "activation", "activation_params"))
}

// blockedPool treats each channel for itself.
func (u *unfuser) blockedPool(n *ir.Node) {
	if c := u.channels[n.Input(0)]; c > 0 {
		u.channels[n.Outputs[0]] = c
	}
	u.add(n, n.Op, n.Inputs, n.Attrs, n.Outputs...)
}

// blockedUpsample is Resize by whole factors.
func (u *unfuser) blockedUpsample(n *ir.Node) {
	if c := u.channels[n.Input(0)]; c > 0 {
		u.channels[n.Outputs[0]] = c
	}
	scales := n.Ints("scales")
	if len(scales) != 4 {
		u.fail("scales %v", scales)
		return
	}
	factors := make([]float32, len(scales))
	for i, s := range scales {
		factors[i] = float32(s)
	}
	given := u.constant(n, tensor.Must(tensor.New([]int{4}, factors)))
	attrs := append(without(n, "scales"), ir.Attr{Name: "nearest_mode", Value: "floor"})
	if !n.Has("coordinate_transformation_mode") {
		attrs = append(attrs, ir.Attr{Name: "coordinate_transformation_mode", Value: "asymmetric"})
	}
	u.add(n, "Resize", []string{n.Input(0), "", given}, attrs, n.Outputs[0])
}

// dynamicMatMul is DynamicQuantizeMatMul(A, B, b_scale, b_zero_point, bias): A is quantised at each run.
func (u *unfuser) dynamicMatMul(n *ir.Node) {
	quantized, scale, zero := u.name(n), u.name(n), u.name(n)
	u.nodes = append(u.nodes, &ir.Node{
		Name: n.Name, Op: "DynamicQuantizeLinear", Version: plainVersion, Inputs: n.Inputs[:1],
		Outputs: []string{quantized, scale, zero},
	})
	u.scaled(n, quantized, n.Input(1), scale, n.Input(2), zero, n.Input(3), n.Input(4))
}

// integerMatMul is MatMulIntegerToFloat(A, B, a_scale, b_scale, a_zero_point, b_zero_point, bias).
func (u *unfuser) integerMatMul(n *ir.Node) {
	u.scaled(n, n.Input(0), n.Input(1), n.Input(2), n.Input(3), n.Input(4), n.Input(5), n.Input(6))
}

// scaled is an integer product times two scales, plus a bias. Names that are "" are left out.
func (u *unfuser) scaled(n *ir.Node, a, b, aScale, bScale, aZero, bZero, bias string) {
	product := u.add(n, "MatMulInteger", []string{a, b, aZero, bZero}, nil)
	value := u.add(n, "Cast", []string{product}, []ir.Attr{{Name: "to", Value: int64(1)}})
	factor := u.add(n, "Mul", []string{aScale, bScale}, nil)
	value = u.add(n, "Mul", []string{value, factor}, nil)
	if bias != "" {
		u.add(n, "Add", []string{value, bias}, nil)
	}
	u.nodes[len(u.nodes)-1].Outputs = n.Outputs[:1]
}
