package kernel

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/crossattn/xpipe/internal/sweep"
)

// eachDots runs a test with each way to multiply bytes that runs here.
func eachDots(t *testing.T, f func(t *testing.T)) {
	amx, vnni, narrow := hasAMX, hasVNNI, hasAVXVNNI
	defer func() { hasAMX, hasVNNI, hasAVXVNNI = amx, vnni, narrow }()
	if dotsAMX() {
		t.Run("amx", f)
	}
	if hasAMX = false; dots512() {
		t.Run("vnni", f)
	}
	if hasVNNI = false; dotsVNNI() {
		t.Run("avxvnni", f)
	}
	hasAVXVNNI = false
	both(t, f)
}

// quantised is the definition: the steps of 127 in the largest magnitude, and the nearest numbers of
// steps.
func quantised(v []float32, n, step int) (q []int32, size float32) {
	var most float32
	for i := range n {
		most = max(most, float32(math.Abs(float64(v[i*step]))))
	}
	if size = most / 127; most == 0 {
		size = 1
	}
	for i := range n {
		q = append(q, int32(math.RoundToEven(float64(v[i*step]/size))))
	}
	return q, size
}

// Products of floats in 8 bits are those of the definition, to the last bit.
func TestFloatsInBytes(t *testing.T) {
	eachDots(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(8, 9))
		for range sweep.Count(t, 20, 60) {
			m, n, k := 1+r.IntN(40), 1+r.IntN(60), 1+r.IntN(200)
			a, b := randFloats(r, m*k), randFloats(r, k*n)
			for i := range a {
				if r.IntN(9) == 0 {
					a[i] = float32(math.Copysign(3, float64(a[i]))) // many of the extremes
				}
			}
			clear(a[:k])
			w, steps := NewByteMatrix(k, n), make([]float32, n)
			w.SetZeros([]int32{0}, 0x80)
			if r.IntN(2) == 0 {
				w.FillFloats(b, n, false, steps, 0, w.Panels())
			} else {
				tr := make([]float32, len(b))
				for i := range k {
					for j := range n {
						tr[j*k+i] = b[i*n+j]
					}
				}
				w.FillFloats(tr, k, true, steps, 0, w.Panels())
			}
			rows, small := w.Rows(make([]int32, w.RowInts(m)), m), make([]uint8, k)
			got, check := guarded(t, m*n, r.IntN(3))
			rowSteps := make([]float32, m)
			for i := range m {
				rowSteps[i] = rows.PackFloats(i, a[i*k:(i+1)*k], small)
			}
			w.MultiplyFloat(got, n, rows, 0, m, 0, w.Panels(), &ByteEpilogue{Scale: steps})
			check()
			for i := range m {
				qa, sa := quantised(a[i*k:], k, 1)
				Scale(got[i*n:(i+1)*n], got[i*n:(i+1)*n], rowSteps[i])
				for j := range n {
					qb, sb := quantised(b[j:], k, n)
					var sum int32
					for l := range k {
						sum += qa[l] * qb[l]
					}
					if want := float32(float32(sum)*sb) * sa; got[i*n+j] != want {
						t.Fatalf("%dx%dx%d: row %d, column %d is %v, want %v", m, n, k, i, j, got[i*n+j], want)
					}
				}
			}
		}
	})
}

func TestFloatsInBytesNotFinite(t *testing.T) {
	t.Parallel()
	inf, nan := float32(math.Inf(1)), float32(math.NaN())
	w, steps := NewByteMatrix(2, 3), make([]float32, 3)
	w.SetZeros([]int32{0}, 0x80)
	w.FillFloats([]float32{1, inf, 1, 1, 1, nan}, 3, false, steps, 0, 1)
	if steps[0] != float32(1)/127 || steps[1] == steps[1] || steps[2] == steps[2] {
		t.Errorf("steps %v", steps)
	}
	rows := w.Rows(make([]int32, w.RowInts(1)), 1)
	if s := rows.PackFloats(0, []float32{inf, 1}, make([]uint8, 2)); s == s {
		t.Errorf("step %v of a row with an infinite number", s)
	}
}
