package vectors

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var store = [16]byte{1, 2, 3}

// unit makes a vector of length 1 about a centre; nil is nowhere.
func unit(r *rand.Rand, dim int, centre []float32, spread float64) []float32 {
	v, sum := make([]float32, dim), 0.0
	for i := range v {
		x := r.NormFloat64() * spread
		if centre != nil {
			x += float64(centre[i]) * math.Sqrt(float64(dim))
		}
		v[i] = float32(x)
		sum += x * x
	}
	for i := range v {
		v[i] /= float32(math.Sqrt(sum))
	}
	return v
}

func dot(a, b []float32) (sum float64) {
	for i := range a {
		sum += float64(a[i]) * float64(b[i])
	}
	return sum
}

// nearest are the k best slots by float arithmetic.
func nearest(query []float32, rows [][]float32, k int, within Set) (best []int64) {
	scores := make([]float64, len(rows))
	for i, row := range rows {
		if row != nil && within.has(i) {
			best, scores[i] = append(best, int64(i)), dot(query, row)
		}
	}
	slices.SortStableFunc(best, func(a, b int64) int { return cmp.Compare(scores[b], scores[a]) })
	return best[:min(k, len(best))]
}

func put(t *testing.T, path string, dim int, slots []int64, rows [][]float32, generation uint64) {
	t.Helper()
	v, err := Create(path, store, dim)
	if err != nil {
		t.Fatal(err)
	}
	defer v.Close()
	if err := errors.Join(v.Put(slots, rows), v.SetGeneration(generation)); err != nil {
		t.Fatal(err)
	}
}

// The nearest by float arithmetic are among the candidates, whatever the sizes; also after some were
// replaced and taken away, and among a part of them.
func TestSearch(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	for _, dim := range []int{1, 3, 17, 64, 100, 512} {
		t.Run(fmt.Sprint(dim), func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "file.vec")
			var slots []int64
			var rows [][]float32
			for i := range 2500 {
				slots, rows = append(slots, int64(i)), append(rows, unit(r, dim, nil, 1))
			}
			put(t, path, dim, slots, rows, 7)
			rows[3], rows[2400], rows[15] = nil, unit(r, dim, nil, 1), nil
			put(t, path, dim, []int64{3, 15, 2400}, [][]float32{nil, nil, rows[2400]}, 8)
			v, err := Open(path, store, dim)
			if err != nil || v.Generation() != 8 {
				t.Fatal(err, v.Generation())
			}
			defer v.Close()
			var part Set
			for i := range rows {
				if i%3 == 0 {
					part.Add(int64(i))
				}
			}
			for n := range 20 {
				within := part
				if n%2 == 0 {
					within = nil
				}
				query, other := unit(r, dim, nil, 1), unit(r, dim, nil, 1)
				const k = 20
				found, err := v.SearchAll(t.Context(), [][]float32{query, other}, Spare(k), within)
				if err != nil {
					t.Fatal(err)
				}
				for q, query := range [][]float32{query, other} {
					score := map[int64]float32{}
					for _, c := range found[q] {
						score[c.Slot] = c.Score
						if row := rows[c.Slot]; row == nil || !within.has(int(c.Slot)) ||
							math.Abs(dot(query, row)-float64(c.Score)) > 0.02 {
							t.Fatalf("slot %d: score %v", c.Slot, c.Score)
						}
					}
					for _, slot := range nearest(query, rows, k, within) {
						if _, ok := score[slot]; !ok && dim > 3 { // with few numbers many are as near
							t.Errorf("slot %d is missing", slot)
						}
					}
				}
			}
		})
	}
}

// A file that is none, or of another store, size or time, is as good as an empty one.
func TestOtherFiles(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "file.vec")
	one := [][]float32{{1, 0, 0, 0}}
	put(t, path, 4, []int64{0}, one, 3)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	find := func() int {
		t.Helper()
		v, err := Open(path, store, 4)
		if err != nil {
			t.Fatal(err)
		}
		defer v.Close()
		found, err := v.Search(t.Context(), one[0], 5, nil)
		if err != nil {
			t.Fatal(err)
		}
		if (v.Generation() == 0) != (len(found) == 0) && len(data) > 0 {
			t.Errorf("generation %d, %d found", v.Generation(), len(found))
		}
		return len(found)
	}
	if find() != 1 {
		t.Error("the vector is not found")
	}
	changed := slices.Clone(data)
	changed[24] ^= 1 // the store
	for _, bad := range [][]byte{nil, []byte("x"), []byte(strings.Repeat("no vectors", 999)), changed, data[:100]} {
		if err := os.WriteFile(path, bad, 0o666); err != nil {
			t.Fatal(err)
		}
		if find() != 0 {
			t.Errorf("%d bytes: something is found", len(bad))
		}
		put(t, path, 4, []int64{1}, one, 4)
		if find() != 1 {
			t.Errorf("%d bytes: written anew, nothing is found", len(bad))
		}
	}
	if err := os.WriteFile(path, data[:page+100], 0o666); err != nil { // half a chunk
		t.Fatal(err)
	}
	v, err := Open(path, store, 4)
	if err != nil || v.Slots() != 0 {
		t.Errorf("half a chunk: %d slots, %v", v.Slots(), err)
	}
	v.Close()
	first, err := Create(path, store, 4)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	if _, err := Create(path, store, 4); !errors.Is(err, ErrLocked) {
		t.Errorf("created twice: %v", err)
	}
	if _, err := first.Search(t.Context(), []float32{1}, 5, nil); err != nil {
		t.Error(err) // there is nothing to search yet
	}
}
