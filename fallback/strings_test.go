package fallback_test

import (
	"errors"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// A graph with elements that package tensor lacks is refused when it is opened, by the operator
// that meets them and their type.
func TestOtherElementTypes(t *testing.T) {
	t.Parallel()
	code := func(t pb.TensorProto_DataType) int { return int(t) }
	graph := func(op string, attrs onnx.Attrs, in, out pb.TensorProto_DataType) *onnx.Builder {
		b := onnx.NewBuilder("other", 20)
		b.Input("x", tensor.Float32, 2)
		b.NodeTo(op, []string{"x"}, []string{"y"}, attrs)
		b.Output("y", tensor.Float32, 2)
		g := b.Model.Graph
		g.Input[0].Type.GetTensorType().ElemType = proto.Int32(int32(in))
		g.Output[0].Type.GetTensorType().ElemType = proto.Int32(int32(out))
		return b
	}
	const float, text = pb.TensorProto_FLOAT, pb.TensorProto_STRING
	within := graph("Identity", nil, float, float)
	within.Model.Graph.Node[0].Input[0] = "s"
	within.Model.Graph.Initializer = []*pb.TensorProto{{Name: proto.String("s"),
		DataType: proto.Int32(int32(text)), Dims: []int64{1}, StringData: [][]byte{[]byte("a")}}}
	for want, b := range map[string]*onnx.Builder{
		"StringNormalizer: element type string": graph("StringNormalizer", nil, text, text),
		"Cast): graph: element type string":     graph("Cast", onnx.Attrs{"to": code(text)}, float, text),
		"Cast): graph: element type uint16": graph("Cast",
			onnx.Attrs{"to": code(pb.TensorProto_UINT16)}, float, pb.TensorProto_UINT16),
		"Cast: element type string":     graph("Cast", onnx.Attrs{"to": code(float)}, text, float),
		"Identity: element type string": within,
	} {
		_, err := fallback.New().Open(t.Context(), b.Source(), engine.Options{})
		if !errors.Is(err, engine.ErrGraph) || !strings.Contains(err.Error(), want+" is not run") {
			t.Errorf("%v, want %s is not run", err, want)
		}
		data, err := b.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		m, err := onnx.Load(onnx.MemorySource(data))
		if err != nil {
			t.Fatal(err)
		}
		others := m.Summary().Others
		if len(others) != 1 || !strings.HasPrefix(want, others[0].Op) {
			t.Errorf("%v, want %s", others, want)
		}
		m.Close()
	}
}
