package enginebench

import (
	"math"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/tensor"
)

// The logits behind a prompt are those of a step behind the prompt less its last token, which are
// products of many rows and of one.
func TestDecoderSteps(t *testing.T) {
	t.Parallel()
	small := decoder{
		name: "small", width: 96, layers: 2, heads: 3, kvHeads: 1, inner: 160, vocabulary: 100, most: 32, bias: true,
	}
	embeds := small
	embeds.embeds, embeds.keep = true, true
	for _, d := range []decoder{small, small.int8(), embeds, embeds.int8()} {
		s, err := fallback.New().Open(t.Context(), d.build(1, 0).Source(), engine.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		const length = 13
		whole, err := Inputs(s.Inputs(), map[string]int{"length": length, "total": length, "past": 0})
		if err != nil {
			t.Fatal(err)
		}
		want, err := s.Run(t.Context(), whole)
		if err != nil {
			t.Fatal(err)
		}
		name, width := "input_ids", 1
		if d.embeds {
			name, width = "inputs_embeds", d.width
		}
		part := func(from, to int) map[string]*tensor.Tensor {
			in, err := Inputs(s.Inputs(), map[string]int{"length": to - from, "total": to, "past": from})
			if err != nil {
				t.Fatal(err)
			}
			if d.embeds {
				copy(tensor.Data[float32](in[name]), tensor.Data[float32](whole[name])[from*width:])
			} else {
				copy(tensor.Data[int64](in[name]), tensor.Data[int64](whole[name])[from:])
			}
			return in
		}
		first, err := s.Run(t.Context(), part(0, length-1))
		if err != nil {
			t.Fatal(err)
		}
		last := part(length-1, length)
		for name := range first {
			if past := "past_key_values" + name[min(len(name), len("present")):]; last[past] != nil {
				last[past] = first[name]
			}
		}
		got, err := s.Run(t.Context(), last)
		if err != nil {
			t.Fatal(err)
		}
		all := tensor.Data[float32](want["logits"])
		for i, v := range all[len(all)-d.vocabulary:] {
			if g := tensor.Data[float32](got["logits"])[i]; !(math.Abs(float64(g-v)) <= 1e-3) {
				t.Fatalf("level %d, embeddings %t: logit %d is %v, in a prompt %v", d.level, d.embeds, i, g, v)
			}
		}
	}
}
