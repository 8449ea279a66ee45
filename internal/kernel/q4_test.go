package kernel

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/tensor"
)

// randBlocks makes weights of some bits, 0 for 4 bits that a table gives their meaning.
func randBlocks(r *rand.Rand, bits, n, k, size int, half bool, zeros int) *Blocks {
	b := &Blocks{N: n, K: k, Bits: bits, Size: size, Count: (k + size - 1) / size}
	if bits == 0 {
		b.Bits, b.Table, zeros = 4, new([16]float32), 0
		for i := range b.Table {
			b.Table[i] = float32(r.NormFloat64())
		}
	}
	b.Data = make([]uint8, n*b.Count*size*b.Bits/8)
	for i := range b.Data {
		b.Data[i] = uint8(r.IntN(256))
	}
	scales := func(low, high float64) (f Floats) {
		for range n * b.Count {
			v := float32(low + r.Float64()*(high-low))
			if half {
				f.Half = append(f.Half, uint16(tensor.ToHalf(v)))
			} else {
				f.Wide = append(f.Wide, v)
			}
		}
		return f
	}
	b.Scales = scales(0.01, 0.1)
	switch zeros {
	case 1:
		b.Zeros = make([]uint8, n*((b.Count*bits+7)/8))
		for i := range b.Zeros {
			b.Zeros[i] = uint8(r.IntN(256))
		}
	case 2:
		b.ZeroFloats = scales(0, float64(int(1)<<bits-1))
	}
	return b
}

// instructionSets calls f with the processor's widest instructions and with each narrower set.
func instructionSets(t *testing.T, f func(t *testing.T)) {
	a2, a512, v := hasAVX2, hasAVX512, hasVNNI
	defer func() { hasAVX2, hasAVX512, hasVNNI = a2, a512, v }()
	for _, set := range []struct {
		name          string
		a2, a512, vnn bool
	}{{"vnni", true, true, true}, {"avx512", true, true, false}, {"avx2", true, false, false}, {"go", false, false, false}} {
		if set.a2 && !a2 || set.a512 && !a512 || set.vnn && !v {
			continue
		}
		hasAVX2, hasAVX512, hasVNNI = set.a2, set.a512, set.vnn
		t.Run(set.name, f)
	}
}

// TestBlocks compares the forms of a product with weights in blocks with the definition, the rounded
// ones with a left operand rounded in float64.
func TestBlocks(t *testing.T) {
	instructionSets(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		for i := range sweep.Count(t, 40, 100) {
			n, k := 1+r.IntN(70), 1+r.IntN(700)
			size, bits := 16<<r.IntN(5), []int{0, 2, 4, 4, 8}[r.IntN(5)]
			b := randBlocks(r, bits, n, k, size, r.IntN(2) == 0, r.IntN(3))
			rows := 1 + r.IntN(9)
			name := fmt.Sprintf("case %d: %d bits, [%d,%d] in blocks of %d, zeros %t %t, %d rows", i, bits, n, k, size, b.Zeros != nil, b.ZeroFloats.Len() > 0, rows)
			checkBlocks(t, name, b, randFloats(r, rows*k), rows)
			if t.Failed() {
				return
			}
		}
	})
}

func checkBlocks(t testing.TB, name string, b *Blocks, a []float32, rows int) {
	t.Helper()
	n, k := b.N, b.K
	weights := make([]float32, n*k)
	for j := range n {
		b.Unpack(weights[j*k:(j+1)*k], j)
		per := b.Count * b.Size * b.Bits / 8
		for i, w := range weights[j*k : (j+1)*k] {
			data, block := b.Data[j*per:(j+1)*per], i/b.Size
			want := (b.value(data, i) - b.zero(j, block)) * b.Scales.At(j*b.Count+block)
			if b.Table != nil {
				want = b.Table[int(b.value(data, i^1))] * b.Scales.At(j*b.Count+block)
			}
			if w != want {
				t.Errorf("%s: weight %d of row %d is %v, want %v", name, i, j, w, want)
				return
			}
		}
	}
	rounded := make([]float32, len(a))
	for r := range rows {
		for at := 0; at < k; at += 32 {
			part := a[r*k+at : r*k+min(k, at+32)]
			var most float32
			for _, v := range part {
				most = max(most, float32(math.Abs(float64(v))))
			}
			for j, v := range part {
				if most > 0 {
					rounded[r*k+at+j] = float32(math.RoundToEven(float64(v*(127/most)))) * (most / 127)
				}
			}
		}
	}
	want, magnitude := make([]float64, rows*n), make([]float64, rows*n)
	for _, form := range []BlockForm{BlockRow, ByteRow, BytePanel} {
		if form != BlockRow && !b.plainNibbles() || form == BytePanel && !b.HasBytes() {
			continue
		}
		from := a
		if form != BlockRow {
			from = rounded
		}
		for r := range rows {
			for j := range n {
				var sum, most float64
				for x := range k {
					p := float64(from[r*k+x]) * float64(weights[j*k+x])
					sum, most = sum+p, most+math.Abs(p)
				}
				want[r*n+j], magnitude[r*n+j] = sum, most
			}
		}
		size := b.LeftFloats(form)
		left, checkLeft := guarded(t, rows*size, 3)
		for r := range rows {
			b.Prepare(left[r*size:(r+1)*size], a[r*k:(r+1)*k], form)
		}
		checkLeft()
		columns := n
		if form == BytePanel {
			columns = (n + 31) / 32 * 32
		}
		got, checkGot := guarded(t, rows*columns, 3)
		if form == BytePanel {
			panels := columns / 16
			if n%2 == 1 {
				panels = (n + 15) / 16 // an odd number of them, too
			}
			scratch, checkScratch := guarded(t, b.BlockPanelFloats(panels), 3)
			b.NewBlockPanels(scratch, 0, panels).Multiply(got, columns, left, size, rows)
			checkScratch()
		} else {
			for r := range rows {
				scratch, checkScratch := guarded(t, b.RowScratch(), 3)
				b.Row(got[r*n:(r+1)*n], left[r*size:(r+1)*size], form, 0, n, scratch)
				checkScratch()
			}
		}
		checkGot()
		for r := range rows {
			for j := range n {
				g, w := float64(got[r*columns+j]), want[r*n+j]
				if !(math.Abs(g-w) <= 1e-5*magnitude[r*n+j]+1e-6) {
					t.Errorf("%s, form %d: row %d column %d is %v, want %v", name, form, r, j, g, w)
					return
				}
			}
		}
	}
	panels := (n + 15) / 16
	room, checkRoom := guarded(t, PanelFloats(k, n), 3)
	m := NewMatrix(room, k, n)
	m.FillBlocks(b, 0, 0, panels, make([]float32, b.FillScratch()))
	checkRoom()
	for j := range panels * 16 {
		for x := range k {
			var w float32
			if j < n {
				w = weights[j*k+x]
			}
			if g := m.Panel(j / 16)[x*16+j%16]; !(math.Abs(float64(g-w)) <= 1e-5*math.Abs(float64(w))+1e-6) {
				t.Errorf("%s: panel column %d, %d is %v, want %v", name, j, x, g, w)
				return
			}
		}
	}
}

// TestQuantizeBlocks compares the rounding to bytes with plain Go, to the bit.
func TestQuantizeBlocks(t *testing.T) {
	if !avx2() {
		t.Skip("no assembly")
	}
	r := rand.New(rand.NewPCG(5, 6))
	src := randFloats(r, 32*40)
	clear(src[32:64])
	for i := range 32 {
		src[64+i] *= 1e-33
		src[96+i] *= 1e30
	}
	src[5*32+3], src[6*32+4] = float32(math.NaN()), float32(math.Inf(-1))
	run := func() ([]uint8, []float32, []int32) {
		dst, scales, words := make([]uint8, 32*40), make([]float32, 40), make([]int32, 160)
		quantizeBlocks(dst, scales, words, src, 0x80)
		return dst, scales, words
	}
	q1, s1, w1 := run()
	defer func() { hasAVX2 = true }()
	hasAVX2 = false
	q2, s2, w2 := run()
	for i := range s1 {
		if math.Float32bits(s1[i]) != math.Float32bits(s2[i]) && !(s1[i] != s1[i] && s2[i] != s2[i]) {
			t.Errorf("scale %d is %v, want %v", i, s1[i], s2[i])
		}
		if s1[i] != s1[i] {
			continue
		}
		if !slices.Equal(q1[i*32:(i+1)*32], q2[i*32:(i+1)*32]) || !slices.Equal(w1[4*i:4*i+4], w2[4*i:4*i+4]) {
			t.Errorf("block %d: %v %v, want %v %v", i, q1[i*32:(i+1)*32], w1[4*i:4*i+4], q2[i*32:(i+1)*32], w2[4*i:4*i+4])
		}
	}
	if s1[5] == s1[5] || s1[6] == s1[6] {
		t.Error("blocks with a NaN and an infinity give numbers")
	}
}

func FuzzBlocks(f *testing.F) {
	f.Add(uint64(1), uint8(2), uint16(16), uint16(128), uint8(0), false, uint8(0), uint8(1))
	f.Fuzz(func(t *testing.T, seed uint64, bits uint8, n, k uint16, size uint8, half bool, zeros, rows uint8) {
		r := rand.New(rand.NewPCG(seed, 1))
		b := randBlocks(r, []int{0, 2, 4, 8}[bits%4], 1+int(n)%100, 1+int(k)%1000, 16<<(size%5), half, int(zeros%3))
		m := 1 + int(rows)%8
		checkBlocks(t, "fuzz", b, randFloats(r, m*b.K), m)
	})
}

func BenchmarkBlocks(bench *testing.B) {
	r := rand.New(rand.NewPCG(7, 8))
	const n, k = 512, 896
	instructions := map[string]BlockForm{"row": BlockRow, "byteRow": ByteRow}
	b := randBlocks(r, 4, n, k, 32, false, 0)
	for _, bits := range []int{0, 2, 4, 8} {
		for _, size := range []int{16, 32, 128} {
			for zeros := range 2 {
				b := randBlocks(r, bits, n, k, size, false, zeros)
				bench.Run(fmt.Sprintf("bits%d/block%d/zeros%d", bits, size, zeros), func(bench *testing.B) {
					left, dst, scratch := make([]float32, b.LeftFloats(BlockRow)), make([]float32, n), make([]float32, b.RowScratch())
					b.Prepare(left, randFloats(r, k), BlockRow)
					bench.SetBytes(n * k) // so many values, not bytes
					for bench.Loop() {
						b.Row(dst, left, BlockRow, 0, n, scratch)
					}
				})
			}
			bench.Run(fmt.Sprintf("bits%d/block%d/panels", bits, size), func(bench *testing.B) {
				b := randBlocks(r, bits, n, k, size, false, 0)
				scratch, m := make([]float32, b.FillScratch()), NewMatrix(nil, k, 64)
				bench.SetBytes(n * k)
				for bench.Loop() {
					for row := 0; row < n; row += 64 {
						m.FillBlocks(b, row, 0, 4, scratch)
					}
				}
			})
		}
	}
	for _, name := range []string{"row", "byteRow"} {
		form := instructions[name]
		bench.Run(name, func(bench *testing.B) {
			left, dst, scratch := make([]float32, b.LeftFloats(form)), make([]float32, n), make([]float32, b.RowScratch())
			b.Prepare(left, randFloats(r, k), form)
			bench.SetBytes(int64(len(b.Data) + 4*len(b.Scales.Wide)))
			for bench.Loop() {
				b.Row(dst, left, form, 0, n, scratch)
			}
		})
		bench.Run("prepare "+name, func(bench *testing.B) {
			left, row := make([]float32, b.LeftFloats(form)), randFloats(r, k)
			for bench.Loop() {
				b.Prepare(left, row, form)
			}
		})
	}
	bench.Run("bytePanel128", func(bench *testing.B) {
		size := b.LeftFloats(BytePanel)
		left, dst := make([]float32, 128*size), make([]float32, 128*n)
		for i := range 128 {
			b.Prepare(left[i*size:(i+1)*size], randFloats(r, k), BytePanel)
		}
		scratch := make([]float32, b.BlockPanelFloats(2))
		for bench.Loop() {
			for row := 0; row < n; row += 32 {
				b.NewBlockPanels(scratch, row, 2).Multiply(dst[row:], n, left, size, 128)
			}
		}
		bench.ReportMetric(2*128*n*k*float64(bench.N)/float64(bench.Elapsed().Nanoseconds()), "GFLOP/s")
	})
	bench.Run("unpackBytes", func(bench *testing.B) {
		scratch := make([]float32, b.BlockPanelFloats(2))
		for bench.Loop() {
			for row := 0; row < n; row += 32 {
				b.NewBlockPanels(scratch, row, 2)
			}
		}
	})
	bench.Run("unpackFloats", func(bench *testing.B) {
		scratch := make([]float32, b.FillScratch())
		m := NewMatrix(nil, k, 64)
		for bench.Loop() {
			for row := 0; row < n; row += 64 {
				m.FillBlocks(b, row, 0, 4, scratch)
			}
		}
	})
}
