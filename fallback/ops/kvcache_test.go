package ops

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/crossattn/xpipe/tensor"
)

const cacheHeads, cacheWidth = 3, 5

// randomPositions returns [b,cacheHeads,n,cacheWidth] of random numbers.
func randomPositions(r *rand.Rand, b, n int) *tensor.Tensor {
	x := tensor.Must(tensor.Zeros(tensor.Float32, b, cacheHeads, n, cacheWidth))
	for i := range tensor.Data[float32](x) {
		tensor.Data[float32](x)[i] = r.Float32()
	}
	return x
}

func appendTo(t *testing.T, past, added *tensor.Tensor) *tensor.Tensor {
	t.Helper()
	out := make([]*tensor.Tensor, 1)
	x := NewContext(context.Background(), 1, heap{})
	if err := buildAppend(&Node{Op: "Append"})(x, []*tensor.Tensor{past, added}, out); err != nil {
		t.Fatal(err)
	}
	return out[0]
}

// copied returns how many sequences of present lie elsewhere than those of past that they continue:
// what Append copied.
func copied(past, present *tensor.Tensor) (n int) {
	p := past.Storage().(*kvCache)
	for i, s := range present.Storage().(*kvCache).sequences {
		if s != p.sequences[i] {
			n++
		}
	}
	return n
}

// elements reads a cache without loading it, which would take it out of its memory.
func elements(x *tensor.Tensor) []float32 {
	if s := x.Storage(); s != nil {
		return s.Load().([]float32)
	}
	return tensor.Data[float32](x)
}

// joined is Concat along the positions, by its definition.
func joined(past, added []float32, b int) []float32 {
	var all []float32
	for i := range b * cacheHeads {
		p, n := len(past)/(b*cacheHeads), len(added)/(b*cacheHeads)
		all = append(append(all, past[i*p:(i+1)*p]...), added[i*n:(i+1)*n]...)
	}
	return all
}

// rowsOf is Take by its definition.
func rowsOf(values []float32, b int, rows []int) []float32 {
	size := len(values) / b
	var all []float32
	for _, r := range rows {
		all = append(all, values[r*size:(r+1)*size]...)
	}
	return all
}

// A beam step copies the sequences that several beams continue, but for one of them, and nothing
// else.
func TestBeamStepCopiesOnlyBranches(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		rows []int
		want int // sequences copied
	}{
		{[]int{0, 1, 2, 3}, 0},
		{[]int{3, 1, 0, 2}, 0},
		{[]int{0, 2, 3}, 0}, // a question is done
		{[]int{0, 0, 1, 3}, 1},
		{[]int{2, 2, 2, 2}, 3},
		{[]int{}, 0},
	} {
		cache := appendTo(t, randomPositions(r, 4, 7), randomPositions(r, 4, 1))
		before := elements(cache)
		taken, err := cache.Take(c.rows)
		if err != nil {
			t.Fatal(err)
		}
		if n := copied(tensorOf(cache, c.rows), taken); n != 0 {
			t.Errorf("Take(%v) copies %d sequences", c.rows, n)
		}
		cache.Release() // as a decoder does; the rows taken stay
		added := randomPositions(r, len(c.rows), 1)
		next := appendTo(t, taken, added)
		if n := copied(taken, next); n != c.want {
			t.Errorf("Append after Take(%v) copies %d sequences, want %d", c.rows, n, c.want)
		}
		want := rowsOf(before, 4, c.rows)
		if !slices.Equal(elements(taken), want) {
			t.Errorf("Take(%v) holds other elements", c.rows)
		}
		if len(c.rows) > 0 && !slices.Equal(elements(next), joined(want, elements(added), len(c.rows))) {
			t.Errorf("Append after Take(%v) holds other elements", c.rows)
		}
		if !slices.Equal(elements(cache), before) {
			t.Errorf("Take(%v) changed what it was taken from", c.rows)
		}
	}
}

// tensorOf is a tensor whose sequences are those of rows of a cache.
func tensorOf(x *tensor.Tensor, rows []int) *tensor.Tensor {
	c := *x.Storage().(*kvCache)
	c.sequences = nil
	for _, r := range rows {
		c.sequences = append(c.sequences, x.Storage().(*kvCache).sequences[r])
	}
	shape := slices.Clone(x.Shape())
	shape[0] = len(rows)
	return tensor.Must(tensor.NewStored(tensor.Float32, shape, &c))
}

// Many random steps of a beam search give what copying gives, also for pasts that are kept and gone
// on from later, and copy little.
func TestCacheOfRandomBeams(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(3, 4))
	type state struct {
		cache *tensor.Tensor
		want  []float32
	}
	start := randomPositions(r, 2, 3)
	states := []state{{start, tensor.Data[float32](start)}}
	for range 400 {
		s := states[r.IntN(len(states))]
		b := s.cache.Dim(0)
		rows := make([]int, 1+r.IntN(5))
		for i := range rows {
			rows[i] = r.IntN(b)
		}
		taken, err := s.cache.Take(rows)
		if err != nil {
			t.Fatal(err)
		}
		added := randomPositions(r, len(rows), 1+r.IntN(3))
		next := state{appendTo(t, taken, added), joined(rowsOf(s.want, b, rows), elements(added), len(rows))}
		if !slices.Equal(elements(next.cache), next.want) {
			t.Fatalf("rows %v of %d", rows, b)
		}
		if states = append(states, next); len(states) > 6 {
			states = states[1:]
		}
	}
	for i, s := range states {
		if !slices.Equal(elements(s.cache), s.want) {
			t.Errorf("state %d was changed by a later one", i)
		}
	}
}

// A decoder that goes on alone copies its cache only when the room is used up.
func TestCacheMovesSeldom(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(5, 6))
	cache := appendTo(t, randomPositions(r, 2, 10), randomPositions(r, 2, 1))
	var floats int
	const steps = 500
	for range steps {
		next := appendTo(t, cache, randomPositions(r, 2, 1))
		floats += copied(cache, next) * cacheHeads * cache.Dim(2) * cacheWidth
		cache = next
	}
	if final := cache.Len(); floats > 3*final {
		t.Errorf("%d steps copied %d floats for a cache of %d", steps, floats, final)
	}
}

// Runs that go on from one past at once each get their own positions.
func TestCacheBranchesAtOnce(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	past := appendTo(t, randomPositions(r, 2, 4), randomPositions(r, 2, 1))
	before := elements(past)
	var wg sync.WaitGroup
	for range 8 {
		added := randomPositions(r, 2, 1)
		wg.Go(func() {
			x := NewContext(context.Background(), 1, heap{})
			out := make([]*tensor.Tensor, 1)
			if err := buildAppend(&Node{Op: "Append"})(x, []*tensor.Tensor{past, added}, out); err != nil {
				t.Error(err)
			} else if !slices.Equal(elements(out[0]), joined(before, elements(added), 2)) {
				t.Error("a branch holds another's positions")
			}
		})
	}
	wg.Wait()
}

// A cache under another shape is an ordinary tensor: its elements in row-major order.
func TestReshapedCache(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(9, 10))
	cache := appendTo(t, randomPositions(r, 4, 7), randomPositions(r, 4, 1))
	want := elements(cache)
	flat := tensor.Must(cache.Reshape(2, 2*cacheHeads, 8, cacheWidth))
	if cacheOf(flat) != nil {
		t.Fatal("a reshaped cache counts as one")
	}
	taken, err := flat.Take([]int{1, 0})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(tensor.Data[float32](taken), rowsOf(want, 2, []int{1, 0})) {
		t.Error("rows of a reshaped cache are others")
	}
	h, err := headsOf(tensor.Must(cache.Reshape(4, cacheHeads, cacheWidth, 8)), false)
	if err != nil || h.sequences != nil {
		t.Error("attention reads a reshaped cache in its old shape", err)
	}
}

// BenchmarkBeamStep reorders and appends to the 24 caches of a decoder of BLIP's size, 4 beams of
// which one is dropped and one continued twice: "taken" by Take, "picked" by copying the rows of
// loaded caches, as for any other tensor.
func BenchmarkBeamStep(b *testing.B) {
	const caches, beams, heads, width = 24, 4, 12, 64
	rows := []int{0, 0, 1, 3}
	for _, length := range []int{20, 200} {
		past := tensor.Must(tensor.Zeros(tensor.Float32, beams, heads, length, width))
		added := tensor.Must(tensor.Zeros(tensor.Float32, beams, heads, 1, width))
		for _, mode := range []string{"taken", "picked"} {
			b.Run(fmt.Sprintf("%s/%d", mode, length), func(b *testing.B) {
				x, run := NewContext(b.Context(), 1, heap{}), buildAppend(&Node{Op: "Append"})
				step := func(past *tensor.Tensor) *tensor.Tensor {
					out := make([]*tensor.Tensor, 1)
					if err := run(x, []*tensor.Tensor{past, added}, out); err != nil {
						b.Fatal(err)
					}
					return out[0]
				}
				for b.Loop() {
					for range caches {
						b.StopTimer()
						cache := step(past)
						b.StartTimer()
						if mode == "picked" {
							tensor.Data[float32](cache)
						}
						taken, err := cache.Take(rows)
						if err != nil {
							b.Fatal(err)
						}
						step(taken)
					}
				}
			})
		}
	}
}
