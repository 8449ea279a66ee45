package api

import (
	"context"
	"fmt"
	"runtime"
	"slices"
	"sync"

	"github.com/klauspost/cpuid/v2"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/ort"
)

// dynamicOps are the operators of graphs that measure the range of their activations as they run.
var dynamicOps = []string{
	"DynamicQuantizeLinear", "DynamicQuantizeMatMul", "DynamicQuantizeLSTM", "MatMulInteger",
	"ConvInteger", "MatMulIntegerToFloat",
}

// integerOps multiply quantized activations by quantized weights.
var integerOps = []string{
	"MatMulInteger", "ConvInteger", "MatMulIntegerToFloat", "QLinearMatMul", "QLinearConv",
	"DynamicQuantizeMatMul",
}

// plainInt8 opens dynamic int8 graphs operator by operator, as written: an optimizer moves where
// such a graph rounds, and each rounding moves the range of the next activation. The levels of
// ONNX Runtime's own differ by up to 59 % of an output's range on public graphs.
type plainInt8 struct {
	engine.Engine

	mu    sync.Mutex
	notes []string
}

func (e *plainInt8) Open(
	ctx context.Context, source engine.Source, opts engine.Options,
) (engine.Session, error) {
	dynamic, saturates := examineInt8(source)
	if dynamic {
		opts.NoFusion = true
		e.note("%s is dynamic int8: engine %s runs it with its optimization off, whose levels "+
			"differ from each other on such graphs", source.Name, e.Name())
	}
	if saturates && e.Name() == ort.Name && lacksVNNI() {
		e.note("%s: %s; a difference may be its own", source.Name, saturation)
	}
	return e.Engine.Open(ctx, source, opts)
}

func (e *plainInt8) note(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if note := fmt.Sprintf(format, args...); !slices.Contains(e.notes, note) {
		e.notes = append(e.notes, note)
	}
}

// saturation is a cause of differences between the engines.
const saturation = "uint8 activations x int8 weights saturate in ONNX Runtime without VNNI, " +
	"which this processor lacks; the Go engine is exact"

// lacksVNNI says whether ONNX Runtime multiplies uint8 by int8 here with an instruction that adds
// two products in 16 bits. It matters to weights beyond 7 bits.
func lacksVNNI() bool {
	return runtime.GOARCH == "amd64" && !cpuid.CPU.Supports(cpuid.AVX512VNNI) &&
		!cpuid.CPU.Supports(cpuid.AVXVNNI)
}

// examineInt8 says whether a graph is dynamic int8, and whether it has weights that saturate. A
// graph that cannot be read is left to the engines.
func examineInt8(source engine.Source) (dynamic, saturates bool) {
	model, err := onnx.Load(source)
	if err != nil {
		return false, false
	}
	defer model.Close()
	for _, op := range model.Summary().Ops {
		dynamic = dynamic || slices.Contains(dynamicOps, op.Op)
	}
	return dynamic, hasWideInt8(model.Proto.GetGraph())
}

// hasWideInt8 says whether int8 weights of more than 7 bits are multiplied in a graph.
func hasWideInt8(graph *pb.GraphProto) bool {
	wide := map[string]bool{}
	for _, t := range graph.GetInitializer() {
		if t.GetDataType() == int32(pb.TensorProto_INT8) && isWide(t) {
			wide[t.GetName()] = true
		}
	}
	return slices.ContainsFunc(graph.GetNode(), func(n *pb.NodeProto) bool {
		return slices.Contains(integerOps, n.GetOpType()) &&
			slices.ContainsFunc(n.GetInput(), func(name string) bool { return wide[name] })
	})
}

// isWide says whether two products of a weight and 255 may not fit in 16 bits. Weights in another
// file are taken for such.
func isWide(t *pb.TensorProto) bool {
	const most = 64
	for _, b := range t.GetRawData() {
		if w := int8(b); w > most || w < -most {
			return true
		}
	}
	for _, w := range t.GetInt32Data() {
		if w > most || w < -most {
			return true
		}
	}
	return t.GetDataLocation() == pb.TensorProto_EXTERNAL
}
