package attention_test

import (
	"context"
	"fmt"
	"log"
	"math"

	"github.com/crossattn/xpipe/fallback/attention"
	"github.com/crossattn/xpipe/tensor"
)

// A query that resembles the second of three keys takes its value.
func ExampleAttend() {
	q := tensor.Must(tensor.New([]int{1, 1, 1, 2}, []float32{0, 20}))
	k := tensor.Must(tensor.New([]int{1, 1, 3, 2}, []float32{1, 0, 0, 1, -1, 0}))
	v := tensor.Must(tensor.New([]int{1, 1, 3, 1}, []float32{10, 20, 30}))
	out, err := attention.Attend(context.Background(), q, k, v)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.1f\n", tensor.Data[float32](out))
	// Output: [20.0]
}

// A window of 2 over 1,000 positions visits five keys of most queries, not 1,000.
func ExampleSparse() {
	x := tensor.Must(tensor.Zeros(tensor.Float32, 1, 1, 1000, 8))
	var stats attention.Stats
	_, err := attention.Attend(context.Background(), x, x, x,
		attention.Sparse(attention.Window{Width: 2}), attention.WithStats(&stats))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(stats.Visited)
	// Output: 4994
}

// Text tokens read only the picture named last before them; the first token stands before any
// picture and gets nothing.
func ExampleMediaMask() {
	q := tensor.Must(tensor.Zeros(tensor.Float32, 1, 1, 3, 1))
	k := tensor.Must(tensor.Zeros(tensor.Float32, 1, 1, 4, 1))
	v := tensor.Must(tensor.New([]int{1, 1, 4, 1}, []float32{1, 3, 10, 20}))
	out, err := attention.Attend(context.Background(), q, k, v,
		attention.MediaMask([]int{0, 1, 2}, []int{1, 1, 2, 2}))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(tensor.Data[float32](out))
	// Output: [0 2 15]
}

// Under a memory limit the package weighs fewer keys at a time.
func ExampleMemoryLimit() {
	x := tensor.Must(tensor.Zeros(tensor.Float32, 1, 1, 2000, 16))
	for _, limit := range []int64{0, 32 << 10} {
		var stats attention.Stats
		_, err := attention.Attend(context.Background(), x, x, x,
			attention.MemoryLimit(limit), attention.Threads(1), attention.WithStats(&stats))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(stats.Chunk, "keys,", stats.Scratch, "bytes")
	}
	// Output:
	// 256 keys, 82304 bytes
	// 64 keys, 20864 bytes
}

func ExampleRollout() {
	layer := tensor.Must(tensor.New([]int{2, 2}, []float32{0, 1, 0, 1}))
	flow, err := attention.Rollout([]*tensor.Tensor{layer, layer})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(tensor.Data[float32](flow))
	// Output: [0.25 0.75 0 1]
}

func ExampleGated() {
	text := tensor.Must(tensor.New([]int{1, 2}, []float32{1, 2}))
	seen := tensor.Must(tensor.New([]int{1, 2}, []float32{100, 100}))
	out, err := attention.Gated(text, seen, []float32{0})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(tensor.Data[float32](out))
	// Output: [1 2]
}

// Picture keys that weigh 3 to 1 with a text query weigh 9 to 1 when gamma doubles the scores
// between modalities; gamma 1 changes nothing.
func ExampleBalance() {
	const text, picture = 0, 1
	q := tensor.Must(tensor.New([]int{1, 1, 1, 1}, []float32{1}))
	k := tensor.Must(tensor.New([]int{1, 1, 2, 1}, []float32{0, float32(math.Log(3))}))
	v := tensor.Must(tensor.New([]int{1, 1, 2, 1}, []float32{0, 1}))
	for _, opts := range [][]attention.Option{
		nil,
		{attention.Balance(1, []int{text}, []int{text, picture})},
		{attention.Balance(2, []int{text}, []int{text, picture})},
	} {
		out, err := attention.Attend(context.Background(), q, k, v, opts...)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%.2f\n", tensor.Data[float32](out))
	}
	// Output:
	// [0.75]
	// [0.75]
	// [0.90]
}

// Only the distance counts: a table with weight at i-j = 1 makes each query read the position
// before it. The first query has none and reads all positions alike.
func ExampleDisentangled() {
	q := tensor.Must(tensor.New([]int{1, 1, 4, 1}, []float32{1, 1, 1, 1}))
	k := tensor.Must(tensor.Zeros(tensor.Float32, 1, 1, 4, 1))
	v := tensor.Must(tensor.New([]int{1, 1, 4, 1}, []float32{10, 20, 30, 40}))
	// Rows stand for distances from -3 to 2; what is farther counts as these.
	byDistance := tensor.Must(tensor.New([]int{1, 6, 1}, []float32{0, 0, 0, 0, 100, 0}))
	none := tensor.Must(tensor.Zeros(tensor.Float32, 1, 6, 1))
	out, err := attention.Attend(context.Background(), q, k, v, attention.Disentangled(byDistance, none))
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%.1f\n", tensor.Data[float32](out))
	// Output: [25.0 10.0 20.0 30.0]
}

// Of equal scores the first key is kept. With k the number of keys, TopK is attention to all. A
// query whose keys are all hidden gives 0.
func ExampleTopK() {
	q := tensor.Must(tensor.Zeros(tensor.Float32, 1, 1, 2, 1))
	k := tensor.Must(tensor.Zeros(tensor.Float32, 1, 1, 3, 1))
	v := tensor.Must(tensor.New([]int{1, 1, 3, 1}, []float32{10, 20, 60}))
	second := tensor.Must(tensor.New([]int{2, 1}, []bool{true, false}))
	for n := 1; n <= 3; n++ {
		out, err := attention.Attend(context.Background(), q, k, v, attention.TopK(n), attention.Mask(second))
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%.1f\n", tensor.Data[float32](out))
	}
	// Output:
	// [10.0 0.0]
	// [15.0 0.0]
	// [30.0 0.0]
}

// A probe reads a sequence of any length, in any order, to one vector.
func ExamplePool() {
	same := attention.Linear{Weight: tensor.Must(tensor.New([]int{1, 1}, []float32{1}))}
	pool := attention.Pool{
		Probes:    tensor.Must(tensor.New([]int{1, 1}, []float32{1})),
		MultiHead: attention.MultiHead{Heads: 1, Query: same, Key: same, Value: same, Output: same},
	}
	for _, sequence := range [][]float32{{1, 2, 3}, {3, 1, 2}, {2, 2, 2, 2}} {
		x := tensor.Must(tensor.New([]int{1, len(sequence), 1}, sequence))
		out, err := pool.Apply(context.Background(), x)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%v %.3f\n", out.Shape(), tensor.Data[float32](out))
	}
	// Output:
	// [1 1 1] [2.575]
	// [1 1 1] [2.575]
	// [1 1 1] [2.000]
}

// A gate far to one side leaves one modality, tanh(0.5) or tanh(-1) here; a gate of 0 is their
// mean.
func ExampleGatedFusion() {
	same := attention.Linear{Weight: tensor.Must(tensor.New([]int{1, 1}, []float32{1}))}
	vision := tensor.Must(tensor.New([]int{1, 1}, []float32{0.5}))
	text := tensor.Must(tensor.New([]int{1, 1}, []float32{-1}))
	for _, gate := range []float32{100, 0, -100} {
		fusion := attention.GatedFusion{
			Gate:   attention.Linear{Weight: tensor.Must(tensor.Zeros(tensor.Float32, 1, 2)), Bias: []float32{gate}},
			Vision: same,
			Text:   same,
		}
		out, err := fusion.Apply(vision, text)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%.3f\n", tensor.Data[float32](out))
	}
	// Output:
	// [0.462]
	// [-0.150]
	// [-0.762]
}

// The columns of the weight belong to vision first, then to text: the identity and a column of 0
// keep vision as it is, a column of 1 adds the text to it.
func ExampleConcatFusion() {
	vision := tensor.Must(tensor.New([]int{1, 2}, []float32{1, 2}))
	text := tensor.Must(tensor.New([]int{1, 1}, []float32{10}))
	for _, column := range []float32{0, 1} {
		weight := tensor.Must(tensor.New([]int{2, 3}, []float32{
			1, 0, column,
			0, 1, column,
		}))
		out, err := attention.ConcatFusion{Weight: weight}.Apply(vision, text)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(tensor.Data[float32](out))
	}
	// Output:
	// [1 2]
	// [11 12]
}
