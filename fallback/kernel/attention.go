package kernel

import "math"

//go:generate sh -c "cd _gen && go run . -kernels attention -pkg kernel -out ../attention_amd64.s -stubs ../attention_amd64.go"
//go:generate sh -c "cd _gen && go run . -kernels attention512 -pkg kernel -out ../attention512_amd64.s -stubs ../attention512_amd64.go"

// Dots sets dst[j] to the product of a and row j of b; rows begin stride apart.
func Dots(dst, a, b []float32, stride int) {
	n := len(a)
	if len(dst) == 0 {
		return
	}
	if avx2() && n > 0 {
		_ = b[(len(dst)-1)*stride+n-1]
		dotsVector(&dst[0], &a[0], &b[0], len(dst), stride, n)
		return
	}
	for j := range dst {
		var sum float32
		for i, v := range a {
			sum += v * b[j*stride+i]
		}
		dst[j] = sum
	}
}

// Combine adds to dst the rows of b weighted by the elements of a; rows begin
// stride apart.
func Combine(dst, a, b []float32, stride int) {
	n := len(dst)
	if n == 0 || len(a) == 0 {
		return
	}
	if avx2() {
		_ = b[(len(a)-1)*stride+n-1]
		combineVector(&dst[0], &a[0], &b[0], len(a), stride, n)
		return
	}
	for j, w := range a {
		for i := range dst {
			dst[i] += w * b[j*stride+i]
		}
	}
}

// Rows is a matrix in memory of which rows begin Stride apart.
type Rows struct {
	Data   []float32
	Stride int
}

// AttentionHead is one head of attention: out = softmax(scale*q*k' + mask) * v.
// It is computed by pieces of keys with a running maximum and sum (Milakov and
// Gimelshein, 1805.02867; Rabe and Staats, 2112.05682), so that the matrix of
// scores never exists.
type AttentionHead struct {
	Queries, Keys int
	D, DV         int  // widths of q and k, and of v and the result
	Q, K, V, Out  Rows // [Queries,D], [Keys,D], [Keys,DV], [Queries,DV]
	KTransposed   bool // K is [D,Keys]
	Scale         float32
	// MostKeys bounds the keys of a piece, which Scratch grows with; 0 chooses.
	MostKeys int
	// Mask returns what is added to the scores of a query from key lo on; nil
	// stands for nothing. The slice has hi-lo elements, or one for all keys.
	Masks []func(query, lo, hi int) []float32
}

const (
	queryBlock = 48  // queries whose scores are computed together
	keyChunk   = 320 // most keys of a piece
	fewQueries = 3   // up to which keys are not worth packing
)

// chunk returns the number of keys of a piece.
func (h *AttentionHead) chunk() int {
	most := keyChunk
	if h.MostKeys > 0 {
		most = min(most, h.MostKeys)
	}
	pieces := max(1, (h.Keys+most-1)/most)
	return max(panelWidth, ((h.Keys+pieces-1)/pieces+panelWidth-1)/panelWidth*panelWidth)
}

// Scratch returns the floats that Run needs; it does not grow with the number of
// keys beyond a piece.
func (h *AttentionHead) Scratch() int {
	c := h.chunk()
	return 2*h.Queries + queryBlock*c + PanelFloats(h.D, c) + PanelFloats(c, h.DV)
}

// Run computes Out. scratch holds Scratch floats.
func (h *AttentionHead) Run(scratch []float32) {
	c := h.chunk()
	most, sum := scratch[:h.Queries], scratch[h.Queries:2*h.Queries]
	scores := scratch[2*h.Queries : 2*h.Queries+queryBlock*c]
	panels := scratch[2*h.Queries+queryBlock*c:]
	for i := range most {
		most[i], sum[i] = float32(math.Inf(-1)), 0
		clear(h.Out.Data[i*h.Out.Stride : i*h.Out.Stride+h.DV])
	}
	for lo := 0; lo < h.Keys; lo += c {
		hi := min(lo+c, h.Keys)
		if h.Queries <= fewQueries {
			h.few(lo, hi, scores, most, sum)
			continue
		}
		k := NewMatrix(panels, h.D, hi-lo)
		if h.KTransposed {
			k.Fill(h.K.Data[lo:], h.K.Stride, 0, k.Panels())
		} else {
			k.FillTransposed(h.K.Data[lo*h.K.Stride:], h.K.Stride, 0, k.Panels())
		}
		v := NewMatrix(panels[PanelFloats(h.D, c):], hi-lo, h.DV)
		v.Fill(h.V.Data[lo*h.V.Stride:], h.V.Stride, 0, v.Panels())
		for q0 := 0; q0 < h.Queries; q0 += queryBlock {
			q1 := min(q0+queryBlock, h.Queries)
			k.Multiply(scores, c, h.Q.Data[q0*h.Q.Stride:], h.Q.Stride, q1-q0, 0, k.Panels(), false, nil)
			for q := q0; q < q1; q++ {
				h.weigh(q, lo, hi, scores[(q-q0)*c:(q-q0)*c+hi-lo], most, sum)
			}
			v.Multiply(h.Out.Data[q0*h.Out.Stride:], h.Out.Stride, scores, c, q1-q0, 0, v.Panels(), true, nil)
		}
	}
	for i, s := range sum {
		row := h.Out.Data[i*h.Out.Stride : i*h.Out.Stride+h.DV]
		Scale(row, row, 1/s)
	}
}

// few is a piece of Run for so few queries that keys and values are read where
// they lie.
func (h *AttentionHead) few(lo, hi int, scores, most, sum []float32) {
	for q := range h.Queries {
		row := scores[:hi-lo]
		query := h.Q.Data[q*h.Q.Stride : q*h.Q.Stride+h.D]
		if h.KTransposed {
			clear(row)
			Combine(row, query, h.K.Data[lo:], h.K.Stride)
		} else {
			Dots(row, query, h.K.Data[lo*h.K.Stride:], h.K.Stride)
		}
		h.weigh(q, lo, hi, row, most, sum)
		Combine(h.Out.Data[q*h.Out.Stride:q*h.Out.Stride+h.DV], row, h.V.Data[lo*h.V.Stride:], h.V.Stride)
	}
}

// weigh turns the scores of a query and keys lo..hi into weights relative to the
// largest score so far, and brings what was summed before to the same scale.
func (h *AttentionHead) weigh(q, lo, hi int, row, most, sum []float32) {
	if h.Scale != 1 {
		Scale(row, row, h.Scale)
	}
	for _, mask := range h.Masks {
		Add(row, row, mask(q, lo, hi))
	}
	top := max(most[q], Max(row))
	shift := top
	if math.IsInf(float64(top), -1) {
		shift = 0 // every key so far is masked: their weights are 0
	}
	s := ExpSum(row, row, shift)
	if lo > 0 && most[q] != top {
		old := float32(math.Exp(float64(most[q] - shift)))
		sum[q] *= old
		out := h.Out.Data[q*h.Out.Stride : q*h.Out.Stride+h.DV]
		Scale(out, out, old)
	}
	sum[q] += s
	most[q] = top
}
