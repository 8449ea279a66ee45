package main

import (
	"cmp"
	"math"
	"math/rand/v2"
	"slices"
)

// descending lists the places of the values, the greatest first; equal ones keep their order.
func descending(v []float32) []int {
	places := make([]int, len(v))
	for i := range places {
		places[i] = i
	}
	slices.SortStableFunc(places, func(x, y int) int { return cmp.Compare(v[y], v[x]) })
	return places
}

// best is the place of the greatest value, the first of several.
func best[T int | float32](v []T) int {
	at := 0
	for i, x := range v {
		if x > v[at] {
			at = i
		}
	}
	return at
}

func mean(v []float64) float64 {
	sum := 0.0
	for _, x := range v {
		sum += x / float64(len(v))
	}
	return sum
}

// bootstrap is the 95 % interval of the mean, of 5,000 samples with replacement.
func bootstrap(r *rand.Rand, v []float64) (low, high float64) {
	means := make([]float64, 5000)
	for i := range means {
		for range v {
			means[i] += v[r.IntN(len(v))] / float64(len(v))
		}
	}
	slices.Sort(means)
	return means[len(means)*25/1000], means[len(means)*975/1000-1]
}

// wilson is the 95 % interval of a rate (Wilson, 1927).
func wilson(rate float64, n int) (low, high float64) {
	const z = 1.96
	k := float64(n)
	middle := (rate + z*z/(2*k)) / (1 + z*z/k)
	half := z / (1 + z*z/k) * math.Sqrt(rate*(1-rate)/k+z*z/(4*k*k))
	return middle - half, middle + half
}
