package onnx

import (
	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"

	"github.com/crossattn/xpipe/internal/pb"
)

// Package proto copies the bytes of tensors, so that a file whose weights lie in it would be in
// memory twice. What is large is therefore taken out of the message before it is decoded, and put
// back as part of the file's memory.

// Numbers of fields (onnx.proto).
const (
	modelGraph       = 7
	graphInitializer = 5
	tensorRawData    = 9
)

// liftedBytes is the least size of raw_data that is not decoded.
const liftedBytes = 4096

// unmarshalModel decodes a model. The large tensors of its graph share memory with b.
func unmarshalModel(b []byte, m *pb.ModelProto) error {
	l := lifter{}
	skeleton, ok := l.fields(b, modelGraph, l.graph)
	if !ok || l.lifted == 0 {
		return unmarshal(b, m) // which says what is wrong, if something is
	}
	if err := unmarshal(skeleton, m); err != nil {
		return err
	}
	tensors := m.GetGraph().GetInitializer()
	if len(tensors) != len(l.raw) {
		proto.Reset(m)
		return unmarshal(b, m)
	}
	for i, raw := range l.raw {
		if raw != nil {
			tensors[i].RawData = raw
		}
	}
	return nil
}

// lifter takes raw_data out of messages.
type lifter struct {
	raw    [][]byte // of each initializer, in order; nil for what stays
	lifted int
}

func (l *lifter) graph(b []byte) ([]byte, bool) { return l.fields(b, graphInitializer, l.tensor) }

func (l *lifter) tensor(b []byte) ([]byte, bool) {
	l.raw = append(l.raw, nil)
	if len(b) < liftedBytes {
		return b, true
	}
	at := len(l.raw) - 1
	return l.fields(b, tensorRawData, func(raw []byte) ([]byte, bool) {
		if len(raw) < liftedBytes {
			l.raw[at] = nil // given twice, the last counts
			return raw, true
		}
		l.raw[at] = raw[:len(raw):len(raw)]
		l.lifted++
		return nil, true
	})
}

// fields copies a message, the fields of a number as change makes them; a field that it makes nil
// falls away. ok is false for what is no message.
func (l *lifter) fields(b []byte, number protowire.Number, change func([]byte) ([]byte, bool)) (changed []byte, ok bool) {
	for len(b) > 0 {
		n, kind, head := protowire.ConsumeTag(b)
		if head < 0 {
			return nil, false
		}
		size := protowire.ConsumeFieldValue(n, kind, b[head:])
		if size < 0 {
			return nil, false
		}
		if n == number && kind == protowire.BytesType {
			value, _ := protowire.ConsumeBytes(b[head:])
			if value, ok = change(value); !ok {
				return nil, false
			}
			if value != nil {
				changed = protowire.AppendTag(changed, n, kind)
				changed = protowire.AppendBytes(changed, value)
			}
		} else {
			changed = append(changed, b[:head+size]...)
		}
		b = b[head+size:]
	}
	return changed, true
}
