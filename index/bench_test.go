package index

import (
	"cmp"
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/index/vectors"
)

// BenchmarkMillion finds the 50 nearest of a million vectors of 512 numbers: by their bytes in the
// mapped file, and then by float32 as the library keeps them. Half of the vectors are random, and half lie
// about 1,000 centres, as those of pictures do; so do the queries. recall is the share of the 50 nearest by
// float32 alone that is found. XPIPE_BENCH_DIR keeps the library for the next time.
func BenchmarkMillion(b *testing.B) {
	dir := os.Getenv("XPIPE_BENCH_DIR")
	if dir == "" {
		dir = b.TempDir()
	}
	path, truth := filepath.Join(dir, "million.db"), filepath.Join(dir, "million.json")
	var m million
	if data, err := os.ReadFile(truth); err != nil || json.Unmarshal(data, &m) != nil {
		m = makeMillion(b, path)
		data, err := json.Marshal(m)
		if err = errors.Join(err, os.WriteFile(truth, data, 0o666)); err != nil {
			b.Fatal(err)
		}
	}
	s, err := Open(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	found := 0
	for q, query := range m.Queries {
		hits, err := s.nearest(b.Context(), query, 50, filter{})
		if err != nil {
			b.Fatal(err)
		}
		for _, h := range hits[:50] {
			if slices.Contains(m.Best[q], h.item) {
				found++
			}
		}
	}
	b.Run("nearest", func(b *testing.B) {
		for n := 0; b.Loop(); n++ {
			if _, err := s.nearest(b.Context(), m.Queries[n%len(m.Queries)], 50, filter{}); err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(found)/float64(50*len(m.Queries)), "recall")
	})
	b.Run("scan", func(b *testing.B) { // of which the search by bytes alone
		v, err := vectors.Open(vectorPath(s.path), s.id, s.Model().Dim)
		if err != nil {
			b.Fatal(err)
		}
		defer v.Close()
		for n := 0; b.Loop(); n++ {
			if _, err := v.Search(b.Context(), m.Queries[n%len(m.Queries)], vectors.Spare(50), nil); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("find", func(b *testing.B) { // with what hits say
		for n := 0; b.Loop(); n++ {
			q := Query{Sought: api.Sought{Limit: 50}, LikeVector: m.Queries[n%len(m.Queries)]}
			if _, err := s.Find(b.Context(), q); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// million is what is asked of the library, and what is right.
type million struct {
	Queries [][]float32
	Best    [][]int64 // the items nearest to each
}

func makeMillion(b *testing.B, path string) (m million) {
	b.Helper()
	const count, dim, k, queries, part = 1_000_000, 512, 50, 20, 10_000
	s, err := Create(b.Context(), path)
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	w, err := s.newWriter(b.Context())
	if err == nil {
		err = w.setModel(b.Context(), Model{"bench", "bench", dim})
	}
	if err != nil {
		b.Fatal(err)
	}
	r := rand.New(rand.NewPCG(3, 4))
	noise := make([]float32, 1<<20)
	for i := range noise {
		noise[i] = float32(r.NormFloat64())
	}
	centres := make([]int, 1000)
	for i := range centres {
		centres[i] = r.IntN(len(noise) - dim)
	}
	vector := func(near bool) []float32 {
		row, from, centre, sum := make([]float32, dim), r.IntN(len(noise)-dim), centres[r.IntN(len(centres))], 0.0
		for i := range row {
			row[i] = noise[from+i]
			if near {
				row[i] = 0.6*row[i] + noise[centre+i]
			}
			sum += float64(row[i]) * float64(row[i])
		}
		for i := range row {
			row[i] /= float32(math.Sqrt(sum))
		}
		return row
	}
	for i := range queries {
		m.Queries = append(m.Queries, vector(i%2 == 0))
	}
	best := make([][]scored, queries)
	for first := 1; first <= count; first += part {
		if err := w.begin(b.Context()); err != nil {
			b.Fatal(err)
		}
		for _, query := range []string{
			`WITH RECURSIVE n(i) AS (VALUES (?1) UNION ALL SELECT i+1 FROM n WHERE i < ?2-1) INSERT INTO files
			 SELECT i, '/photos/' || (i/1000) || '/' || i || '.jpg', 'photo', i, i, x'', 0, i, NULL, NULL, i FROM n`,
			"INSERT INTO items SELECT id, id, NULL, NULL, NULL FROM files WHERE id >= ?1 AND id < ?2",
			"INSERT INTO words (rowid, name, text) SELECT id, id || ' jpg', '' FROM files WHERE id >= ?1 AND id < ?2",
		} {
			if _, err := w.tx.ExecContext(b.Context(), query, first, first+part); err != nil {
				b.Fatal(err)
			}
		}
		for item := int64(first); item < int64(first+part); item++ {
			v := vector(item%2 == 0)
			if err := w.putVector(b.Context(), w.tx, item, v); err != nil {
				b.Fatal(err)
			}
			data := bytesOf(v)
			for q, query := range m.Queries {
				best[q] = append(best[q], scored{item, cosine(query, data)})
			}
		}
		for q := range best {
			slices.SortFunc(best[q], func(a, b scored) int { return cmp.Compare(b.value, a.value) })
			best[q] = best[q][:k]
		}
		if err := w.commit(b.Context()); err != nil {
			b.Fatal(err)
		}
	}
	if err := w.close(); err != nil {
		b.Fatal(err)
	}
	for _, of := range best {
		var items []int64
		for _, s := range of {
			items = append(items, s.item)
		}
		m.Best = append(m.Best, items)
	}
	return m
}
