package attention

import (
	"math/rand/v2"
	"slices"
)

// Pattern says which keys a query visits.
type Pattern interface {
	// Ranges calls visit with the ranges [lo,hi) of keys that the query at a position visits, in
	// ascending order, none twice. visit ignores keys out of range and, with Causal, keys after the
	// query. A query stands among the keys as Causal has it: query i of T at i+S-T of S. Ranges may
	// be called by several goroutines at once.
	Ranges(position, keys int, visit func(lo, hi int))
}

// Window is the pattern of Longformer (Beltagy et al., 2004.05150): positions at most Width apart.
// A query at a Global position visits all keys, and every query visits the keys there.
type Window struct {
	Width  int
	Global []int // ascending
}

// Ranges implements Pattern.
func (p Window) Ranges(position, keys int, visit func(lo, hi int)) {
	if _, global := slices.BinarySearch(p.Global, position); global {
		visit(0, keys)
		return
	}
	lo, hi := position-p.Width, position+p.Width+1
	at := 0
	for ; at < len(p.Global) && p.Global[at] < lo; at++ {
		visit(p.Global[at], p.Global[at]+1)
	}
	visit(lo, hi)
	for _, g := range p.Global[at:] {
		if g >= hi {
			visit(g, g+1)
		}
	}
}

// Strided is the pattern of sparse transformers (Child et al., 1904.10509, section 4.3), its two
// kinds of heads joined: the last Stride positions, and every Stride-th one. It is theirs with
// Causal, and looks both ways without.
type Strided struct{ Stride int }

// Ranges implements Pattern.
func (p Strided) Ranges(position, keys int, visit func(lo, hi int)) {
	stride := max(p.Stride, 1)
	lo, hi := position-stride, position+stride+1
	for j := ((position % stride) + stride) % stride; j < min(lo, keys); j += stride {
		visit(j, j+1)
	}
	visit(lo, hi)
	for j := position + 2*stride; j < keys; j += stride {
		if j >= 0 {
			visit(j, j+1)
		}
	}
}

// Blocks is the pattern of BigBird (Zaheer et al., 2007.14062): positions lie in blocks of Size,
// and a block visits the blocks up to Window away on both sides, the first Global blocks, which
// visit all themselves, and Random others, drawn for each block from Seed.
type Blocks struct {
	Size, Window, Global, Random int
	Seed                         uint64
}

// Ranges implements Pattern.
func (p Blocks) Ranges(position, keys int, visit func(lo, hi int)) {
	size := max(p.Size, 1)
	if position < 0 {
		return
	}
	block, count := position/size, (keys+size-1)/size
	if block < p.Global {
		visit(0, keys)
		return
	}
	near := func(b int) bool { return b < p.Global || max(b-block, block-b) <= p.Window }
	chosen := p.draw(block, count)
	for b := range count {
		if near(b) || slices.Contains(chosen, b) {
			visit(b*size, (b+1)*size)
		}
	}
}

// draw returns the random blocks of a block: some of those between the global ones and the window,
// and behind it, without repetition (Floyd's algorithm; Bentley and Floyd, 1987).
func (p Blocks) draw(block, count int) []int {
	left, behind := max(0, block-p.Window-p.Global), block+p.Window+1
	others := left + max(0, count-behind)
	r := rand.New(rand.NewPCG(p.Seed, uint64(block)))
	var chosen []int
	for j := max(0, others-p.Random); j < others; j++ {
		n := r.IntN(j + 1)
		b := func(n int) int {
			if n < left {
				return p.Global + n
			}
			return behind + n - left
		}
		if slices.Contains(chosen, b(n)) {
			n = j
		}
		chosen = append(chosen, b(n))
	}
	return chosen
}
