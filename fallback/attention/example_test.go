package attention_test

import (
	"context"
	"fmt"
	"log"

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

// Text tokens read only the picture named last before them; the first token
// stands before any picture and gets nothing.
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
