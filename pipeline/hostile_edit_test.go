package pipeline

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"testing"
	"testing/fstest"

	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/internal/pb"
)

// The edits that make bad bundles out of the good ones of testdata/families.

// files are a bundle's, by name.
type files map[string][]byte

// goodBundles are the golden models' files, each bundle read once for all its rows.
var goodBundles = map[string]files{}

// goodFiles are the files of a golden model's bundle. The map is the caller's, what is in it is
// not: edits put another slice in its place.
func goodFiles(t *testing.T, name string) files {
	t.Helper()
	if goodBundles[name] == nil {
		f := files{}
		for path, file := range only(t, filepath.Join(familiesDir, name, "bundle")) {
			f[path] = file.Data
		}
		goodBundles[name] = f
	}
	return maps.Clone(goodBundles[name])
}

func (f files) fs() (fsys fstest.MapFS, size int) {
	fsys = fstest.MapFS{}
	for name, data := range f {
		fsys[name] = &fstest.MapFile{Data: data, Mode: 0o644}
		size += len(data)
	}
	return fsys, size
}

// sharedGraphs is an engine that opens each graph of the good bundles once, for all the rows which
// leave it as it is; a graph that a row changed is opened for that row.
type sharedGraphs struct {
	engine.Engine
	opened map[string]engine.Session // by bundle and file
	bundle string                    // the row's
}

func (e *sharedGraphs) Open(ctx context.Context, source engine.Source, opts engine.Options) (engine.Session, error) {
	data, err := fs.ReadFile(source.FS, source.Name)
	if good := goodBundles[e.bundle][source.Name]; err != nil || good == nil || !bytes.Equal(data, good) {
		return e.Engine.Open(ctx, source, opts)
	}
	if err := source.Checked(source.Name, data); err != nil {
		return nil, err
	}
	key := e.bundle + "/" + source.Name
	if e.opened[key] == nil {
		session, err := e.Engine.Open(ctx, source, opts)
		if err != nil {
			return nil, err
		}
		e.opened[key] = session
	}
	return leftOpen{e.opened[key]}, nil
}

// leftOpen is a session that others go on using.
type leftOpen struct{ engine.Session }

func (leftOpen) Close() error { return nil }

func (e *sharedGraphs) close(t *testing.T) {
	for _, session := range e.opened {
		if err := session.Close(); err != nil {
			t.Error(err)
		}
	}
}

type edit func(t *testing.T, f files)

func put(name, content string) edit { return func(_ *testing.T, f files) { f[name] = []byte(content) } }

func drop(name string) edit { return func(_ *testing.T, f files) { delete(f, name) } }

// cut leaves a share of a file.
func cut(name string, share float64) edit {
	return func(_ *testing.T, f files) { f[name] = f[name][:int(share*float64(len(f[name])))] }
}

// set changes a JSON file: the value at the path of keys, which must be an
// object's; nil removes it.
func set(name string, value any, path ...string) edit {
	return func(t *testing.T, f files) {
		var root map[string]any
		if err := json.Unmarshal(f[name], &root); err != nil {
			t.Fatal(err)
		}
		at := root
		for _, key := range path[:len(path)-1] {
			next, ok := at[key].(map[string]any)
			if !ok {
				next = map[string]any{}
				at[key] = next
			}
			at = next
		}
		if last := path[len(path)-1]; value == nil {
			delete(at, last)
		} else {
			at[last] = value
		}
		data, err := json.Marshal(root)
		if err != nil {
			t.Fatal(err)
		}
		f[name] = data
	}
}

func all(edits ...edit) edit {
	return func(t *testing.T, f files) {
		for _, e := range edits {
			e(t, f)
		}
	}
}

// change edits an ONNX file.
func change(name string, how ...func(m *pb.ModelProto)) edit {
	return func(t *testing.T, f files) {
		var m pb.ModelProto
		if err := proto.Unmarshal(f[name], &m); err != nil {
			t.Fatal(err)
		}
		for _, h := range how {
			h(&m)
		}
		data, err := proto.Marshal(&m)
		if err != nil {
			t.Fatal(err)
		}
		f[name] = data
	}
}

func node(op string, in, out []string, attrs ...*pb.AttributeProto) *pb.NodeProto {
	return &pb.NodeProto{OpType: proto.String(op), Input: in, Output: out, Attribute: attrs}
}

func attrInt(name string, v int64) *pb.AttributeProto {
	return &pb.AttributeProto{Name: proto.String(name), Type: pb.AttributeProto_INT.Enum(), I: proto.Int64(v)}
}

func attrInts(name string, v ...int64) *pb.AttributeProto {
	return &pb.AttributeProto{Name: proto.String(name), Type: pb.AttributeProto_INTS.Enum(), Ints: v}
}

// constant adds an initializer of int64.
func constant(m *pb.ModelProto, name string, v ...int64) string {
	raw := []byte{}
	for _, x := range v {
		raw = binary.LittleEndian.AppendUint64(raw, uint64(x))
	}
	m.Graph.Initializer = append(m.Graph.Initializer, &pb.TensorProto{
		Name: proto.String(name), DataType: proto.Int32(7), Dims: []int64{int64(len(v))}, RawData: raw})
	return name
}

// through puts a node between what computes an output and the output. Its other
// inputs are int64 constants.
func through(output, op string, dtype int32, constants [][]int64, attrs ...*pb.AttributeProto) func(m *pb.ModelProto) {
	return func(m *pb.ModelProto) {
		inner := output + ".before"
		for _, n := range m.Graph.Node {
			for i, o := range n.Output {
				if o == output {
					n.Output[i] = inner
				}
			}
			for i, in := range n.Input {
				if in == output {
					n.Input[i] = inner
				}
			}
		}
		in := []string{inner}
		for i, c := range constants {
			in = append(in, constant(m, output+".constant"+string(rune('0'+i)), c...))
		}
		m.Graph.Node = append(m.Graph.Node, node(op, in, []string{output}, attrs...))
		for _, o := range m.Graph.Output {
			if o.GetName() == output {
				o.Type.GetTensorType().Shape = nil // or it would say what is not so
				if dtype != 0 {
					o.Type.GetTensorType().ElemType = proto.Int32(dtype)
				}
			}
		}
	}
}

// Ways to give an output that is not what its name promises.
func asInt(output string) func(m *pb.ModelProto) {
	return through(output, "Cast", 7, nil, attrInt("to", 7))
}
func flat(output string) func(m *pb.ModelProto) {
	return through(output, "Reshape", 0, [][]int64{{-1}})
}
func doubled(output string) func(m *pb.ModelProto) { // rows twice
	return func(m *pb.ModelProto) {
		through(output, "Concat", 0, nil, attrInt("axis", 0))(m)
		n := m.Graph.Node[len(m.Graph.Node)-1]
		n.Input = append(n.Input, n.Input[0])
	}
}
func emptied(output string) func(m *pb.ModelProto) { // no columns
	return through(output, "Slice", 0, [][]int64{{0}, {0}, {-1}})
}
func noRows(output string) func(m *pb.ModelProto) {
	return through(output, "Slice", 0, [][]int64{{0}, {0}, {0}})
}
func notNumbers(output string) func(m *pb.ModelProto) { // sqrt(-1-x*x)
	return func(m *pb.ModelProto) {
		through(output, "Sqrt", 0, nil)(m)
		n := m.Graph.Node[len(m.Graph.Node)-1]
		in := n.Input[0]
		square, negative, one := in+".square", in+".negative", in+".one"
		m.Graph.Initializer = append(m.Graph.Initializer, &pb.TensorProto{
			Name: proto.String(one), DataType: proto.Int32(1), Dims: []int64{1}, RawData: binary.LittleEndian.AppendUint32(nil, math.Float32bits(-1))})
		last := len(m.Graph.Node) - 1
		m.Graph.Node = append(m.Graph.Node[:last],
			node("Mul", []string{in, in}, []string{square}), node("Sub", []string{one, square}, []string{negative}), n)
		n.Input[0] = negative
	}
}

// renamed gives an input or output another name, inside the graph too.
func renamed(from, to string) func(m *pb.ModelProto) {
	return func(m *pb.ModelProto) {
		for _, list := range [][]*pb.ValueInfoProto{m.Graph.Input, m.Graph.Output} {
			for _, v := range list {
				if v.GetName() == from {
					v.Name = proto.String(to)
				}
			}
		}
		for _, n := range m.Graph.Node {
			for _, names := range [][]string{n.Input, n.Output} {
				for i, name := range names {
					if name == from {
						names[i] = to
					}
				}
			}
		}
	}
}

// weight is the first initializer of float32 with elements in it, large ones first.
func weight(m *pb.ModelProto) *pb.TensorProto {
	var best *pb.TensorProto
	for _, w := range m.Graph.Initializer {
		if w.GetDataType() == 1 && len(w.RawData) > 0 && (best == nil || len(w.RawData) > len(best.RawData)) {
			best = w
		}
	}
	return best
}

func nanWeights(m *pb.ModelProto) {
	for _, w := range m.Graph.Initializer {
		if w.GetDataType() == 1 && len(w.RawData) > 64 {
			for i := 0; i+4 <= len(w.RawData); i += 4 {
				binary.LittleEndian.PutUint32(w.RawData[i:], 0x7fc00000)
			}
		}
	}
}

// outside makes the largest weight external data.
func outside(location, offset, length string) func(m *pb.ModelProto) {
	return func(m *pb.ModelProto) {
		w := weight(m)
		w.RawData, w.DataLocation = nil, pb.TensorProto_EXTERNAL.Enum()
		for _, kv := range [][2]string{{"location", location}, {"offset", offset}, {"length", length}} {
			if kv[1] != "" {
				w.ExternalData = append(w.ExternalData, &pb.StringStringEntryProto{Key: proto.String(kv[0]), Value: proto.String(kv[1])})
			}
		}
	}
}

// weightFile writes a file of that format with any header.
func weightFile(header string, data []byte) string {
	return string(append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)) + string(data)
}

func floats(n int, v float32) []byte {
	var b []byte
	for range n {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(v))
	}
	return b
}
