package kernel

import "math"

//go:generate sh -c "cd _gen && go run . -kernels attention -pkg kernel -out ../attention_amd64.s -stubs ../attention_amd64.go"
//go:generate sh -c "cd _gen && go run . -kernels attention512 -pkg kernel -out ../attention512_amd64.s -stubs ../attention512_amd64.go"

// Dots sets dst[j] to the product of a and row j of b, whose rows begin stride apart.
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
		dst[j] = dot(a, b[j*stride:])
	}
}

// dot returns the sum of the products of a and the first of b. Four sums run side by side.
func dot(a, b []float32) float32 {
	b = b[:len(a)]
	var s0, s1, s2, s3 float32
	i := 0
	for ; i+4 <= len(a); i += 4 {
		s0 += a[i] * b[i]
		s1 += a[i+1] * b[i+1]
		s2 += a[i+2] * b[i+2]
		s3 += a[i+3] * b[i+3]
	}
	for ; i < len(a); i++ {
		s0 += a[i] * b[i]
	}
	return s0 + s1 + (s2 + s3)
}

// Combine adds to dst the rows of b, each weighted by the element of a with its number. Rows begin
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

// Rows is a matrix in memory whose rows begin Stride elements apart.
type Rows struct {
	Data   []float32
	Stride int
	Half   []uint16 // in place of Data: float16, in bits
}

// columns returns columns lo to hi-1 of n rows as float32: where they lie, or widened to scratch.
func (r Rows) columns(n, lo, hi int, scratch []float32) Rows {
	if r.Half == nil {
		return Rows{Data: r.Data[lo:], Stride: r.Stride}
	}
	width := hi - lo
	if r.Stride == width {
		FromHalf(scratch[:n*width], r.Half[lo:lo+n*width])
	} else {
		for i := range n {
			at := i*r.Stride + lo
			FromHalf(scratch[i*width:(i+1)*width], r.Half[at:at+width])
		}
	}
	return Rows{Data: scratch, Stride: width}
}

// from returns the rows from row i on.
func (r Rows) from(i int) Rows {
	if r.Half != nil {
		return Rows{Half: r.Half[i*r.Stride:], Stride: r.Stride}
	}
	return Rows{Data: r.Data[i*r.Stride:], Stride: r.Stride}
}

// OnlineSoftmax turns rows of scores into weights although the scores of a row come a piece at a
// time (Milakov and Gimelshein, 1805.02867): it keeps the largest score and the sum of weights that
// each row has so far. Row i of the result is its sum of weighted values divided by Sum[i].
type OnlineSoftmax struct {
	Max, Sum []float32 // one for each row
}

// Reset prepares all rows for their first piece.
func (s OnlineSoftmax) Reset() {
	for i := range s.Max {
		s.Max[i], s.Sum[i] = float32(math.Inf(-1)), 0
	}
}

// Weigh replaces the next scores of row i by weights relative to the largest score so far, and
// brings values, the weighted values that were summed before, to the same scale.
func (s OnlineSoftmax) Weigh(i int, scores, values []float32) {
	top := max(s.Max[i], Max(scores))
	shift := top
	if math.IsInf(float64(top), -1) {
		shift = 0 // every score so far is -Inf: their weights are 0
	}
	sum := ExpSum(scores, scores, shift)
	if s.Max[i] != top && s.Sum[i] != 0 {
		old := float32(math.Exp(float64(s.Max[i] - shift)))
		s.Sum[i] *= old
		Scale(values, values, old)
	}
	s.Sum[i] += sum
	s.Max[i] = top
}

// AttentionHead is one head of attention: Out = softmax(Scale*Q*K' adjusted) * V. It takes a chunk
// of keys at a time (Rabe and Staats, 2112.05682), so that the matrix of scores never exists as a
// whole.
type AttentionHead struct {
	Queries, Keys int
	D, DV         int  // widths of Q and K, and of V and Out
	Q, K, V, Out  Rows // [Queries,D], [Keys,D], [Keys,DV], [Queries,DV]
	KTransposed   bool // K is [D,Keys]
	HalfKV        bool // K or V may be float16, which is widened a chunk at a time
	Scale         float32
	// Adjust changes the scores of a query with keys lo, lo+1 and so on, which are scaled already:
	// it adds masks. nil leaves them as they are.
	Adjust func(query, lo int, scores []float32)
	// Chunk is the number of keys to take at a time, on which Scratch depends; 0 chooses.
	Chunk int
	// Sink is a score that every query has beside those with keys, of a value of 0: it takes part of
	// the weights (Xiao and others, 2309.17453). nil for none.
	Sink *float32
	// ZeroUnseen makes the result 0 for a query whose scores are all -Inf, or that has no keys. By
	// the definition, and without it, that result is NaN.
	ZeroUnseen bool
	// Stop is asked before each chunk. Once it returns true, Run returns with Out half done; nil
	// never stops.
	Stop func() bool
}

const (
	queryBlock = 48  // queries whose scores are computed together
	mostChunk  = 320 // keys of a chunk: with 48 queries, 60 kB of scores
	fewQueries = 3   // up to which keys are not worth packing
)

// EvenChunk returns the number of keys to take at a time so that all chunks have about as many, at
// most most (0: as many as is quick), in whole panels.
func EvenChunk(keys, most int) int {
	if most <= 0 || most > mostChunk {
		most = mostChunk
	}
	pieces := max(1, (keys+most-1)/most)
	return max(panelWidth, ((keys+pieces-1)/pieces+panelWidth-1)/panelWidth*panelWidth)
}

func (h *AttentionHead) chunk() int {
	if h.Chunk > 0 {
		return h.Chunk
	}
	return EvenChunk(h.Keys, 0)
}

// Scratch returns how many floats (not bytes) Run needs. It grows with the chunk, not with the
// number of keys.
func (h *AttentionHead) Scratch() int {
	c := h.chunk()
	n := 2*h.Queries + queryBlock*c + PanelFloats(h.D, c) + PanelFloats(c, h.DV)
	if h.HalfKV {
		n += c * (h.D + h.DV)
	}
	return n
}

// Run computes Out. scratch holds at least Scratch floats.
func (h *AttentionHead) Run(scratch []float32) {
	c := h.chunk()
	softmax := OnlineSoftmax{scratch[:h.Queries], scratch[h.Queries : 2*h.Queries]}
	softmax.Reset()
	if h.Sink != nil {
		for i := range softmax.Max {
			softmax.Max[i], softmax.Sum[i] = *h.Sink, 1
		}
	}
	scores := scratch[2*h.Queries : 2*h.Queries+queryBlock*c]
	panels := scratch[2*h.Queries+queryBlock*c:]
	var wide []float32 // where a chunk of K and V is widened
	if h.HalfKV {
		wide = panels[PanelFloats(h.D, c)+PanelFloats(c, h.DV):]
	}
	for i := range h.Queries {
		clear(h.out(i))
	}
	for lo := 0; lo < h.Keys; lo += c {
		if h.Stop != nil && h.Stop() {
			return
		}
		hi := min(lo+c, h.Keys)
		keys, values := h.pieces(lo, hi, wide)
		if h.Queries <= fewQueries {
			h.few(keys, values, lo, hi, scores, softmax)
			continue
		}
		k := NewMatrix(panels, h.D, hi-lo)
		if h.KTransposed {
			k.Fill(keys.Data, keys.Stride, 0, k.Panels())
		} else {
			k.FillTransposed(keys.Data, keys.Stride, 0, k.Panels())
		}
		v := NewMatrix(panels[PanelFloats(h.D, c):], hi-lo, h.DV)
		v.Fill(values.Data, values.Stride, 0, v.Panels())
		for q0 := 0; q0 < h.Queries; q0 += queryBlock {
			n := min(queryBlock, h.Queries-q0)
			q, out := h.Q.Data[q0*h.Q.Stride:], h.Out.Data[q0*h.Out.Stride:]
			k.Multiply(scores, c, q, h.Q.Stride, n, 0, k.Panels(), false, nil)
			for i := range n {
				h.weigh(q0+i, lo, scores[i*c:i*c+hi-lo], softmax)
			}
			v.Multiply(out, h.Out.Stride, scores, c, n, 0, v.Panels(), true, nil)
		}
	}
	for i, sum := range softmax.Sum {
		if row := h.out(i); sum == 0 && h.ZeroUnseen {
			clear(row)
		} else {
			Scale(row, row, 1/sum)
		}
	}
}

// out returns the result of a query.
func (h *AttentionHead) out(query int) []float32 {
	at := query * h.Out.Stride
	return h.Out.Data[at : at+h.DV]
}

// pieces returns the keys and values from lo to hi-1, float32.
func (h *AttentionHead) pieces(lo, hi int, wide []float32) (keys, values Rows) {
	n := hi - lo
	if h.KTransposed {
		keys = h.K.columns(h.D, lo, hi, wide)
	} else {
		keys = h.K.from(lo).columns(n, 0, h.D, wide)
	}
	if h.V.Half != nil {
		wide = wide[n*h.D:]
	}
	return keys, h.V.from(lo).columns(n, 0, h.DV, wide)
}

// few is a chunk of Run for so few queries that keys and values are read where they lie.
func (h *AttentionHead) few(
	keys, values Rows, lo, hi int, scores []float32, softmax OnlineSoftmax,
) {
	for q := range h.Queries {
		row := scores[:hi-lo]
		query := h.Q.Data[q*h.Q.Stride : q*h.Q.Stride+h.D]
		if h.KTransposed {
			clear(row)
			Combine(row, query, keys.Data, keys.Stride)
		} else {
			Dots(row, query, keys.Data, keys.Stride)
		}
		h.weigh(q, lo, row, softmax)
		Combine(h.out(q), row, values.Data, values.Stride)
	}
}

// weigh turns the products of a query and keys from lo on into weights.
func (h *AttentionHead) weigh(query, lo int, row []float32, softmax OnlineSoftmax) {
	if h.Scale != 1 {
		Scale(row, row, h.Scale)
	}
	if h.Adjust != nil {
		h.Adjust(query, lo, row)
	}
	softmax.Weigh(query, row, h.out(query))
}
