package fallback_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/internal/pb"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

func ints(v ...int64) *tensor.Tensor { return tensor.Must(tensor.New([]int{len(v)}, v)) }

// hostile is a graph from x float32[n] to y that must fail with engine.ErrGraph, at the latest when
// it runs.
type hostile struct {
	name  string
	build func(b *onnx.Builder)
	want  string // part of the message
}

func oneToFour() map[string]*tensor.Tensor {
	return map[string]*tensor.Tensor{"x": tensor.Must(tensor.New([]int{4}, []float32{1, 2, 3, 4}))}
}

// scalars adds an initializer of one dimension.
func scalars(b *onnx.Builder, v ...float32) string {
	return b.Const(tensor.Must(tensor.New([]int{len(v)}, v)))
}

func op(name string, in []string, attrs onnx.Attrs) func(b *onnx.Builder) {
	return func(b *onnx.Builder) { b.NodeTo(name, in, []string{"y"}, attrs) }
}

// initialize gives the graph an initializer w.
func initialize(b *onnx.Builder, w *pb.TensorProto) {
	w.Name = proto.String("w")
	b.Model.Graph.Initializer = append(b.Model.Graph.Initializer, w)
}

var hostileGraphs = []hostile{
	{"cycle", func(b *onnx.Builder) {
		b.NodeTo("Add", []string{"x", "c"}, []string{"y"}, nil)
		b.NodeTo("Neg", []string{"y"}, []string{"c"}, nil)
	}, "cycle"},
	{"self", op("Add", []string{"x", "y"}, nil), "cycle"},
	{"missing", op("Add", []string{"x", "nowhere"}, nil), `"nowhere"`},
	{"twice", func(b *onnx.Builder) {
		b.NodeTo("Neg", []string{"x"}, []string{"y"}, nil)
		b.NodeTo("Abs", []string{"x"}, []string{"y"}, nil)
	}, "something else"},
	{"shadows input", func(b *onnx.Builder) {
		b.NodeTo("Neg", []string{"x"}, []string{"x"}, nil)
	}, "something else"},
	{"output of nothing", func(b *onnx.Builder) {}, "nothing computes"},
	{"unknown operator", op("Teleport", []string{"x"}, nil), "Teleport"},
	{"attribute type", op("Concat", []string{"x", "x"}, onnx.Attrs{"axis": "first"}), "axis"},
	{"attribute missing", op("Concat", []string{"x", "x"}, nil), "axis"},
	{"too few inputs", op("Add", []string{"x"}, nil), "inputs"},
	{"left-out input", op("Add", []string{"x", ""}, nil), "left out"},
	{"axis", op("Concat", []string{"x", "x"}, onnx.Attrs{"axis": 7}), "axis"},
	{"negative axis", op("Softmax", []string{"x"}, onnx.Attrs{"axis": -9}), "axis"},
	{"10 GB of zeros", func(b *onnx.Builder) {
		b.NodeTo("ConstantOfShape", []string{b.Ints(50000, 50000)}, []string{"y"}, nil)
	}, "limit"},
	{"overflowing shape", func(b *onnx.Builder) {
		b.NodeTo("ConstantOfShape", []string{b.Ints(1<<40, 1<<40)}, []string{"y"}, nil)
	}, ""},
	{"negative shape", func(b *onnx.Builder) {
		b.NodeTo("ConstantOfShape", []string{b.Ints(-5)}, []string{"y"}, nil)
	}, "negative"},
	{"expand", func(b *onnx.Builder) {
		b.NodeTo("Expand", []string{"x", b.Ints(1<<31, 4)}, []string{"y"}, nil)
	}, "limit"},
	{"tile", func(b *onnx.Builder) {
		b.NodeTo("Tile", []string{"x", b.Ints(1 << 40)}, []string{"y"}, nil)
	}, ""},
	{"tile by less than nothing", func(b *onnx.Builder) {
		b.NodeTo("Tile", []string{"x", b.Ints(-1)}, []string{"y"}, nil)
	}, "negative"},
	{"range", func(b *onnx.Builder) {
		b.NodeTo("Range", []string{scalar(b, 0), scalar(b, 1e30), scalar(b, 1e-30)}, []string{"y"}, nil)
	}, ""},
	{"range by nothing", func(b *onnx.Builder) {
		one := b.Const(tensor.Scalar(int64(1)))
		b.NodeTo("Range", []string{one, one, b.Const(tensor.Scalar(int64(0)))}, []string{"y"}, nil)
	}, "step"},
	{"pad", func(b *onnx.Builder) {
		b.NodeTo("Pad", []string{"x", b.Ints(1<<50, 1<<50)}, []string{"y"}, nil)
	}, "Pad"},
	{"gather index", func(b *onnx.Builder) {
		b.NodeTo("Gather", []string{"x", b.Ints(1 << 40)}, []string{"y"}, nil)
	}, "index"},
	{"gather from nothing", func(b *onnx.Builder) {
		nothing := b.Const(tensor.Must(tensor.Zeros(tensor.Float32, 0)))
		b.NodeTo("Gather", []string{nothing, b.Ints(0)}, []string{"y"}, nil)
	}, "index"},
	{"scatter index", func(b *onnx.Builder) {
		i := b.Const(tensor.Must(tensor.New([]int{1, 1}, []int64{-77})))
		b.NodeTo("ScatterND", []string{"x", i, "x"}, []string{"y"}, nil)
	}, ""},
	{"reshape", func(b *onnx.Builder) {
		b.NodeTo("Reshape", []string{"x", b.Ints(-1, -1)}, []string{"y"}, nil)
	}, "Reshape"},
	{"reshape to much", func(b *onnx.Builder) {
		b.NodeTo("Reshape", []string{"x", b.Ints(1<<40, 1<<40)}, []string{"y"}, nil)
	}, ""},
	{"slice step", func(b *onnx.Builder) {
		b.NodeTo("Slice", []string{"x", b.Ints(0), b.Ints(4), b.Ints(0), b.Ints(0)}, []string{"y"}, nil)
	}, "step"},
	{"slice lengths", func(b *onnx.Builder) {
		b.NodeTo("Slice", []string{"x", b.Ints(0, 0), b.Ints(4)}, []string{"y"}, nil)
	}, "Slice"},
	{"resize", func(b *onnx.Builder) {
		b.NodeTo("Resize", []string{"x", "", scalars(b, 1e30)}, []string{"y"}, nil)
	}, "Resize"},
	{"resize to much", func(b *onnx.Builder) {
		b.NodeTo("Resize", []string{"x", "", scalars(b, 2e8)}, []string{"y"}, nil)
	}, "limit"},
	{"resize by nothing", func(b *onnx.Builder) {
		b.NodeTo("Resize", []string{"x", "", scalars(b, 0)}, []string{"y"}, nil)
	}, "Resize"},
	{"resize without scales", op("Resize", []string{"x"}, nil), "without scales"},
	{"resize to less than nothing", func(b *onnx.Builder) {
		b.NodeTo("Resize", []string{"x", "", "", b.Ints(-1)}, []string{"y"}, nil)
	}, "Resize"},
	{"recurrent", op("LSTM", []string{"x", "x", "x"}, nil), "LSTM of"},
	{"recurrent activation", op("RNN", []string{"x", "x", "x"}, onnx.Attrs{"direction": "up"}), "up"},
	{"fourier", func(b *onnx.Builder) {
		at := b.Node("Reshape", []string{"x", b.Ints(1, 2, 2)}, nil)
		b.NodeTo("DFT", []string{at, b.Const(tensor.Scalar(int64(1<<31 - 1)))}, []string{"y"}, nil)
	}, "limit"},
	{"unique axis", op("Unique", []string{"x"}, onnx.Attrs{"axis": 3}), "axis"},
	{"transpose", op("Transpose", []string{"x"}, onnx.Attrs{"perm": []int{0, 0}}), "Transpose"},
	{"split", op("Split", []string{"x"}, onnx.Attrs{"split": []int{1 << 30, -(1 << 30)}}), "Split"},
	{"unsqueeze", func(b *onnx.Builder) {
		b.NodeTo("Unsqueeze", []string{"x", b.Ints(make([]int64, 500)...)}, []string{"y"}, nil)
	}, ""},
	{"types", func(b *onnx.Builder) {
		b.NodeTo("Add", []string{"x", b.Ints(1)}, []string{"y"}, nil)
	}, "int64"},
	{"float indices", op("Gather", []string{"x", "x"}, nil), "integers"},
	{"convolution of a row", op("Conv", []string{"x", "x"}, nil), "convolution"},
	{"convolution window", func(b *onnx.Builder) {
		t := do(b, "Reshape", "x", b.Ints(1, 1, 2, 2))
		b.NodeTo("MaxPool", []string{t}, []string{"y"},
			onnx.Attrs{"kernel_shape": []int{1 << 19, 1 << 19}, "auto_pad": "SAME_UPPER"})
	}, "window"},
	{"convolution stride", func(b *onnx.Builder) {
		t := do(b, "Reshape", "x", b.Ints(1, 1, 2, 2))
		b.NodeTo("MaxPool", []string{t}, []string{"y"},
			onnx.Attrs{"kernel_shape": []int{1, 1}, "strides": []int{0, 1}})
	}, "strides"},
	{"convolution groups", func(b *onnx.Builder) {
		t := do(b, "Reshape", "x", b.Ints(1, 1, 2, 2))
		b.NodeTo("Conv", []string{t, t}, []string{"y"}, onnx.Attrs{"group": 0})
	}, "groups"},
	{"einsum", op("Einsum", []string{"x"}, onnx.Attrs{"equation": "i->ij"}), "einsum"},
	{"einsum without an operand", op("Einsum", []string{"x", ""}, onnx.Attrs{"equation": "i,i->i"}), "left out"},
	{"einsum nonsense", op("Einsum", []string{"x"}, onnx.Attrs{"equation": "%$->"}), "equation"},
	{"onehot", func(b *onnx.Builder) {
		depth := b.Const(tensor.Scalar(int64(1 << 45)))
		values := b.Const(tensor.Must(tensor.New([]int{2}, []float32{0, 1})))
		b.NodeTo("OneHot", []string{b.Ints(0, 1), depth, values}, []string{"y"}, nil)
	}, ""},
	{"topk", func(b *onnx.Builder) {
		b.NodeTo("TopK", []string{"x", b.Ints(99)}, []string{"y", "i"}, nil)
	}, "TopK"},
	{"cast to nothing", op("Cast", []string{"x"}, onnx.Attrs{"to": 99}), "element type 99"},
	{"constant of nothing", op("Constant", nil, nil), "Constant"},
	{"huge constant", func(b *onnx.Builder) {
		initialize(b, &pb.TensorProto{
			DataType: proto.Int32(1), Dims: []int64{1 << 31, 5}, RawData: []byte{1, 2, 3, 4},
		})
		b.NodeTo("Add", []string{"x", "w"}, []string{"y"}, nil)
	}, "needs"},
	{"constant with negative size", func(b *onnx.Builder) {
		initialize(b, &pb.TensorProto{
			DataType: proto.Int32(1), Dims: []int64{-4}, RawData: []byte{1, 2, 3, 4},
		})
		b.NodeTo("Add", []string{"x", "w"}, []string{"y"}, nil)
	}, "dimension"},
	{"constant of strings", func(b *onnx.Builder) {
		initialize(b, &pb.TensorProto{DataType: proto.Int32(8)})
		b.NodeTo("Add", []string{"x", "w"}, []string{"y"}, nil)
	}, "string"},
	{"operator set of the future", func(b *onnx.Builder) {
		b.Model.OpsetImport[0].Version = proto.Int64(9999)
		b.NodeTo("Add", []string{"x", "x"}, []string{"y"}, nil)
	}, "version 9999"},
	{"no operator set", func(b *onnx.Builder) {
		b.Model.OpsetImport = nil
		b.NodeTo("Add", []string{"x", "x"}, []string{"y"}, nil)
	}, "Add"},
}

func external(location, offset, length string) func(b *onnx.Builder) {
	return func(b *onnx.Builder) {
		w := &pb.TensorProto{
			DataType: proto.Int32(1), Dims: []int64{4}, DataLocation: pb.TensorProto_EXTERNAL.Enum(),
		}
		entries := map[string]string{"location": location, "offset": offset, "length": length}
		for k, v := range entries {
			if v != "" {
				entry := &pb.StringStringEntryProto{Key: proto.String(k), Value: proto.String(v)}
				w.ExternalData = append(w.ExternalData, entry)
			}
		}
		initialize(b, w)
		b.NodeTo("Add", []string{"x", "w"}, []string{"y"}, nil)
	}
}

var hostileExternal = []hostile{
	{"above", external("../secret.bin", "", ""), "outside"},
	{"above after below", external("sub/../../secret.bin", "", ""), "outside"},
	{"absolute", external("/etc/passwd", "", ""), "outside"},
	{"backslashes", external(`..\secret.bin`, "", ""), "outside"},
	{"absent", external("absent.bin", "", ""), "absent.bin"},
	{"no location", external("", "", ""), "outside"},
	{"directory", external(".", "", ""), "regular"},
	{"beyond the end", external("weights.bin", "8", ""), "asked for"},
	{"far beyond the end", external("weights.bin", "9223372036854775807", ""), "asked for"},
	{"negative offset", external("weights.bin", "-4", ""), "asked for"},
	{"wrong length", external("weights.bin", "", "8"), "length"},
	{"offset of letters", external("weights.bin", "four", ""), "number"},
}

// It counts what the process allocates, so it runs alone.
func TestHostileGraphs(t *testing.T) {
	root := t.TempDir()
	dir := filepath.Join(root, "model")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, f := range []string{"secret.bin", "model/weights.bin"} {
		if err := os.WriteFile(filepath.Join(root, f), make([]byte, 16), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	e := fallback.New()
	ctx := context.Background()
	for _, h := range append(hostileGraphs, hostileExternal...) {
		t.Run(h.name, func(t *testing.T) {
			b := onnx.NewBuilder("hostile", 17)
			b.Input("x", tensor.Float32, "n")
			b.Output("y", tensor.Float32, "m")
			h.build(b)
			data, err := b.Bytes()
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(dir, "model.onnx"), data, 0o644); err != nil {
				t.Fatal(err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			source := engine.FileSource(filepath.Join(dir, "model.onnx"))
			s, err := e.Open(ctx, source, engine.Options{})
			if err == nil {
				defer s.Close()
				_, err = s.Run(ctx, oneToFour())
			}
			runtime.ReadMemStats(&after)
			if !errors.Is(err, engine.ErrGraph) || !strings.Contains(err.Error(), h.want) {
				t.Errorf("error %v, want one about %q", err, h.want)
			}
			if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
				t.Errorf("took %d MB before it failed", used>>20)
			}
		})
	}
}

// The same file in memory and with external data that is there.
func TestExternalData(t *testing.T) {
	t.Parallel()
	b := onnx.NewBuilder("external", 17)
	b.Input("x", tensor.Float32, "n")
	b.Output("y", tensor.Float32, "n")
	external("data/weights.bin", "4", "16")(b)
	data, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	weights := make([]byte, 20)
	weights[4+3], weights[4+2] = 0x3f, 0x80 // 1.0 in little-endian order
	files := fstest.MapFS{"m/model.onnx": {Data: data}, "m/data/weights.bin": {Data: weights}}
	source := engine.Source{FS: files, Name: "m/model.onnx"}
	s, err := fallback.New().Open(t.Context(), source, engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	out, err := s.Run(t.Context(), oneToFour())
	if err != nil {
		t.Fatal(err)
	}
	if y := tensor.Data[float32](out["y"]); y[0] != 2 || y[3] != 4 {
		t.Error(y)
	}
}
