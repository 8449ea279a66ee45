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

// bothTypes runs a test for caches of float32 and of float16.
func bothTypes(t *testing.T, test func(t *testing.T, dtype tensor.DType)) {
	for _, dtype := range []tensor.DType{tensor.Float32, tensor.Float16} {
		t.Run(dtype.String(), func(t *testing.T) { test(t, dtype) })
	}
}

// randomPositions returns [b,cacheHeads,n,cacheWidth] of random numbers.
func randomPositions(r *rand.Rand, dtype tensor.DType, b, n int) *tensor.Tensor {
	return randomOf(r, dtype, b, cacheHeads, n, cacheWidth)
}

func randomOf(r *rand.Rand, dtype tensor.DType, shape ...int) *tensor.Tensor {
	x := tensor.Must(tensor.Zeros(dtype, shape...))
	for i := range x.Len() {
		if v := r.Float32(); dtype == tensor.Float16 {
			tensor.Data[tensor.Half](x)[i] = tensor.ToHalf(v)
		} else {
			tensor.Data[float32](x)[i] = v
		}
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
		loaded := s.Load()
		if half, ok := loaded.([]tensor.Half); ok {
			return tensor.Must(tensor.New([]int{len(half)}, half)).Float32s()
		}
		return loaded.([]float32)
	}
	return x.Float32s()
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
	bothTypes(t, func(t *testing.T, dtype tensor.DType) {
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
			cache := appendTo(t, randomPositions(r, dtype, 4, 7), randomPositions(r, dtype, 4, 1))
			before := elements(cache)
			taken, err := cache.Take(c.rows)
			if err != nil {
				t.Fatal(err)
			}
			if n := copied(tensorOf(cache, c.rows), taken); n != 0 {
				t.Errorf("Take(%v) copies %d sequences", c.rows, n)
			}
			cache.Release() // as a decoder does; the rows taken stay
			added := randomPositions(r, dtype, len(c.rows), 1)
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
	})
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
	return tensor.Must(tensor.NewStored(c.dtype, shape, &c))
}

// Many random steps of a beam search give what copying gives, also for pasts that are kept and gone
// on from later, and copy little.
func TestCacheOfRandomBeams(t *testing.T) {
	t.Parallel()
	bothTypes(t, func(t *testing.T, dtype tensor.DType) {
		r := rand.New(rand.NewPCG(3, 4))
		type state struct {
			cache *tensor.Tensor
			want  []float32
		}
		start := randomPositions(r, dtype, 2, 3)
		states := []state{{start, elements(start)}}
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
			added := randomPositions(r, dtype, len(rows), 1+r.IntN(3))
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
	})
}

// A decoder that goes on alone copies its cache only when the room is used up.
func TestCacheMovesSeldom(t *testing.T) {
	t.Parallel()
	bothTypes(t, func(t *testing.T, dtype tensor.DType) {
		r := rand.New(rand.NewPCG(5, 6))
		cache := appendTo(t, randomPositions(r, dtype, 2, 10), randomPositions(r, dtype, 2, 1))
		var floats int
		const steps = 500
		for range steps {
			next := appendTo(t, cache, randomPositions(r, dtype, 2, 1))
			floats += copied(cache, next) * cacheHeads * cache.Dim(2) * cacheWidth
			cache = next
		}
		if final := cache.Len(); floats > 3*final {
			t.Errorf("%d steps copied %d floats for a cache of %d", steps, floats, final)
		}
	})
}

// Runs that go on from one past at once each get their own positions.
func TestCacheBranchesAtOnce(t *testing.T) {
	t.Parallel()
	bothTypes(t, func(t *testing.T, dtype tensor.DType) {
		r := rand.New(rand.NewPCG(7, 8))
		past := appendTo(t, randomPositions(r, dtype, 2, 4), randomPositions(r, dtype, 2, 1))
		before := elements(past)
		var wg sync.WaitGroup
		for range 8 {
			added := randomPositions(r, dtype, 2, 1)
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
	})
}

// A cache under another shape is an ordinary tensor: its elements in row-major order.
func TestReshapedCache(t *testing.T) {
	t.Parallel()
	bothTypes(t, func(t *testing.T, dtype tensor.DType) {
		r := rand.New(rand.NewPCG(9, 10))
		cache := appendTo(t, randomPositions(r, dtype, 4, 7), randomPositions(r, dtype, 4, 1))
		want := elements(cache)
		flat := tensor.Must(cache.Reshape(2, 2*cacheHeads, 8, cacheWidth))
		if cacheOf(flat) != nil {
			t.Fatal("a reshaped cache counts as one")
		}
		taken, err := flat.Take([]int{1, 0})
		if err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(taken.Float32s(), rowsOf(want, 2, []int{1, 0})) {
			t.Error("rows of a reshaped cache are others")
		}
		h, err := headsOf(tensor.Must(cache.Reshape(4, cacheHeads, cacheWidth, 8)), false)
		if err != nil || h.sequences != nil {
			t.Error("attention reads a reshaped cache in its old shape", err)
		}
	})
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

// Attention of ONNX Runtime's own operators goes on in a cache of the past's type, in place, and reads
// it where it lies: what it gives is what it gives from a copy.
func TestAttentionGrowsTheCache(t *testing.T) {
	t.Parallel()
	const heads, size, rows = 2, 8, 2
	lengths := func(total int) (ends, all *tensor.Tensor) {
		ends = tensor.Must(tensor.New([]int{rows}, []int32{int32(total) - 1, int32(total) - 1}))
		return ends, tensor.Scalar(int32(total))
	}
	operators := map[string]func(q, k, v, pastK, pastV *tensor.Tensor) (Kernel, []*tensor.Tensor){
		"GroupQueryAttention": func(q, k, v, pastK, pastV *tensor.Tensor) (Kernel, []*tensor.Tensor) {
			ends, total := lengths(pastK.Dim(2) + q.Dim(1))
			n := &Node{Op: "GroupQueryAttention", Inputs: 7, Outputs: 3, names: slices.Repeat([]string{"x"}, 7),
				attrs: map[string]any{"num_heads": int64(heads), "kv_num_heads": int64(heads)}}
			return buildGroupQueryAttention(n), []*tensor.Tensor{q, k, v, pastK, pastV, ends, total}
		},
		"MultiHeadAttention": func(q, k, v, pastK, pastV *tensor.Tensor) (Kernel, []*tensor.Tensor) {
			n := &Node{Op: "MultiHeadAttention", Inputs: 8, Outputs: 3, names: slices.Repeat([]string{"x"}, 8),
				attrs: map[string]any{"num_heads": int64(heads)}}
			return buildMultiHeadAttention(n), []*tensor.Tensor{q, k, v, nil, nil, nil, pastK, pastV}
		},
	}
	for name, operator := range operators {
		t.Run(name, func(t *testing.T) {
			bothTypes(t, func(t *testing.T, dtype tensor.DType) {
				r := rand.New(rand.NewPCG(11, 12))
				run := func(length int, k, v *tensor.Tensor, seed uint64) []*tensor.Tensor {
					r := rand.New(rand.NewPCG(seed, 13))
					var in [3]*tensor.Tensor
					for i := range in {
						in[i] = randomOf(r, dtype, rows, length, heads*size)
					}
					kernel, inputs := operator(in[0], in[1], in[2], k, v)
					out := make([]*tensor.Tensor, 3)
					if err := kernel(NewContext(t.Context(), 1, heap{}), inputs, out); err != nil {
						t.Fatal(err)
					}
					return out
				}
				start := randomOf(r, dtype, rows, heads, 3, size)
				grown, plain := run(1, start, start, 0), run(1, start, start, 0)
				for step := range uint64(20) {
					before := grown
					grown = run(1, before[1], before[2], step)
					for i := 1; i < 3; i++ {
						if grown[i].DType() != dtype || copied(before[i], grown[i]) > 0 {
							t.Fatalf("step %d: %v is another type or elsewhere than the past", step, grown[i])
						}
						// Reading takes a cache out of its memory.
						plain[i] = plain[i].Clone()
					}
					plain = run(1, plain[1], plain[2], step)
					for i := range grown {
						if !slices.Equal(elements(grown[i]), elements(plain[i])) {
							t.Fatalf("step %d: output %d differs from that of a copied past", step, i)
						}
					}
				}
			})
		})
	}
}

// BenchmarkCachedStep is a step of GroupQueryAttention at Qwen2-0.5B's size behind so many positions.
func BenchmarkCachedStep(b *testing.B) {
	const heads, groups, size = 14, 2, 64
	r := rand.New(rand.NewPCG(14, 15))
	for _, length := range []int{256, 2048} {
		for _, dtype := range []tensor.DType{tensor.Float32, tensor.Float16} {
			b.Run(fmt.Sprintf("%d/%v", length, dtype), func(b *testing.B) {
				n := &Node{Op: "GroupQueryAttention", Inputs: 7, Outputs: 3, names: slices.Repeat([]string{"x"}, 7),
					attrs: map[string]any{"num_heads": int64(heads), "kv_num_heads": int64(groups)}}
				kernel := buildGroupQueryAttention(n)
				q, k := randomOf(r, dtype, 1, 1, heads*size), randomOf(r, dtype, 1, 1, groups*size)
				past := randomOf(r, dtype, 1, groups, length, size)
				out := []*tensor.Tensor{nil, past, past}
				for at := length; b.Loop(); at++ {
					if at == length+length/4 {
						at, out[1], out[2] = length, past, past
					}
					ends := tensor.Must(tensor.New([]int{1}, []int32{int32(at)}))
					in := []*tensor.Tensor{q, k, k, out[1], out[2], ends, tensor.Scalar(int32(at + 1))}
					if err := kernel(NewContext(b.Context(), 1, heap{}), in, out); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// TestCacheJoins puts caches of different lengths together and goes on from there: as tensors in
// ordinary memory do, without a copy of the longest.
func TestCacheJoins(t *testing.T) {
	bothTypes(t, func(t *testing.T, dtype tensor.DType) {
		r := rand.New(rand.NewPCG(1, 2))
		var caches, plain []*tensor.Tensor
		for _, size := range [][2]int{{2, 3}, {1, 9}, {3, 1}} {
			past := randomPositions(r, dtype, size[0], size[1])
			caches = append(caches, appendTo(t, past, randomPositions(r, dtype, size[0], 1)))
			plain = append(plain, caches[len(caches)-1].Clone())
		}
		// Clone reads the elements, so make the caches anew.
		for i, p := range plain {
			empty := randomPositions(r, dtype, p.Dim(0), 0)
			caches[i] = appendTo(t, empty, p)
		}
		joined, err := tensor.JoinAligned(2, caches...)
		if err != nil {
			t.Fatal(err)
		}
		whole := tensor.Must(tensor.JoinAligned(2, plain...))
		if joined.Storage() == nil || cacheOf(joined) == nil {
			t.Fatal("the caches were loaded")
		}
		if got, want := cacheOf(joined).sequences[2], cacheOf(caches[1]).sequences[0]; got != want {
			t.Error("the longest sequence was copied")
		}
		added := randomPositions(r, dtype, 6, 1)
		got, want := appendTo(t, joined, added), appendTo(t, whole, added)
		if !slices.Equal(got.Float32s(), want.Float32s()) {
			t.Error("a joined cache goes on otherwise than ordinary memory")
		}
	})
}
