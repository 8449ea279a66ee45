package kernel

import (
	"bytes"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"testing"

	"github.com/crossattn/xpipe/internal/sweep"
)

// bothWays runs f with the best assembly there is, with lesser instructions, and without assembly.
func bothWays(t *testing.T, f func(t *testing.T)) {
	t.Run("assembly", f)
	was := []bool{hasAMX, hasVNNI, hasAVXVNNI, hasAVX2}
	defer func() { hasAMX, hasVNNI, hasAVXVNNI, hasAVX2 = was[0], was[1], was[2], was[3] }()
	for _, less := range []struct {
		name string
		has  *bool
	}{{"vnni", &hasAMX}, {"avxvnni", &hasVNNI}, {"avx2", &hasAVXVNNI}, {"go", &hasAVX2}} {
		if *less.has {
			*less.has = false
			t.Run(less.name, f)
		}
	}
}

func randBytes(r *rand.Rand, n int, extreme bool) []uint8 {
	v := make([]uint8, n)
	for i := range v {
		v[i] = uint8(r.Uint32())
		if extreme {
			v[i] = []uint8{0, 0x7f, 0x80, 0xff}[r.IntN(4)]
		}
	}
	return v
}

// number is the integer that a byte stands for.
func number(b, flip uint8) int32 {
	if flip != 0 {
		return int32(int8(b))
	}
	return int32(b)
}

func TestByteMatrix(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(1, 2))
		for try := range sweep.Count(t, 61, 200) {
			rows, k, n := 1+r.IntN(40), 1+r.IntN(150), 1+r.IntN(70)
			if try%20 == 0 {
				rows, k = 130, 1+r.IntN(300)
			}
			checkByteMatrix(t, r, try, rows, k, n)
		}
	})
}

// FuzzByteMatrix is TestByteMatrix, of any sizes.
func FuzzByteMatrix(f *testing.F) {
	f.Add(uint64(1), 1, 12, 32, 33)
	f.Fuzz(func(t *testing.T, seed uint64, try, rows, k, n int) {
		if rows < 1 || k < 1 || n < 1 || rows > 300 || k > 2000 || n > 200 || try < 0 {
			t.Skip("sizes that no product has, or that take too long")
		}
		checkByteMatrix(t, rand.New(rand.NewPCG(seed, 0)), try, rows, k, n)
	})
}

// checkByteMatrix compares a product of random bytes, which try chooses the kind of, with its
// definition.
func checkByteMatrix(t *testing.T, r *rand.Rand, try, rows, k, n int) {
	t.Helper()
	aflip, bflip := uint8(r.IntN(2))<<7, uint8(r.IntN(2))<<7
	lda, ldb, ldc := k+r.IntN(5), n+r.IntN(5), n+r.IntN(5)
	a, b := randBytes(r, rows*lda, try%3 == 0), randBytes(r, k*ldb+1, try%3 == 0)[1:]
	bt := make([]uint8, n*k)
	zb := make([]int32, []int{1, n}[r.IntN(2)])
	for i := range zb {
		if zb[i] = number(uint8(r.Uint32()), bflip); try%5 == 0 { // symmetric
			zb[i] = 128 - int32(bflip)
		}
	}
	za := make([]int32, rows)
	one := number(uint8(r.Uint32()), aflip)
	for i := range rows {
		if try%4 == 0 || try%2 == 0 && r.IntN(10) == 0 {
			one = number(uint8(r.Uint32()), aflip)
		}
		za[i] = one
	}
	for i := range k {
		for j := range n {
			bt[j*k+i] = b[i*ldb+j]
		}
	}
	scale, bias := randFloats(r, n), randFloats(r, n)
	epilogues := []*ByteEpilogue{nil, {Scale: scale}, {Scale: scale, Bias: bias}}
	m, mt := NewByteMatrix(k, n), NewByteMatrix(k, n)
	m.SetZeros(zb, bflip)
	mt.SetZeros(zb, bflip)
	m.Fill(b, ldb, bflip, 0, m.Panels())
	mt.FillTransposed(bt, k, bflip, 0, mt.Panels())
	for i, v := range m.panels {
		if mt.panels[i] != v {
			t.Fatal("the two ways of packing differ")
		}
	}
	room, checkRoom := guarded(t, m.RowInts(rows), r.IntN(8))
	packed := m.Rows(asInts(room), rows)
	for i := range rows {
		packed.Pack(i, a[i*lda:i*lda+k], aflip, za[i]+int32(aflip))
	}
	checkRoom()
	for kind, e := range epilogues {
		c, check := guarded(t, (rows-1)*ldc+n, r.IntN(8))
		for i := range c {
			c[i] = 7
		}
		if kind == 0 {
			m.Multiply(asInts(c), ldc, packed, 0, rows, 0, m.Panels(), nil)
		} else {
			m.MultiplyFloat(c, ldc, packed, 0, rows, 0, m.Panels(), e)
		}
		check()
		for i := range rows {
			for j := range ldc {
				if i*ldc+j >= len(c) {
					break
				}
				got := c[i*ldc+j]
				if j >= n {
					if got != 7 {
						t.Fatal("written between rows")
					}
					continue
				}
				var sum int32
				for l := range k {
					sum += (number(a[i*lda+l], aflip) - za[i]) * (number(b[l*ldb+j], bflip) - zb[j%len(zb)])
				}
				want := math.Float32frombits(uint32(sum))
				switch kind {
				case 1:
					want = float32(sum) * scale[j]
				case 2:
					want = float32(float32(sum)*scale[j]) + bias[j]
				}
				if math.Float32bits(got) != math.Float32bits(want) {
					t.Fatalf("%dx%dx%d, epilogue %d, at %d,%d: %v, want %v",
						rows, k, n, kind, i, j, got, want)
				}
			}
		}
	}
}

// Tiles of AMX are the state of a thread: goroutines that are interrupted and moved between threads
// must not lose them.
func TestByteMatrixConcurrent(t *testing.T) {
	const rows, k, n = 70, 300, 90
	r := rand.New(rand.NewPCG(7, 8))
	m := NewByteMatrix(k, n)
	m.SetZeros([]int32{5}, 0x80)
	m.Fill(randBytes(r, k*n, false), n, 0x80, 0, m.Panels())
	a := m.Rows(make([]int32, m.RowInts(rows)), rows)
	for i := range rows {
		a.Pack(i, randBytes(r, k, false), 0, 9)
	}
	want := make([]int32, rows*n)
	m.Multiply(want, n, a, 0, rows, 0, m.Panels(), nil)
	tries := 200
	if simulated {
		tries = 1
	}
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			got := make([]int32, rows*n)
			for try := range tries {
				clear(got)
				m.Multiply(got, n, a, 0, rows, 0, m.Panels(), nil)
				if !slices.Equal(got, want) {
					t.Error("products differ")
					return
				}
				if try%20 == 0 {
					runtime.GC()
				}
			}
		})
	}
	group.Wait()
}

func TestQuantize(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		for n := range 100 {
			src := randFloats(r, n+1)[1:]
			for i := range src {
				src[i] *= 100
				if r.IntN(4) == 0 { // ties
					src[i] = float32(r.IntN(600)-300) / 2
				}
			}
			if n > 20 {
				for i, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.MaxFloat32, -math.MaxFloat32, math.Copysign(0, -1), 1e-42} {
					src[r.IntN(n)/7*7%(n-7)+i] = float32(v)
				}
			}
			low, high := MinMax(src)
			var wantLow, wantHigh float32
			for _, v := range src {
				if v == v {
					wantLow, wantHigh = min(wantLow, v), max(wantHigh, v)
				}
			}
			if low != wantLow || high != wantHigh {
				t.Fatalf("%v: %v to %v, want %v to %v", src, low, high, wantLow, wantHigh)
			}
			flip := uint8(r.IntN(2)) << 7
			scale, zero := float32(r.IntN(3))+0.5, int32(r.IntN(256))
			buf := make([]uint8, n+70)
			dst := buf[r.IntN(5)+32:][:n]
			Quantize(dst, src, scale, zero, flip)
			back, check := guarded(t, n, 1)
			Dequantize(back, dst, scale, zero, flip)
			check()
			for i, v := range src {
				want := math.RoundToEven(float64(v/scale)) + float64(zero)
				if v != v {
					want = float64(zero)
				}
				want = min(max(want, 0), 255)
				if got := float64(dst[i] ^ flip); got != want {
					t.Fatalf("%v / %v + %d: %v, want %v", v, scale, zero, got, want)
				}
				if got, want := back[i], float32(want-float64(zero))*scale; got != want {
					t.Fatalf("back: %v, want %v", got, want)
				}
			}
			// Blocks of 16, with other bytes between.
			pitch := Block + r.IntN(9)
			blocks, apart := n/Block, bytes.Repeat([]uint8{7}, n/Block*pitch+Block)
			wide, checkWide := guarded(t, blocks*Block, 3)
			QuantizeBlocks(apart, src, blocks, pitch, scale, zero, flip)
			DequantizeBlocks(wide, apart, blocks, pitch, scale, zero, flip)
			checkWide()
			if !slices.Equal(wide, back[:len(wide)]) {
				t.Fatalf("blocks: %v, want %v", wide, back)
			}
			for i, b := range apart {
				if block := i / pitch; block < blocks && i%pitch < Block {
					if want := dst[block*Block+i%pitch]; b != want {
						t.Fatalf("blocks: %v, want %v", b, want)
					}
				} else if b != 7 {
					t.Fatal("written between blocks")
				}
			}
			clear(dst)
			for _, b := range buf {
				if b != 0 {
					t.Fatal("written outside")
				}
			}
		}
	})
}

// The sums of a recurrent layer are added to what stands in their place.
func TestByteMatrixAddsInPlace(t *testing.T) {
	bothWays(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(3, 4))
		for n := 1; n < 100; n++ {
			k := 1 + r.IntN(40)
			m := NewByteMatrix(k, n)
			m.Fill(randBytes(r, k*n, false), n, 0, 0, m.Panels())
			packed, scale := m.Rows(make([]int32, m.RowInts(1)), 1), randFloats(r, n)
			packed.Pack(0, randBytes(r, k, false), 0, 3)
			c, want := randFloats(r, n), make([]float32, n)
			m.MultiplyFloat(want, n, packed, 0, 1, 0, m.Panels(),
				&ByteEpilogue{Scale: scale, Bias: append([]float32(nil), c...)})
			m.MultiplyFloat(c, n, packed, 0, 1, 0, m.Panels(),
				&ByteEpilogue{Scale: scale, Bias: c})
			if !slices.Equal(c, want) {
				t.Fatalf("%d columns: %v, want %v", n, c, want)
			}
		}
	})
}

func BenchmarkByteMatrix(b *testing.B) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, rows := range []int{1, 4, 32, 256} {
		const k, n = 768, 3072
		m := NewByteMatrix(k, n)
		m.SetZeros([]int32{0}, 0x80)
		m.Fill(randBytes(r, k*n, false), n, 0x80, 0, m.Panels())
		a, c := m.Rows(make([]int32, m.RowInts(rows)), rows), make([]int32, rows*n)
		b.Run(strconv.Itoa(rows), func(b *testing.B) {
			for b.Loop() {
				m.Multiply(c, n, a, 0, rows, 0, m.Panels(), nil)
			}
			b.ReportMetric(2*float64(rows*k*n)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GOP/s")
			b.ReportMetric(float64(k*n)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GB/s")
		})
	}
}
