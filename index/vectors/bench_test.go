package vectors

import (
	"errors"
	"math"
	"math/rand/v2"
	"path/filepath"
	"testing"
)

// BenchmarkMillion searches a million vectors of 512 numbers, half of them random and half about 1,000
// centres, as vectors of pictures lie. recall/rand and recall/near are the shares of the 50 nearest that
// are among the candidates, for queries that are random and such that lie near vectors.
func BenchmarkMillion(b *testing.B) {
	const count, dim, k, tried = 1_000_000, 512, 50, 20
	path := filepath.Join(b.TempDir(), "file.vec")
	v, err := Create(path, store, dim)
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	noise := make([]float32, 1<<20)
	for i := range noise {
		noise[i] = float32(r.NormFloat64())
	}
	centres := make([][]float32, 1000)
	for i := range centres {
		centres[i] = unit(r, dim, nil, 1)
	}
	made := func(centre []float32) []float32 { // as unit does, in less time
		row, from, sum := make([]float32, dim), r.IntN(len(noise)-dim), float32(0)
		for i := range row {
			row[i] = noise[from+i]
			if centre != nil {
				row[i] = row[i]*0.6 + centre[i]*22.6
			}
			sum += row[i] * row[i]
		}
		for i := range row {
			row[i] /= sqrt(sum)
		}
		return row
	}
	queries := [2][][]float32{}
	for range tried {
		queries[0] = append(queries[0], made(nil))
		queries[1] = append(queries[1], made(centres[r.IntN(len(centres))]))
	}
	best := [2][]top{make([]top, tried), make([]top, tried)}
	slots, rows := make([]int64, chunkSlots), make([][]float32, chunkSlots)
	for first := 0; first < count; first += chunkSlots {
		n := min(chunkSlots, count-first)
		for i := range n {
			centre := []float32(nil)
			if i%2 == 0 {
				centre = centres[r.IntN(len(centres))]
			}
			slots[i], rows[i] = int64(first+i), made(centre)
			for kind := range queries {
				for q, query := range queries[kind] {
					t := &best[kind][q]
					t.most = k
					t.add(Candidate{slots[i], dot32(query, rows[i])})
				}
			}
		}
		if err := v.Put(slots[:n], rows[:n]); err != nil {
			b.Fatal(err)
		}
	}
	if err := errors.Join(v.SetGeneration(1), v.Close()); err != nil {
		b.Fatal(err)
	}
	if v, err = Open(path, store, dim); err != nil {
		b.Fatal(err)
	}
	defer v.Close()
	var recall [2]float64
	for kind := range queries {
		for q, query := range queries[kind] {
			found, err := v.Search(b.Context(), query, Spare(k), nil)
			if err != nil {
				b.Fatal(err)
			}
			among := map[int64]bool{}
			for _, c := range found {
				among[c.Slot] = true
			}
			for _, c := range best[kind][q].heap {
				if among[c.Slot] {
					recall[kind] += 1.0 / (k * tried)
				}
			}
		}
	}
	for n := 0; b.Loop(); n++ {
		if _, err := v.Search(b.Context(), queries[n%2][n/2%tried], Spare(k), nil); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(recall[0], "recall/rand")
	b.ReportMetric(recall[1], "recall/near")
}

func sqrt(v float32) float32 { return float32(math.Sqrt(float64(v))) }

// dot32 is the dot product in float32, in eight sums.
func dot32(a, b []float32) (sum float32) {
	var s [8]float32
	for i := 0; i+8 <= len(a); i += 8 {
		x, y := (*[8]float32)(a[i:]), (*[8]float32)(b[i:])
		for j := range s {
			s[j] += x[j] * y[j]
		}
	}
	for _, v := range s {
		sum += v
	}
	return sum
}
