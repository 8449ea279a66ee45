package kernel

import (
	"runtime"
	"unsafe"
)

// Matrix products. The right operand is packed into panels of 16 columns, the left one is read
// where it lies: a micro-kernel keeps a tile of 6 x 16 results in registers while it runs along k.
// Rows and panels are walked so that a tile's rows stay in the first cache and a block of panels in
// the second (the order of loops is the one of Goto and van de Geijn, 2008, without packing of the
// left operand).
const (
	panelWidth = 16
	tileRows   = 6
	blockK     = 320 // panelWidth * blockK floats: 20 kB, a panel's part
	blockN     = 8   // panels that share a pass over the rows: 160 kB
)

// PanelWidth is the number of columns of a panel, on every processor.
const PanelWidth = panelWidth

// Tile returns the rows and panels that the micro-kernel in use takes at once. Pieces of a product
// should be multiples of them.
func Tile() (rows, panels int) {
	if avx512() {
		return wideRows, 2
	}
	return tileRows, 1
}

// WholeTiles rounds a number of panels down to what fills tiles, at least one tile.
func WholeTiles(panels int) int {
	_, tile := Tile()
	return max(tile, panels/tile*tile)
}

//go:generate sh -c "cd _gen && go run . -kernels gemm -pkg kernel -out ../gemm_amd64.s -stubs ../gemm_amd64.go"

// Matrix is a packed right operand of k rows and n columns.
type Matrix struct {
	K, N   int
	panels []float32 // [panel][k][16], zeros where the last panel has no column
	halves []uint16  // the same as float16, where panels is nil
	pages  *pages    // that they lie in; nil of memory on Go's heap

	// As bfloat16, where both are nil: see bfloat.go.
	pairs []uint32 // [panel][depth][16]
	depth int      // pairs of a panel, more than k needs where AMX takes them
	exact bool     // left operands are not rounded
	dots  bool     // left operands are in pairs too
	deep  bool     // AMX takes the panels, which hold whole tiles
}

// PanelFloats returns the floats that a packed matrix of k rows and n columns takes.
func PanelFloats(k, n int) int { return (n + panelWidth - 1) / panelWidth * panelWidth * k }

// Panels returns the number of panels, which Multiply and Fill take ranges of.
func (m *Matrix) Panels() int { return (m.N + panelWidth - 1) / panelWidth }

// Bytes returns how much memory the elements take.
func (m *Matrix) Bytes() int { return 4*(len(m.panels)+len(m.pairs)) + 2*len(m.halves) }

// Panel returns the floats of a panel, [k][16], which are there as long as m is.
func (m *Matrix) Panel(p int) []float32 { return m.panels[p*m.K*panelWidth : (p+1)*m.K*panelWidth] }

// NewMatrix makes a matrix whose panels lie in buf, which must hold PanelFloats(k, n); with a nil
// buf they are allocated, for weights that stay. They are filled by Fill or FillTransposed.
func NewMatrix(buf []float32, k, n int) *Matrix {
	m := &Matrix{K: k, N: n}
	m.lie(buf)
	return m
}

// lie is the part of NewMatrix without which that can be inlined, so that a matrix of one use, as
// attention has many, lies on the stack.
func (m *Matrix) lie(buf []float32) {
	if buf == nil {
		buf, m.pages = elements[float32](PanelFloats(m.K, m.N))
	}
	m.panels = buf[:PanelFloats(m.K, m.N)]
}

// NewHalfMatrix makes a matrix that keeps its elements as float16, in half the memory; Exact says
// whether that loses nothing.
func NewHalfMatrix(k, n int) *Matrix {
	m := &Matrix{K: k, N: n}
	m.halves, m.pages = elements[uint16](PanelFloats(k, n))
	return m
}

// Fill packs panels lo..hi from row-major b, where a row begins ldb after the one before.
func (m *Matrix) Fill(b []float32, ldb, lo, hi int) {
	scratch := m.scratch()
	for p := lo; p < hi; p++ {
		dst := m.room(p, scratch)
		m.copyPanel(dst, b, ldb, p)
		m.done(p, dst)
	}
	runtime.KeepAlive(m)
}

// copyPanel sets dst [k][16] to the columns of panel p of row-major b, zeros where there is none.
func (m *Matrix) copyPanel(dst, b []float32, ldb, p int) {
	if width := min(panelWidth, m.N-p*panelWidth); width < panelWidth {
		for k := range m.K {
			row := dst[k*panelWidth : (k+1)*panelWidth]
			n := copy(row, b[k*ldb+p*panelWidth:k*ldb+p*panelWidth+width])
			clear(row[n:])
		}
		return
	}
	for k := range m.K {
		to, from := (*[panelWidth]float32)(dst[k*panelWidth:]), (*[panelWidth]float32)(b[k*ldb+p*panelWidth:])
		for i := 0; i < panelWidth; i += 4 { // a vector each: more at once are a call
			*(*[4]float32)(to[i:]) = *(*[4]float32)(from[i:])
		}
	}
}

// scratch is room for a panel's floats where the matrix does not keep them as such; nil where it does.
func (m *Matrix) scratch() []float32 {
	if m.halves != nil || m.pairs != nil {
		return make([]float32, m.K*panelWidth)
	}
	return nil
}

// room returns memory for the floats of a panel, scratch or its own; done then stores them.
func (m *Matrix) room(p int, scratch []float32) []float32 {
	if scratch != nil {
		return scratch
	}
	return m.Panel(p)
}

func (m *Matrix) done(p int, panel []float32) {
	switch {
	case m.halves != nil:
		ToHalf(m.halves[p*m.K*panelWidth:(p+1)*m.K*panelWidth], panel)
	case m.pairs != nil:
		m.pack(m.pairs[p*m.depth*panelWidth:(p+1)*m.depth*panelWidth], panel)
	}
}

// FillTransposed packs panels lo..hi from the rows of b, each of which is a column of the matrix
// and begins ldb after the one before.
func (m *Matrix) FillTransposed(b []float32, ldb, lo, hi int) {
	scratch := m.scratch()
	for p := lo; p < hi; p++ {
		dst := m.room(p, scratch)
		fillPanel(dst, b[p*panelWidth*ldb:], ldb, min(panelWidth, m.N-p*panelWidth), m.K)
		m.done(p, dst)
	}
	runtime.KeepAlive(m)
}

// fillPanel sets a panel dst [k,16] to width rows of k numbers, which begin step apart. Other columns
// are 0.
func fillPanel(dst, rows []float32, step, width, k int) {
	whole := 0
	if avx2() && width == panelWidth && k >= 8 {
		whole = k &^ 7
		_, _ = dst[whole*panelWidth-1], rows[(panelWidth-1)*step+whole-1]
		transposePanelAVX2(&dst[0], &rows[0], step, whole)
	}
	for j := range panelWidth {
		if j >= width {
			for i := range k {
				dst[i*panelWidth+j] = 0
			}
			continue
		}
		for i, v := range rows[j*step:][whole:k] {
			dst[(whole+i)*panelWidth+j] = v
		}
	}
}

// Epilogue says what to do to results while they are still in the cache. The zero value does
// nothing.
type Epilogue struct {
	Bias     []float32                // one for each column, added first
	RowBias  []float32                // one for each row, added too
	Bounds   *[2]float32              // then kept between these
	Activate func(dst, src []float32) // then applied; dst and src are the same
	Residual []float32                // then added: laid out as c
}

// Multiply sets, for rows of a and the columns of panels lo..hi, c to a times m, or adds it to c
// where add is set, and applies e, which may be nil. A row of a begins lda after the one before, a
// row of c ldc; c is the whole matrix.
func (m *Matrix) Multiply(c []float32, ldc int, a []float32, lda, rows, lo, hi int, add bool,
	e *Epilogue) {
	if m.K == 0 && lo < hi {
		m.empty(c, ldc, rows, lo, hi, add, e)
		return
	}
	if m.pairs != nil {
		m.multiplyPairs(c, ldc, a, lda, rows, lo, hi, add, e)
		runtime.KeepAlive(m)
		return
	}
	wide, most, kStep := avx512(), tileRows, blockK
	if wide {
		most, kStep = wideRows, wideBlockK
	}
	if rows <= most {
		kStep = m.K // each panel is read once: front to back is quickest
	}
	for p0 := lo; p0 < hi; p0 += blockN {
		p1 := min(p0+blockN, hi)
		for k0 := 0; k0 < m.K; k0 += kStep {
			kn := min(kStep, m.K-k0)
			var now *Epilogue // only the last piece of k has results
			if k0+kn == m.K {
				now = e
			}
			// Tiles of rows as equal as can be: 32 are 6, 6, 5, 5, 5 and 5.
			count := (rows + most - 1) / most
			sum := add || k0 > 0
			for i, r := 0, 0; i < count; i++ {
				mr := (rows - r + count - i - 1) / (count - i)
				if wide {
					m.tilesWide(c, ldc, a[r*lda+k0:], lda, r, mr, p0, p1, k0, kn, sum, now)
				} else {
					m.tiles(c, ldc, a[r*lda+k0:], lda, r, mr, p0, p1, k0, kn, sum, now)
				}
				r += mr
			}
		}
	}
	runtime.KeepAlive(m)
}

// tiles computes rows r..r+mr of panels p0..p1, over kn elements of k from k0 on.
func (m *Matrix) tiles(c []float32, ldc int, a []float32, lda, r, mr, p0, p1, k0, kn int, add bool,
	e *Epilogue) {
	var t tileEpilogue
	flags := 0
	if add {
		flags = flagAdd
	}
	if e != nil {
		flags |= e.tile(&t, r)
	}
	whole := min(p1, m.N/panelWidth)
	for p := p0; p < whole; p++ {
		if flags&flagColBias != 0 {
			t.colBias = &e.Bias[p*panelWidth : (p+1)*panelWidth][0]
		}
		if flags&flagResidual != 0 {
			t.residual = &e.Residual[r*ldc+p*panelWidth : (r+mr-1)*ldc+(p+1)*panelWidth][0]
		}
		m.tile(c[r*ldc+p*panelWidth:], ldc, a, lda, (p*m.stride()+k0)*panelWidth, kn, mr, flags, &t)
	}
	if e != nil && e.Activate != nil && p0 < whole {
		e.finish(c, ldc, r, r+mr, p0*panelWidth, whole*panelWidth)
	}
	if whole < p1 { // the last panel, of fewer columns
		m.edge(c[r*ldc+whole*panelWidth:], ldc, a, lda, (whole*m.stride()+k0)*panelWidth, kn, mr,
			m.N-whole*panelWidth, flags&flagAdd)
		if e != nil {
			e.Apply(c, ldc, r, r+mr, whole*panelWidth, m.N)
		}
	}
}

// tileEpilogue is the part of an Epilogue that the micro-kernel does, for one tile; its flags say
// which fields count. The assembly knows their offsets.
type tileEpilogue struct {
	rowBias, colBias, residual *float32
	low, high                  float32
}

// The flags of the micro-kernel.
const (
	flagAdd = 1 << iota
	flagRowBias
	flagColBias
	flagBounds
	flagResidual
)

// tile returns the flags for rows from r on, and fills in the fields that are the same for all
// panels.
func (e *Epilogue) tile(t *tileEpilogue, r int) (flags int) {
	if e.RowBias != nil {
		t.rowBias = &e.RowBias[r]
		flags |= flagRowBias
	}
	if e.Bias != nil {
		flags |= flagColBias
	}
	if e.Bounds != nil {
		t.low, t.high = e.Bounds[0], e.Bounds[1]
		flags |= flagBounds
	}
	if e.Residual != nil && e.Activate == nil {
		flags |= flagResidual
	}
	return flags
}

// finish applies what comes after the biases: the activation and the residual.
func (e *Epilogue) finish(c []float32, ldc, r0, r1, c0, c1 int) {
	for r := r0; r < r1; r++ {
		row := c[r*ldc+c0 : r*ldc+c1]
		e.Activate(row, row)
		if e.Residual != nil {
			Add(row, row, e.Residual[r*ldc+c0:r*ldc+c1])
		}
	}
}

// empty is Multiply of matrices with nothing to sum over.
func (m *Matrix) empty(c []float32, ldc, rows, lo, hi int, add bool, e *Epilogue) {
	c0, c1 := lo*panelWidth, min(hi*panelWidth, m.N)
	if !add {
		for r := range rows {
			clear(c[r*ldc+c0 : r*ldc+c1])
		}
	}
	if e != nil {
		e.Apply(c, ldc, 0, rows, c0, c1)
	}
}

// Apply applies e to rows r0..r1 and columns c0..c1 of c.
func (e *Epilogue) Apply(c []float32, ldc, r0, r1, c0, c1 int) {
	for r := r0; r < r1; r++ {
		row := c[r*ldc+c0 : r*ldc+c1]
		if e.Bias != nil {
			Add(row, row, e.Bias[c0:c1])
		}
		var shift float32
		if e.RowBias != nil {
			shift = e.RowBias[r]
		}
		if e.Bounds != nil {
			ShiftClip(row, row, shift, e.Bounds[0], e.Bounds[1])
		} else if e.RowBias != nil {
			Affine(row, row, 1, shift)
		}
		if e.Activate != nil {
			e.Activate(row, row)
		}
		if e.Residual != nil {
			Add(row, row, e.Residual[r*ldc+c0:r*ldc+c1])
		}
	}
}

// tile is gemmTile for the part of the panels that begins at element b.
func (m *Matrix) tile(c []float32, ldc int, a []float32, lda, b, k, rows, flags int,
	e *tileEpilogue) {
	switch end := b + k*panelWidth; {
	case m.halves != nil:
		gemmTileHalf(c, ldc, a, lda, m.halves[b:end], k, rows, flags, e)
	case m.pairs != nil:
		gemmTilePairs(c, ldc, a, lda, m.pairs[b:end], k, rows, flags, e)
	default:
		gemmTile(c, ldc, a, lda, m.panels[b:end], k, rows, flags, e)
	}
}

// stride returns how many elements along k lie between the beginnings of two panels.
func (m *Matrix) stride() int {
	if m.pairs != nil {
		return m.depth
	}
	return m.K
}

// edge is tile for a panel of which only width columns count.
func (m *Matrix) edge(c []float32, ldc int, a []float32, lda, b, k, rows, width, add int) {
	var tile [tileRows * panelWidth]float32
	m.tile(tile[:], panelWidth, a, lda, b, k, rows, 0, nil)
	for r := range rows {
		row, from := c[r*ldc:r*ldc+width], tile[r*panelWidth:r*panelWidth+width]
		if add != 0 {
			for j, v := range from {
				row[j] += v
			}
		} else {
			copy(row, from)
		}
	}
}

// gemmTile picks the micro-kernel for the number of rows. It indexes the slices at their ends
// first, because assembly checks no bounds.
func gemmTile(c []float32, ldc int, a []float32, lda int, b []float32, k, rows, flags int,
	e *tileEpilogue) {
	if !avx2() {
		gemmTileGo(c, ldc, a, lda, b, k, rows, flags, e)
		return
	}
	_, _, _ = c[(rows-1)*ldc+panelWidth-1], a[(rows-1)*lda+k-1], b[k*panelWidth-1]
	pe := (*float32)(unsafe.Pointer(e))
	switch rows {
	case 1:
		gemm1x16(&c[0], ldc, &a[0], lda, &b[0], k, flags, pe)
	case 2:
		gemm2x16(&c[0], ldc, &a[0], lda, &b[0], k, flags, pe)
	case 3:
		gemm3x16(&c[0], ldc, &a[0], lda, &b[0], k, flags, pe)
	case 4:
		gemm4x16(&c[0], ldc, &a[0], lda, &b[0], k, flags, pe)
	case 5:
		gemm5x16(&c[0], ldc, &a[0], lda, &b[0], k, flags, pe)
	default:
		gemm6x16(&c[0], ldc, &a[0], lda, &b[0], k, flags, pe)
	}
}

// gemmTileHalf is gemmTile with b in float16.
func gemmTileHalf(c []float32, ldc int, a []float32, lda int, b []uint16, k, rows, flags int,
	e *tileEpilogue) {
	if !avx2() {
		wide := make([]float32, len(b))
		FromHalf(wide, b)
		gemmTileGo(c, ldc, a, lda, wide, k, rows, flags, e)
		return
	}
	_, _, _ = c[(rows-1)*ldc+panelWidth-1], a[(rows-1)*lda+k-1], b[k*panelWidth-1]
	pe := (*float32)(unsafe.Pointer(e))
	switch rows {
	case 1:
		gemmHalf1x16(&c[0], ldc, &a[0], lda, &b[0], k, flags, pe)
	case 2:
		gemmHalf2x16(&c[0], ldc, &a[0], lda, &b[0], k, flags, pe)
	case 3:
		gemmHalf3x16(&c[0], ldc, &a[0], lda, &b[0], k, flags, pe)
	case 4:
		gemmHalf4x16(&c[0], ldc, &a[0], lda, &b[0], k, flags, pe)
	case 5:
		gemmHalf5x16(&c[0], ldc, &a[0], lda, &b[0], k, flags, pe)
	default:
		gemmHalf6x16(&c[0], ldc, &a[0], lda, &b[0], k, flags, pe)
	}
}

// gemmTileGo sets c[r][j], for rows r up to 6 and 16 columns j, to the sum over k of
// a[r][k]*b[k][j], after adding and bounding as flags ask for. It is what the assembly of gemmTile
// computes, though in another order of additions.
func gemmTileGo(c []float32, ldc int, a []float32, lda int, b []float32, k, rows, flags int,
	e *tileEpilogue) {
	for r := range rows {
		var sum [panelWidth]float32
		row := a[r*lda : r*lda+k]
		for i, v := range row {
			bb := (*[panelWidth]float32)(b[i*panelWidth:])
			for j := range sum {
				sum[j] += v * bb[j]
			}
		}
		to := (*[panelWidth]float32)(c[r*ldc:])
		for j, v := range sum {
			to[j] = e.finish(v, to[j], r, j, r*ldc+j, flags)
		}
	}
}

// finish does to the sum v of row r and column j what flags ask for; before is what the result takes
// the place of, and the residual's number is the one at i.
func (e *tileEpilogue) finish(v, before float32, r, j, i, flags int) float32 {
	if flags&flagAdd != 0 {
		v += before
	}
	if flags&flagColBias != 0 {
		v += at(e.colBias, j)
	}
	if flags&flagRowBias != 0 {
		v += at(e.rowBias, r)
	}
	if flags&flagBounds != 0 {
		v = min(max(v, e.low), e.high)
	}
	if flags&flagResidual != 0 {
		v += at(e.residual, i)
	}
	return v
}

// at returns element i of the slice that begins at p. tiles made sure that it is long enough.
func at(p *float32, i int) float32 {
	return *(*float32)(unsafe.Add(unsafe.Pointer(p), 4*i))
}
