package ops

import (
	"maps"
	"math"
	"slices"

	"github.com/crossattn/xpipe/internal/kernel"
	"github.com/crossattn/xpipe/onnx/ir"
)

// newestOpset is the newest version of the default operator set whose changes the operators below
// follow. Versions 25 and 26 added element types alone.
const newestOpset = 26

// def is one row of a table: all that the engine knows of an operator. A new operator is a builder
// in the file of its theme and a row here; fusion, layout and taps read the rest of the row.
type def struct {
	since     int // the first version of the operator set whose semantics the engine has
	last      int // the last that has the operator; 0 where the newest does
	low, high int // how many inputs; high -1: any number
	build     func(n *Node) Kernel
	traits    Trait
	activate  func(n *Node) (a activation, ok bool) // nil where the operator is no activation
}

// Trait is a property of an operator that rewrites of a graph rely on.
type Trait uint8

const (
	// Elementwise operators compute each element from one of their first input, so the input may
	// lie in memory in any order. Further inputs, if any, are parameters.
	Elementwise Trait = 1 << iota
	// Broadcast operators compute each element from one of each input, broadcast.
	Broadcast
	// OnScores operators may stand between attention's product of queries and keys and its softmax:
	// they scale, mask, bound or convert the scores.
	OnScores
	// OnSequences operators take sequences, or hold graphs that may.
	OnSequences
)

// row makes a row without traits.
func row(since, low, high int, build func(n *Node) Kernel) def {
	return def{since: since, low: low, high: high, build: build}
}

// activating makes the row of an activation without parameters.
func activating(since int, f func(dst, src []float32), g func(float64) float64) def {
	applies := func(*Node) (activation, bool) { return function(f), true }
	return row(since, 1, 1, floatOp(f, g)).is(Elementwise).activates(applies)
}

// is adds traits to a row.
func (d def) is(t Trait) def {
	d.traits |= t
	return d
}

// until says in which version of the operator set an operator was there last.
func (d def) until(version int) def {
	d.last = version
	return d
}

// activates makes a row's operator an activation, which fused products and convolutions apply to
// their results. activate reads its parameters; ok is false where only a run knows them.
func (d def) activates(activate func(n *Node) (a activation, ok bool)) def {
	d.activate = activate
	return d
}

// table holds the operators of the default domain.
var table = map[string]def{
	// Arithmetic, broadcast.
	"Add":  row(7, 2, 2, binaryOp(add)).is(Broadcast | OnScores),
	"Sub":  row(7, 2, 2, binaryOp(subtract)).is(Broadcast | OnScores),
	"Mul":  row(7, 2, 2, binaryOp(multiply)).is(Broadcast | OnScores),
	"Div":  row(7, 2, 2, binaryOp(divide)).is(Broadcast | OnScores),
	"Mod":  row(10, 2, 2, buildMod).is(Broadcast),
	"Pow":  row(7, 2, 2, buildPow).is(Broadcast),
	"Max":  row(6, 1, -1, foldOp(maximum, false)).is(Broadcast | OnScores),
	"Min":  row(6, 1, -1, foldOp(minimum, false)).is(Broadcast | OnScores),
	"Sum":  row(6, 1, -1, foldOp(add, false)).is(Broadcast),
	"Mean": row(6, 1, -1, foldOp(add, true)).is(Broadcast),
	// Comparison and logic.
	"Equal":          row(7, 2, 2, compareOp(equal, equal, equal, equal)),
	"Less":           row(7, 2, 2, compareOp(less, less, less, nil)),
	"LessOrEqual":    row(12, 2, 2, compareOp(lessEq, lessEq, lessEq, nil)),
	"Greater":        row(7, 2, 2, compareOp(greater, greater, greater, nil)),
	"GreaterOrEqual": row(12, 2, 2, compareOp(greaterEq, greaterEq, greaterEq, nil)),
	"And":            row(7, 2, 2, logicalOp(logicalAnd)),
	"Or":             row(7, 2, 2, logicalOp(logicalOr)),
	"Xor":            row(7, 2, 2, logicalOp(logicalXor)),
	"Not":            row(1, 1, 1, buildNot),
	"Where":          row(9, 3, 3, buildWhere).is(OnScores),
	"IsNaN":          row(9, 1, 1, buildIsNaN),
	"IsInf":          row(10, 1, 1, buildIsInf),
	// Functions of one element.
	"Abs":             row(6, 1, 1, numberOp(each(absFloat), math.Abs, absInt)).is(Elementwise),
	"Neg":             row(6, 1, 1, numberOp(kernel.Neg, negFloat, negInt)).is(Elementwise),
	"Sign":            row(9, 1, 1, numberOp(each(signFloat[float32]), signFloat, signInt)).is(Elementwise),
	"Relu":            row(6, 1, 1, numberOp(kernel.Relu, reluFloat, reluInt)).is(Elementwise).activates(relu),
	"Reciprocal":      row(6, 1, 1, floatOp(each(reciprocal[float32]), reciprocal)).is(Elementwise),
	"Sqrt":            row(6, 1, 1, floatOp(kernel.Sqrt, math.Sqrt)).is(Elementwise),
	"Exp":             row(6, 1, 1, floatOp(kernel.Exp, math.Exp)).is(Elementwise),
	"Log":             row(6, 1, 1, math64(math.Log)).is(Elementwise),
	"Erf":             row(9, 1, 1, numberOp(kernel.Erf, math.Erf, erfInt)).is(Elementwise),
	"Sigmoid":         activating(6, kernel.Sigmoid, sigmoid),
	"Tanh":            activating(6, kernel.Tanh, math.Tanh),
	"Sin":             row(7, 1, 1, math64(math.Sin)).is(Elementwise),
	"Cos":             row(7, 1, 1, math64(math.Cos)).is(Elementwise),
	"Tan":             row(7, 1, 1, math64(math.Tan)).is(Elementwise),
	"Asin":            row(7, 1, 1, math64(math.Asin)).is(Elementwise),
	"Acos":            row(7, 1, 1, math64(math.Acos)).is(Elementwise),
	"Atan":            row(7, 1, 1, math64(math.Atan)).is(Elementwise),
	"Sinh":            row(9, 1, 1, math64(math.Sinh)).is(Elementwise),
	"Cosh":            row(9, 1, 1, math64(math.Cosh)).is(Elementwise),
	"Asinh":           row(9, 1, 1, math64(math.Asinh)).is(Elementwise),
	"Acosh":           row(9, 1, 1, math64(math.Acosh)).is(Elementwise),
	"Atanh":           row(9, 1, 1, math64(math.Atanh)).is(Elementwise),
	"Floor":           row(6, 1, 1, math64(math.Floor)).is(Elementwise),
	"Ceil":            row(6, 1, 1, math64(math.Ceil)).is(Elementwise),
	"Round":           row(11, 1, 1, math64(math.RoundToEven)).is(Elementwise),
	"Softplus":        row(1, 1, 1, math64(softplus)).is(Elementwise),
	"Softsign":        row(1, 1, 1, math64(softsign)).is(Elementwise),
	"Mish":            row(18, 1, 1, math64(mish)).is(Elementwise),
	"HardSwish":       activating(14, each(hardSwish[float32]), hardSwish),
	"HardSigmoid":     row(6, 1, 1, buildHardSigmoid).is(Elementwise),
	"LeakyRelu":       row(6, 1, 1, buildLeakyRelu).is(Elementwise),
	"PRelu":           row(7, 2, 2, binaryOp(prelu)).is(Broadcast),
	"ThresholdedRelu": row(10, 1, 1, buildThresholdedRelu).is(Elementwise),
	"Elu":             row(6, 1, 1, buildElu).is(Elementwise),
	"Celu":            row(12, 1, 1, buildCelu).is(Elementwise),
	"Selu":            row(6, 1, 1, buildSelu).is(Elementwise),
	"Shrink":          row(9, 1, 1, buildShrink).is(Elementwise),
	"Gelu":            row(20, 1, 1, buildGelu).is(Elementwise).activates(gelu),
	"Swish":           row(24, 1, 1, swishOp(1)).is(Elementwise).activates(swish(1)),
	"Clip":            row(6, 1, 3, buildClip).is(Elementwise | OnScores).activates(clip),
	"Dropout":         row(7, 1, 3, buildDropout).is(OnScores),
	"Identity":        row(1, 1, 1, buildIdentity).is(Elementwise | OnScores | OnSequences),
	"Cast":            row(6, 1, 1, buildCast).is(OnScores),
	"CastLike":        row(15, 2, 2, buildCastLike),
	// Shapes and movement.
	"Shape":           row(1, 1, 1, buildShape),
	"Size":            row(1, 1, 1, buildSize),
	"Reshape":         row(5, 2, 2, buildReshape).is(OnScores),
	"Flatten":         row(1, 1, 1, buildFlatten),
	"Squeeze":         row(1, 1, 2, buildSqueeze),
	"Unsqueeze":       row(1, 1, 2, buildUnsqueeze),
	"Expand":          row(8, 2, 2, buildExpand),
	"Transpose":       row(1, 1, 1, buildTranspose),
	"Slice":           row(1, 1, 5, buildSlice),
	"Concat":          row(4, 1, -1, buildConcat),
	"Split":           row(2, 1, 2, buildSplit),
	"Tile":            row(6, 2, 2, buildTile),
	"Pad":             row(2, 1, 4, buildPad),
	"Trilu":           row(14, 1, 2, buildTrilu),
	"DepthToSpace":    row(1, 1, 1, buildDepthToSpace),
	"SpaceToDepth":    row(1, 1, 1, buildSpaceToDepth),
	"Constant":        row(1, 0, 0, buildConstant),
	"ConstantOfShape": row(9, 1, 1, buildConstantOfShape),
	"Range":           row(11, 3, 3, buildRange),
	"EyeLike":         row(9, 1, 1, buildEyeLike),
	// Selection by index.
	"Gather":          row(1, 2, 2, buildGather),
	"GatherElements":  row(11, 2, 2, buildGatherElements),
	"GatherND":        row(11, 2, 2, buildGatherND),
	"ScatterND":       row(11, 3, 3, buildScatterND),
	"ScatterElements": row(11, 3, 3, buildScatterElements),
	"Scatter":         row(9, 3, 3, buildScatterElements).until(10),
	"NonZero":         row(9, 1, 1, buildNonZero),
	"Compress":        row(9, 2, 2, buildCompress),
	"OneHot":          row(9, 3, 3, buildOneHot),
	"ArgMax":          row(1, 1, 1, buildArg(true)),
	"ArgMin":          row(1, 1, 1, buildArg(false)),
	"TopK":            row(1, 1, 2, buildTopK),
	"CumSum":          row(11, 2, 2, buildCumSum),
	"Unique":          row(11, 1, 1, buildUnique),
	"ReverseSequence": row(10, 2, 2, buildReverseSequence),
	// Reductions.
	"ReduceSum":       row(1, 1, 2, reduceOp(reduceSum, 13)),
	"ReduceMean":      row(1, 1, 2, reduceOp(reduceMean, 18)),
	"ReduceMax":       row(1, 1, 2, reduceOp(reduceMax, 18)),
	"ReduceMin":       row(1, 1, 2, reduceOp(reduceMin, 18)),
	"ReduceProd":      row(1, 1, 2, reduceOp(reduceProd, 18)),
	"ReduceL1":        row(1, 1, 2, reduceOp(reduceL1, 18)),
	"ReduceL2":        row(1, 1, 2, reduceOp(reduceL2, 18)),
	"ReduceSumSquare": row(1, 1, 2, reduceOp(reduceSquare, 18)),
	"ReduceLogSum":    row(1, 1, 2, reduceOp(reduceLogSum, 18)),
	"ReduceLogSumExp": row(1, 1, 2, reduceOp(reduceLogSumExp, 18)),
	// Products.
	"MatMul": row(1, 2, 2, buildMatMul),
	"Gemm":   row(7, 2, 3, buildGemm),
	"Einsum": row(12, 1, -1, buildEinsum),
	// Normalisation.
	"Softmax":    row(1, 1, 1, softmaxOp(kernel.Softmax, softmax64)),
	"LogSoftmax": row(1, 1, 1, softmaxOp(logSoftmax[float32], logSoftmax[float64])),
	"Hardmax":    row(1, 1, 1, softmaxOp(hardmax[float32], hardmax[float64])),
	// ONNX Runtime's optimiser writes these two below their version, and the latter's older name.
	"LayerNormalization":           row(1, 2, 3, buildLayerNorm),
	"SimplifiedLayerNormalization": row(1, 2, 2, buildSimplifiedLayerNorm),
	"RMSNormalization":             row(23, 2, 2, buildRMSNorm),
	"BatchNormalization":           row(7, 5, 5, buildBatchNorm),
	"InstanceNormalization":        row(6, 3, 3, buildInstanceNorm),
	"GroupNormalization":           row(18, 3, 3, buildGroupNorm),
	"RotaryEmbedding":              row(23, 3, 4, rotaryOp),
	"Attention":                    row(23, 3, 7, buildAttention),
	"TensorScatter":                row(24, 2, 3, buildTensorScatter),
	"LRN":                          row(1, 1, 1, buildLRN),
	"LpNormalization":              row(1, 1, 1, buildLpNormalization),
	// Windows.
	"Conv":              row(1, 2, 3, buildConv),
	"ConvTranspose":     row(1, 2, 3, buildConvTranspose),
	"MaxPool":           row(1, 1, 1, buildMaxPool),
	"AveragePool":       row(1, 1, 1, buildAveragePool),
	"LpPool":            row(2, 1, 1, buildLpPool),
	"GlobalAveragePool": row(1, 1, 1, globalPool(reduceMean)),
	"GlobalMaxPool":     row(1, 1, 1, globalPool(reduceMax)),
	// Quantisation.
	"QuantizeLinear":        row(10, 2, 3, buildQuantizeLinear),
	"DequantizeLinear":      row(10, 2, 3, buildDequantizeLinear),
	"DynamicQuantizeLinear": row(11, 1, 1, buildDynamicQuantizeLinear),
	"MatMulInteger":         row(10, 2, 4, buildMatMulInteger),
	"ConvInteger":           row(10, 2, 4, buildConvInteger),
	"QLinearMatMul":         row(10, 8, 8, buildQLinearMatMul),
	"QLinearConv":           row(10, 8, 9, buildQLinearConv),
	// Resampling.
	"Resize":     row(10, 1, 4, buildResize),
	"Upsample":   row(7, 1, 2, buildUpsample),
	"GridSample": row(16, 2, 2, buildGridSample),
	// Signals.
	"DFT":  row(17, 1, 3, buildDFT),
	"STFT": row(17, 2, 4, buildSTFT),
	// Recurrent layers.
	"LSTM": row(7, 3, 8, recurrentOp(lstmGates, lstmCell, "sigmoid", "tanh", "tanh")),
	"GRU":  row(7, 3, 6, recurrentOp(gruGates, gruCell, "sigmoid", "tanh")),
	"RNN":  row(7, 3, 6, recurrentOp(rnnGates, rnnCell, "tanh")),
	// Graphs within.
	"If":   row(1, 1, 1, buildIf).is(OnSequences),
	"Loop": row(1, 0, -1, buildLoop).is(OnSequences),
	"Scan": row(8, 0, -1, buildScan).is(OnSequences),
	// Sequences and optional values.
	"SequenceEmpty":      row(11, 0, 0, buildSequenceEmpty),
	"SequenceConstruct":  row(11, 1, -1, buildSequenceConstruct),
	"SequenceInsert":     row(11, 2, 3, buildSequenceInsert).is(OnSequences),
	"SequenceErase":      row(11, 1, 2, buildSequenceErase).is(OnSequences),
	"SequenceAt":         row(11, 2, 2, buildSequenceAt).is(OnSequences),
	"SequenceLength":     row(11, 1, 1, buildSequenceLength).is(OnSequences),
	"ConcatFromSequence": row(11, 1, 1, buildConcatFromSequence).is(OnSequences),
	"SplitToSequence":    row(11, 1, 2, buildSplitToSequence),
	"Optional":           row(15, 0, 1, buildOptional).is(OnSequences),
	"OptionalHasElement": row(15, 0, 1, buildOptionalHasElement).is(OnSequences),
	"OptionalGetElement": row(15, 1, 1, buildOptionalGetElement).is(OnSequences),
}

// microsoft holds the operators of ONNX Runtime's own that graphs on the market use.
var microsoft = map[string]def{
	"DynamicQuantizeLSTM": row(1, 3, 12,
		recurrentOp(lstmGates, lstmCell, "sigmoid", "tanh", "tanh")),
	// Attention.
	"Attention":           row(1, 2, 7, buildAttentionMS),
	"MultiHeadAttention":  row(1, 1, 10, buildMultiHeadAttention),
	"GroupQueryAttention": row(1, 1, 17, buildGroupQueryAttention),
	"RotaryEmbedding":     row(1, 4, 4, rotaryOp),
	// Layers with a state of fixed size.
	"CausalConvWithState": row(1, 2, 4, buildCausalConvWithState),
	"LinearAttention":     row(1, 3, 6, buildLinearAttention),
	// Mixtures of experts.
	"MoE":  row(1, 3, 8, buildMoE),
	"QMoE": row(1, 3, 21, buildQMoE),
	// Weights of a few bits.
	"MatMulNBits":          row(1, 3, 6, buildMatMulNBits),
	"MatMulBnb4":           row(1, 3, 3, buildMatMulBnb4),
	"GatherBlockQuantized": row(1, 3, 4, buildGatherBlockQuantized),
	// What ONNX Runtime's optimiser makes of several nodes.
	"SkipLayerNormalization":           row(1, 3, 5, skipNormOp(false)),
	"SkipSimplifiedLayerNormalization": row(1, 3, 4, skipNormOp(true)),
	"FusedMatMul":                      row(1, 2, 2, buildFusedMatMulMS),
	"Gelu":                             activating(1, kernel.Gelu, gelu64),
	"FastGelu":                         row(1, 1, 2, biasGeluOp(kernel.GeluTanh)),
	"BiasGelu":                         row(1, 2, 2, biasGeluOp(kernel.Gelu)),
	"QuickGelu":                        row(1, 1, 1, swishOp(1.702)).is(Elementwise).activates(swish(1.702)),
}

// learning holds operators of ai.onnx.ml that graphs of public packages use.
var learning = map[string]def{
	"Scaler":       row(1, 1, 1, buildScaler),
	"TreeEnsemble": row(5, 1, 1, buildTreeEnsemble),
}

// fused holds the operators of FusedDomain.
var fused = map[string]def{
	// A*B + bias, activated, + residual.
	"MatMul": row(0, 2, 4, buildFusedMatMul),
	// Integers A*B, scaled, + bias, activated, + residual.
	"MatMulInteger": row(0, 2, 7, buildFusedMatMulInteger),
	// Conv(X, W, B), activated, + residual.
	"Conv": row(0, 2, 4, buildFusedConv),
	// Integer Conv(X, W), scaled, + bias, activated, + residual or quantised, of images [N,H,W,C].
	"ConvInteger": row(0, 2, 9, buildFusedConvInteger),
	// A depthwise Conv(X, W, B), activated, of 8-bit images [N,H,W,C].
	"ConvDepthwiseBytes": row(0, 2, 7, buildConvDepthwiseBytes),
	// Conv, activated, then a depthwise one, activated, + residual.
	"ConvDepthwise": row(0, 3, 6, buildConvDepthwise),
	// Images [N,H,W,C], and the conversions to that form and back.
	"ChannelsLast":      row(0, 1, 1, buildToNHWC),
	"RowsToImage":       row(0, 2, 2, buildRowsToImage),
	"ImageToRows":       row(0, 2, 2, buildImageToRows),
	"ChannelsFirst":     row(0, 1, 1, buildChannels([]int{0, 3, 1, 2})),
	"GlobalAveragePool": row(0, 1, 1, buildGlobalAveragePoolNHWC),
	"MaxPool":           row(0, 1, 1, buildPoolNHWC),
	"AveragePool":       row(0, 1, 1, buildPoolNHWC),
	"Resize":            row(0, 1, 4, buildResize),
	// Channels of images, with zeros behind them up to a multiple.
	"PadChannels": row(0, 1, 1, buildPadChannels),
	// The last position alone, unless a run asks for all.
	"LastPosition": row(0, 1, 1, buildLastPosition),
	// One element each.
	"Gelu":     activating(0, kernel.Gelu, gelu64),
	"GeluTanh": activating(0, kernel.GeluTanh, geluTanh64),
	"Swish":    row(0, 1, 1, swishOp(1)).is(Elementwise).activates(swish(1)),
	// softmax(scale*Q*K' + masks) * V.
	"Attention": row(0, 3, 5, buildFusedAttention),
	// Concat of a decoder's cache and its new rows.
	"Append": row(0, 2, 2, buildAppend),
}

// find returns the operator if this engine has it in that version.
func find(domain, op string, version int) (def, bool) {
	if domain == FusedDomain {
		d, ok := fused[op]
		return d, ok
	}
	switch domain {
	case "com.microsoft":
		d, ok := microsoft[op]
		return d, ok && version >= d.since
	case "ai.onnx.ml":
		d, ok := learning[op]
		return d, ok && version >= d.since
	}
	if domain != "" {
		return def{}, false
	}
	d, ok := table[op]
	last := newestOpset
	if d.last > 0 {
		last = d.last
	}
	return d, ok && version >= d.since && version <= last
}

// Supported says whether the engine has an operator in a version of its operator set.
func Supported(domain, op string, version int) bool {
	_, ok := find(domain, op, version)
	return ok
}

// Has says whether the operator of a node has all the traits of t.
func Has(n *ir.Node, t Trait) bool {
	d, ok := find(n.Domain, n.Op, n.Version)
	return ok && d.traits&t == t
}

// Names lists the operators of the default domain that the engine has.
func Names() []string { return slices.Sorted(maps.Keys(table)) }

// Inputs returns how many inputs an operator of Names takes; high is -1 where there is no bound.
func Inputs(name string) (low, high int) { return table[name].low, table[name].high }
