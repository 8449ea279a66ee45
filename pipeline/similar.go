package pipeline

import (
	"math"
	"slices"
)

// Cosine returns the cosine of the angle between two vectors, from -1 to 1: how alike the pictures
// and texts are that EmbedImages and EmbedTexts made them of. It is not a number (NaN) for vectors of
// different lengths, and where one is all zeros.
func Cosine(a, b []float32) float64 {
	if len(a) != len(b) {
		return math.NaN()
	}
	var dot, x, y float64
	for i := range a {
		dot += float64(a[i]) * float64(b[i])
		x += float64(a[i]) * float64(a[i])
		y += float64(b[i]) * float64(b[i])
	}
	return dot / math.Sqrt(x*y)
}

// Hit is a row that TopK found.
type Hit struct {
	Index      int     `json:"index"`      // of the row
	Similarity float64 `json:"similarity"` // its Cosine with the query
}

// TopK returns the k rows most like the query, the best first; of equal ones the earlier. Rows
// without a cosine are left out: see Cosine. It compares the query with every row.
func TopK(query []float32, rows [][]float32, k int) []Hit {
	var best []Hit
	for i, row := range rows {
		c := Cosine(query, row)
		if math.IsNaN(c) || len(best) >= k && (k <= 0 || c <= best[len(best)-1].Similarity) {
			continue
		}
		at, _ := slices.BinarySearchFunc(best, c, func(h Hit, c float64) int {
			if h.Similarity >= c {
				return -1
			}
			return 1
		})
		best = slices.Insert(best, at, Hit{i, c})
		best = best[:min(len(best), k)]
	}
	return best
}
