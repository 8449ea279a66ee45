//go:build cgo && !noort

package ort

import (
	"fmt"
	"testing"

	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// BenchmarkCache appends to the 24 caches of a decoder of 125M parameters, whose step takes some 25
// ms; the graph holds nothing but the caches. "inside" gives outputs back as they are, "released"
// says so when an old one is done with, and "copied" has every one in Go memory, as onnxruntime_go
// would.
func BenchmarkCache(b *testing.B) {
	const layers, heads, dim = 24, 12, 64
	g := onnx.NewBuilder("caches", 17)
	g.Input("new", tensor.Float32, 1, heads, 1, dim)
	for i := range layers {
		past, present := fmt.Sprint("past.", i), fmt.Sprint("present.", i)
		g.Input(past, tensor.Float32, 1, heads, "past", dim)
		all := g.Node("Concat", []string{past, "new"}, onnx.Attrs{"axis": 2})
		g.NodeTo("Slice", []string{all, g.Ints(1), g.Ints(1 << 30), g.Ints(2)}, []string{present}, nil)
		g.Output(present, tensor.Float32, 1, heads, "all", dim)
	}
	s := open(b, g)
	for _, past := range []int{64, 512} {
		for _, mode := range []string{"inside", "released", "copied"} {
			b.Run(fmt.Sprintf("%s/%d", mode, past), func(b *testing.B) {
				in := tensors{"new": ramp(1, heads, 1, dim)}
				for i := range layers {
					in[fmt.Sprint("past.", i)] = ramp(1, heads, past, dim)
				}
				b.SetBytes(layers * heads * int64(past) * dim * 4)
				for b.Loop() {
					out, err := s.Run(b.Context(), in)
					if err != nil {
						b.Fatal(err)
					}
					for i := range layers {
						name := fmt.Sprint("past.", i)
						old := in[name]
						in[name] = out[fmt.Sprint("present.", i)]
						switch mode {
						case "released":
							old.Release()
						case "copied":
							tensor.Data[float32](in[name])
						}
					}
				}
			})
		}
	}
}

// BenchmarkOverhead is the cost of a run whose graph does next to nothing.
func BenchmarkOverhead(b *testing.B) {
	s := open(b, doubler())
	in := tensors{"x": ramp(8)}
	for b.Loop() {
		if _, err := s.Run(b.Context(), in); err != nil {
			b.Fatal(err)
		}
	}
}
