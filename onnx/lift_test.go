package onnx

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"unsafe"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/internal/pb"
)

// TestLift decodes models whose tensors are large, small, empty, given twice or damaged, and
// compares with what package proto makes of them.
func TestLift(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 300 {
		m := &pb.ModelProto{ProducerName: proto.String("test"), Graph: &pb.GraphProto{Name: proto.String("g")}}
		for range r.IntN(5) {
			raw := make([]byte, []int{0, 3, liftedBytes - 1, liftedBytes, 3 * liftedBytes}[r.IntN(5)])
			for j := range raw {
				raw[j] = byte(r.Uint32())
			}
			m.Graph.Initializer = append(m.Graph.Initializer, &pb.TensorProto{RawData: raw, Dims: []int64{int64(len(raw))}})
		}
		b, err := proto.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		switch i % 4 {
		case 1: // a second graph, which is joined to the first
			more := protowire.AppendTag(nil, graphInitializer, protowire.BytesType)
			tensor := protowire.AppendTag(nil, tensorRawData, protowire.BytesType)
			tensor = protowire.AppendBytes(tensor, make([]byte, liftedBytes+i))
			tensor = protowire.AppendTag(tensor, tensorRawData, protowire.BytesType)
			tensor = protowire.AppendBytes(tensor, make([]byte, []int{1, liftedBytes}[r.IntN(2)]))
			b = protowire.AppendTag(b, modelGraph, protowire.BytesType)
			b = protowire.AppendBytes(b, protowire.AppendBytes(more, tensor))
		case 2:
			b = b[:r.IntN(len(b))]
		case 3:
			b[r.IntN(min(len(b), 64))] = byte(r.Uint32())
		}
		b = bytes.Clone(b)
		var got, want pb.ModelProto
		wantErr := unmarshal(b, &want)
		gotErr := unmarshalModel(b, &got)
		if (gotErr == nil) != (wantErr == nil) {
			t.Fatalf("case %d: %v, want %v", i, gotErr, wantErr)
		}
		if wantErr == nil && !proto.Equal(&got, &want) {
			t.Fatalf("case %d: %v, want %v", i, &got, &want)
		}
		for _, p := range got.GetGraph().GetInitializer() {
			begin, at := uintptr(unsafe.Pointer(&b[0])), uintptr(unsafe.Pointer(unsafe.SliceData(p.RawData)))
			if gotErr == nil && i%4 == 0 && len(p.RawData) >= liftedBytes && (at < begin || at >= begin+uintptr(len(b))) {
				t.Fatalf("case %d: a tensor of %d bytes is a copy", i, len(p.RawData))
			}
		}
	}
}
