package attention

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/tensor"
)

// A sparse pattern gives what dense attention gives under the same mask, and visits no other pairs.
func TestPatterns(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	for _, n := range []int{1, 2, 17, 64, 100} {
		q, k, v := random(r, 1, 2, n, 8), random(r, 1, 2, n, 8), random(r, 1, 2, n, 8)
		for _, p := range []struct {
			name    string
			pattern Pattern
			keep    func(i, j int) bool // nil: by the counts alone
		}{
			{"window", Window{Width: 3}, func(i, j int) bool { return max(i-j, j-i) <= 3 }},
			{"window and global", Window{Width: 2, Global: ints(0, 5)}, func(i, j int) bool {
				return max(i-j, j-i) <= 2 || i == 0 || j == 0 || i == 5 || j == 5
			}},
			{"strided", Strided{5}, func(i, j int) bool { return max(i-j, j-i) <= 5 || (i-j)%5 == 0 }},
			{"blocks", Blocks{Size: 4, Window: 1, Global: 2}, func(i, j int) bool {
				return max(i/4-j/4, j/4-i/4) <= 1 || i/4 < 2 || j/4 < 2
			}},
			{"random blocks", Blocks{Size: 4, Window: 1, Global: 1, Random: 2, Seed: 9}, nil},
		} {
			visits := make([]bool, n*n)
			count := int64(0)
			for i := range n {
				last := 0
				p.pattern.Ranges(i, n, func(lo, hi int) {
					if lo, hi = max(lo, 0), min(hi, n); lo >= hi {
						return
					}
					if lo < last {
						t.Errorf("%s: query %d visits %d after %d", p.name, i, lo, last)
					}
					last = hi
					for j := lo; j < hi; j++ {
						visits[i*n+j] = true
						count++
					}
				})
				for j := range n {
					if p.keep != nil && visits[i*n+j] != p.keep(i, j) {
						t.Errorf("%s: query %d of %d, key %d: %v", p.name, i, n, j, visits[i*n+j])
					}
				}
			}
			var stats Stats
			got, err := Attend(t.Context(), q, k, v, Sparse(p.pattern), WithStats(&stats), Chunk(6))
			if err != nil {
				t.Fatal(err)
			}
			same(t, p.name, got, naive(q, k, v, func(_, _, i, j int) bool { return visits[i*n+j] }), 2e-6)
			if stats.Visited != 2*count {
				t.Errorf("%s of %d: %d pairs visited, not %d", p.name, n, stats.Visited, 2*count)
			}
		}
	}
}

// Each block draws the same others for the same seed, as many as asked for, and none that it visits
// anyway.
func TestRandomBlocks(t *testing.T) {
	t.Parallel()
	p := Blocks{Size: 1, Window: 2, Global: 3, Random: 4, Seed: 5}
	differ := false
	for block := 3; block < 50; block++ {
		chosen := p.draw(block, 50)
		if len(chosen) != 4 || !slices.Equal(chosen, p.draw(block, 50)) {
			t.Fatalf("block %d draws %v", block, chosen)
		}
		seen := map[int]bool{}
		for _, b := range chosen {
			if b < 3 || b >= 50 || max(b-block, block-b) <= 2 || seen[b] {
				t.Errorf("block %d draws %v", block, chosen)
			}
			seen[b] = true
		}
		other := p
		other.Seed++
		differ = differ || !slices.Equal(chosen, other.draw(block, 50))
	}
	if !differ {
		t.Error("the seed changes nothing")
	}
	if got := p.draw(4, 8); len(got) != 1 || got[0] != 7 {
		t.Errorf("where there is one other block, %v", got)
	}
}

// Random blocks against what Attend itself shows: with queries of 0 and values that are the
// identity, row i of the result is not 0 at the keys that i visits.
func TestRandomBlocksAttend(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(17, 18))
	const size, blocks, n = 4, 12, 48
	p := Blocks{Size: size, Window: 1, Global: 1, Random: 3, Seed: 21}
	identity := tensor.Must(tensor.Zeros(tensor.Float32, 1, 1, n, n))
	for i := range n {
		tensor.Data[float32](identity)[i*n+i] = 1
	}
	for _, queries := range []int{n, 21} {
		// A global block visits all; another the first, its window and three.
		first, want := n-queries, int64(0)
		for i := first; i < n; i++ {
			switch block := i / size; block {
			case 0:
				want += n
			case 1, blocks - 1: // the window lies half in the global block, or outside
				want += size * (1 + 2 + 3)
			default:
				want += size * (1 + 3 + 3)
			}
		}
		zero := tensor.Must(tensor.Zeros(tensor.Float32, 1, 1, queries, n))
		q, k, v := random(r, 1, 2, queries, 8), random(r, 1, 2, n, 8), random(r, 1, 2, n, 8)
		var mask []bool
		for _, chunk := range []int{0, 1, 3, 7, n} {
			var stats Stats
			got, err := Attend(t.Context(), zero, identity, identity, Sparse(p), Chunk(chunk), WithStats(&stats))
			if err != nil {
				t.Fatal(err)
			}
			visited, count := make([]bool, queries*n), int64(0)
			for i, x := range tensor.Data[float32](got) {
				if visited[i] = x != 0; visited[i] {
					count++
				}
			}
			if stats.Visited != want || count != want {
				t.Errorf("%d queries, chunk %d: %d pairs stated, %d seen, not %d",
					queries, chunk, stats.Visited, count, want)
			}
			if mask == nil {
				mask = visited
			} else if !slices.Equal(visited, mask) {
				t.Errorf("%d queries: chunks of %d keys visit others", queries, chunk)
			}
			sparse, err := Attend(t.Context(), q, k, v, Sparse(p), Chunk(chunk))
			if err != nil {
				t.Fatal(err)
			}
			dense, err := Attend(t.Context(), q, k, v, Mask(tensor.Must(tensor.New([]int{queries, n}, mask))))
			if err != nil {
				t.Fatal(err)
			}
			same(t, "sparse and masked", sparse, dense, 2e-6)
		}
	}
}
