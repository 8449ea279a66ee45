package kernel

import (
	"math/rand/v2"
	"testing"
)

func TestDoubleAndEverySecond(t *testing.T) {
	both(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(9, 10))
		for n := range 100 {
			src := make([]uint32, n)
			for i := range src {
				src[i] = r.Uint32()
			}
			twice := make([]uint32, 2*n+1)
			twice[2*n] = 7
			Double(twice, src)
			for i, v := range src {
				if twice[2*i] != v || twice[2*i+1] != v {
					t.Fatalf("%d words: %d is %v, %v, want %v", n, i, twice[2*i], twice[2*i+1], v)
				}
			}
			if twice[2*n] != 7 {
				t.Fatalf("%d words: one more was written", n)
			}
			back := make([]uint32, n)
			EverySecond(back, twice[:max(0, 2*n-1)])
			for i, v := range src {
				if back[i] != v {
					t.Fatalf("%d words: %d is %v, want %v", n, i, back[i], v)
				}
			}
		}
	})
}

func BenchmarkDouble(b *testing.B) {
	src, dst := make([]uint32, 84), make([]uint32, 168)
	b.SetBytes(4 * int64(len(dst)))
	for b.Loop() {
		Double(dst, src)
	}
}
