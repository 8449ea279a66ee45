package kernel

import (
	"math"
	"runtime"
)

// Products of floats in 8 bits. A column of the right operand and a row of the left one are quantised
// symmetrically: the largest magnitude is 127 steps, and a number is the nearest step, ties to even.
// The sums of products are integers, which every processor gets alike; the row's and the column's
// step then make floats of them, each by one multiplication.

// rowZero is the zero point of the left operand's bytes. One for all rows lets tiles have any rows.
const rowZero = 128

// stepFor returns the step with which 127 of them make the largest magnitude; 1 where all are 0, and
// NaN where it is infinite.
func stepFor(most float32) float32 {
	switch {
	case most == 0:
		return 1
	case math.IsInf(float64(most), 0):
		return float32(math.NaN())
	}
	return max(most/127, math.SmallestNonzeroFloat32)
}

// FillFloats quantises b into panels lo..hi and sets steps, one for each column, for the columns of
// those. b is row-major or, transposed, has the columns in its rows, which begin ldb apart. A column
// with a number that is not finite gets a step of NaN.
func (m *ByteMatrix) FillFloats(b []float32, ldb int, transposed bool, steps []float32, lo, hi int) {
	wide := Matrix{K: m.K, N: m.N}
	panel, small := make([]float32, m.K*panelWidth), make([]uint8, m.K*panelWidth)
	for p := lo; p < hi; p++ {
		width := min(panelWidth, m.N-p*panelWidth)
		if transposed {
			fillPanel(panel, b[p*panelWidth*ldb:], ldb, width, m.K)
		} else {
			wide.copyPanel(panel, b, ldb, p)
		}
		var most [panelWidth]float32
		for k := range m.K {
			row := (*[panelWidth]float32)(panel[k*panelWidth:])
			for j, v := range row {
				if v = float32(math.Abs(float64(v))); !(v <= most[j]) {
					most[j] = v // also a NaN, which stays
				}
			}
		}
		for j := range most {
			most[j] = stepFor(most[j])
		}
		copy(steps[p*panelWidth:], most[:width])
		for k := range m.K {
			row, to := (*[panelWidth]float32)(panel[k*panelWidth:]), (*[panelWidth]uint8)(small[k*panelWidth:])
			for j, v := range row {
				// In such a sum the last bit is 1, and the last byte the number rounded to even.
				to[j] = uint8(math.Float32bits(v/most[j] + 3<<22))
			}
		}
		one := ByteMatrix{K: m.K, N: panelWidth, panels: m.Panel(p), dots: m.dots}
		if m.dots {
			one.sums = m.sums[p*panelWidth : (p+1)*panelWidth]
		}
		one.Fill(small, panelWidth, 0x80, 0, 1)
	}
	runtime.KeepAlive(m)
}

// PackFloats quantises src, the K numbers of row r, and returns the row's step. small is room for K
// bytes. NaNs count as 0; a row with an infinite number gets a step of NaN.
func (a *ByteRows) PackFloats(r int, src []float32, small []uint8) (step float32) {
	low, high := MinMax(src)
	step = stepFor(max(-low, high))
	small = small[:len(src)]
	Quantize(small, src, step, rowZero, 0)
	a.Pack(r, small, 0, rowZero)
	return step
}
