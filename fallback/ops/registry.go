package ops

import (
	"maps"
	"math"
	"slices"

	"github.com/crossattn/xpipe/fallback/kernel"
)

// newestOpset is the newest version of the default operator set whose changes
// are taken into account here.
const newestOpset = 24

// def is an operator: the first version of the operator set whose semantics the
// engine has, how many inputs it takes (high -1: any number), and how to build
// it.
type def struct {
	since, low, high int
	build            func(n *Node) Kernel
}

// table holds the operators of the default domain.
var table = map[string]def{
	// Arithmetic, broadcast.
	"Add":  {7, 2, 2, binaryOp(add)},
	"Sub":  {7, 2, 2, binaryOp(subtract)},
	"Mul":  {7, 2, 2, binaryOp(multiply)},
	"Div":  {7, 2, 2, binaryOp(divide)},
	"Mod":  {10, 2, 2, buildMod},
	"Pow":  {7, 2, 2, buildPow},
	"Max":  {8, 1, -1, foldOp(maximum, false)},
	"Min":  {8, 1, -1, foldOp(minimum, false)},
	"Sum":  {8, 1, -1, foldOp(add, false)},
	"Mean": {8, 1, -1, foldOp(add, true)},
	// Comparison and logic.
	"Equal":          {7, 2, 2, compareOp(equal, equal, equal)},
	"Less":           {7, 2, 2, compareOp(less, less, nil)},
	"LessOrEqual":    {12, 2, 2, compareOp(lessEq, lessEq, nil)},
	"Greater":        {7, 2, 2, compareOp(greater, greater, nil)},
	"GreaterOrEqual": {12, 2, 2, compareOp(greaterEq, greaterEq, nil)},
	"And":            {7, 2, 2, logicalOp(logicalAnd)},
	"Or":             {7, 2, 2, logicalOp(logicalOr)},
	"Xor":            {7, 2, 2, logicalOp(logicalXor)},
	"Not":            {1, 1, 1, buildNot},
	"Where":          {9, 3, 3, buildWhere},
	"IsNaN":          {9, 1, 1, buildIsNaN},
	"IsInf":          {10, 1, 1, buildIsInf},
	// Functions of one element.
	"Abs":             {6, 1, 1, numberOp(each(absFloat), absInt)},
	"Neg":             {6, 1, 1, numberOp(kernel.Neg, func(v int64) int64 { return -v })},
	"Sign":            {9, 1, 1, numberOp(each(signFloat), signInt)},
	"Relu":            {6, 1, 1, numberOp(kernel.Relu, func(v int64) int64 { return max(v, 0) })},
	"Reciprocal":      {6, 1, 1, floatOp(each(func(v float32) float32 { return 1 / v }))},
	"Sqrt":            {6, 1, 1, floatOp(kernel.Sqrt)},
	"Exp":             {6, 1, 1, floatOp(kernel.Exp)},
	"Log":             {6, 1, 1, math64(math.Log)},
	"Erf":             {9, 1, 1, floatOp(kernel.Erf)},
	"Sigmoid":         {6, 1, 1, floatOp(kernel.Sigmoid)},
	"Tanh":            {6, 1, 1, floatOp(kernel.Tanh)},
	"Sin":             {7, 1, 1, math64(math.Sin)},
	"Cos":             {7, 1, 1, math64(math.Cos)},
	"Tan":             {7, 1, 1, math64(math.Tan)},
	"Asin":            {7, 1, 1, math64(math.Asin)},
	"Acos":            {7, 1, 1, math64(math.Acos)},
	"Atan":            {7, 1, 1, math64(math.Atan)},
	"Sinh":            {9, 1, 1, math64(math.Sinh)},
	"Cosh":            {9, 1, 1, math64(math.Cosh)},
	"Asinh":           {9, 1, 1, math64(math.Asinh)},
	"Acosh":           {9, 1, 1, math64(math.Acosh)},
	"Atanh":           {9, 1, 1, math64(math.Atanh)},
	"Floor":           {6, 1, 1, math64(math.Floor)},
	"Ceil":            {6, 1, 1, math64(math.Ceil)},
	"Round":           {11, 1, 1, math64(math.RoundToEven)},
	"Softplus":        {1, 1, 1, math64(softplus)},
	"Softsign":        {1, 1, 1, math64(softsign)},
	"Mish":            {18, 1, 1, math64(mish)},
	"HardSwish":       {14, 1, 1, floatOp(each(hardSwish))},
	"HardSigmoid":     {6, 1, 1, buildHardSigmoid},
	"LeakyRelu":       {6, 1, 1, buildLeakyRelu},
	"PRelu":           {7, 2, 2, binaryOp(prelu)},
	"ThresholdedRelu": {10, 1, 1, buildThresholdedRelu},
	"Elu":             {6, 1, 1, buildElu},
	"Celu":            {12, 1, 1, buildCelu},
	"Selu":            {6, 1, 1, buildSelu},
	"Shrink":          {9, 1, 1, buildShrink},
	"Gelu":            {20, 1, 1, buildGelu},
	"Swish":           {24, 1, 1, buildSwish},
	"Clip":            {6, 1, 3, buildClip},
	"Dropout":         {7, 1, 3, buildDropout},
	"Identity":        {1, 1, 1, buildIdentity},
	"Cast":            {6, 1, 1, buildCast},
	"CastLike":        {15, 2, 2, buildCastLike},
	// Shapes and movement.
	"Shape":           {1, 1, 1, buildShape},
	"Size":            {1, 1, 1, buildSize},
	"Reshape":         {5, 2, 2, buildReshape},
	"Flatten":         {1, 1, 1, buildFlatten},
	"Squeeze":         {1, 1, 2, buildSqueeze},
	"Unsqueeze":       {1, 1, 2, buildUnsqueeze},
	"Expand":          {8, 2, 2, buildExpand},
	"Transpose":       {1, 1, 1, buildTranspose},
	"Slice":           {1, 1, 5, buildSlice},
	"Concat":          {4, 1, -1, buildConcat},
	"Split":           {2, 1, 2, buildSplit},
	"Tile":            {6, 2, 2, buildTile},
	"Pad":             {2, 1, 4, buildPad},
	"Trilu":           {14, 1, 2, buildTrilu},
	"DepthToSpace":    {1, 1, 1, buildDepthToSpace},
	"SpaceToDepth":    {1, 1, 1, buildSpaceToDepth},
	"Constant":        {1, 0, 0, buildConstant},
	"ConstantOfShape": {9, 1, 1, buildConstantOfShape},
	"Range":           {11, 3, 3, buildRange},
	"EyeLike":         {9, 1, 1, buildEyeLike},
	// Selection by index.
	"Gather":          {1, 2, 2, buildGather},
	"GatherElements":  {11, 2, 2, buildGatherElements},
	"GatherND":        {11, 2, 2, buildGatherND},
	"ScatterND":       {11, 3, 3, buildScatterND},
	"ScatterElements": {11, 3, 3, buildScatterElements},
	"NonZero":         {9, 1, 1, buildNonZero},
	"Compress":        {9, 2, 2, buildCompress},
	"OneHot":          {9, 3, 3, buildOneHot},
	"ArgMax":          {1, 1, 1, buildArg(true)},
	"ArgMin":          {1, 1, 1, buildArg(false)},
	"TopK":            {1, 1, 2, buildTopK},
	"CumSum":          {11, 2, 2, buildCumSum},
	// Reductions.
	"ReduceSum":       {1, 1, 2, reduceOp(reduceSum, 13)},
	"ReduceMean":      {1, 1, 2, reduceOp(reduceMean, 18)},
	"ReduceMax":       {1, 1, 2, reduceOp(reduceMax, 18)},
	"ReduceMin":       {1, 1, 2, reduceOp(reduceMin, 18)},
	"ReduceProd":      {1, 1, 2, reduceOp(reduceProd, 18)},
	"ReduceL1":        {1, 1, 2, reduceOp(reduceL1, 18)},
	"ReduceL2":        {1, 1, 2, reduceOp(reduceL2, 18)},
	"ReduceSumSquare": {1, 1, 2, reduceOp(reduceSquare, 18)},
	"ReduceLogSum":    {1, 1, 2, reduceOp(reduceLogSum, 18)},
	"ReduceLogSumExp": {1, 1, 2, reduceOp(reduceLogSumExp, 18)},
	// Products.
	"MatMul": {1, 2, 2, buildMatMul},
	"Gemm":   {7, 2, 3, buildGemm},
	"Einsum": {12, 1, -1, buildEinsum},
	// Normalisation.
	"Softmax":               {1, 1, 1, softmaxOp(kernel.Softmax)},
	"LogSoftmax":            {1, 1, 1, softmaxOp(logSoftmax)},
	"Hardmax":               {1, 1, 1, softmaxOp(hardmax)},
	"LayerNormalization":    {17, 2, 3, buildLayerNorm},
	"RMSNormalization":      {23, 2, 2, buildRMSNorm},
	"BatchNormalization":    {9, 5, 5, buildBatchNorm},
	"InstanceNormalization": {6, 3, 3, buildInstanceNorm},
	"GroupNormalization":    {18, 3, 3, buildGroupNorm},
	"LRN":                   {1, 1, 1, buildLRN},
	// Windows.
	"Conv":              {1, 2, 3, buildConv},
	"ConvTranspose":     {1, 2, 3, buildConvTranspose},
	"MaxPool":           {1, 1, 1, buildMaxPool},
	"AveragePool":       {1, 1, 1, buildAveragePool},
	"LpPool":            {2, 1, 1, buildLpPool},
	"GlobalAveragePool": {1, 1, 1, globalPool(reduceMean.f32)},
	"GlobalMaxPool":     {1, 1, 1, globalPool(reduceMax.f32)},
	// Quantisation.
	"QuantizeLinear":        {10, 2, 3, buildQuantizeLinear},
	"DequantizeLinear":      {10, 2, 3, buildDequantizeLinear},
	"DynamicQuantizeLinear": {11, 1, 1, buildDynamicQuantizeLinear},
	"MatMulInteger":         {10, 2, 4, buildMatMulInteger},
	"ConvInteger":           {10, 2, 4, buildConvInteger},
	"QLinearMatMul":         {10, 8, 8, buildQLinearMatMul},
	"QLinearConv":           {10, 8, 9, buildQLinearConv},
}

// find returns the operator if this engine has it in that version.
func find(domain, op string, version int) (def, bool) {
	if domain == FusedDomain {
		d, ok := fused[op]
		return d, ok
	}
	if domain != "" {
		return def{}, false
	}
	d, ok := table[op]
	return d, ok && version >= d.since && version <= newestOpset
}

// Supported says whether the engine has an operator in a version of its
// operator set.
func Supported(domain, op string, version int) bool {
	_, ok := find(domain, op, version)
	return ok
}

// Names lists the operators of the default domain that the engine has.
func Names() []string { return slices.Sorted(maps.Keys(table)) }

// Inputs returns how many inputs an operator of Names takes; high is -1 where
// there is no bound.
func Inputs(name string) (low, high int) { return table[name].low, table[name].high }
