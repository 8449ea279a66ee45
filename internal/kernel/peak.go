package kernel

import "time"

// Peak measures what one core computes when nothing but the micro-kernel runs on data in its first
// cache: GFLOP/s, the best of many short tries.
func Peak() float64 {
	const k = 128
	rows, cols := tileRows, panelWidth
	if avx512() {
		rows, cols = wideRows, 2*panelWidth
	}
	a, c := make([]float32, rows*k), make([]float32, rows*cols)
	b := make([]float32, k*cols)
	best := time.Hour
	for range 200 {
		start := time.Now()
		for range 20 {
			if avx512() {
				gemmWide(c, cols, a, k, b, k*panelWidth, k, rows, cols, 0, nil)
			} else {
				gemmTile(c, cols, a, k, b, k, rows, 0, nil)
			}
		}
		best = min(best, time.Since(start))
	}
	return float64(20*2*rows*cols*k) / float64(best.Nanoseconds())
}

// Bandwidth measures how fast one core reads memory beyond its caches: GB/s, the best of several
// tries.
func Bandwidth() float64 {
	data := make([]float32, 32<<20)
	for i := range data {
		data[i] = 1
	}
	best := time.Hour
	for range 8 {
		start := time.Now()
		Sum(data)
		best = min(best, time.Since(start))
	}
	return float64(4*len(data)) / float64(best.Nanoseconds())
}
