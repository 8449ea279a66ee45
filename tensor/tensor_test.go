package tensor

import (
	"bytes"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestNew(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		shape []int
		n     int
		ok    bool
	}{
		{[]int{}, 1, true},
		{[]int{2, 3}, 6, true},
		{[]int{2, 0, 3}, 0, true},
		{[]int{2, 3}, 5, false},
		{[]int{-1, 3}, 3, false},
		{[]int{math.MaxInt, 2}, 0, false},
		{[]int{0, math.MaxInt, math.MaxInt}, 0, false},
	} {
		x, err := New(c.shape, make([]float32, c.n))
		if (err == nil) != c.ok {
			t.Errorf("New(%v, %d elements): %v", c.shape, c.n, err)
		}
		if err != nil && !errors.Is(err, ErrTensor) {
			t.Errorf("New(%v): error %v does not wrap ErrTensor", c.shape, err)
		}
		if err == nil && x.Len() != c.n {
			t.Errorf("New(%v).Len() = %d, want %d", c.shape, x.Len(), c.n)
		}
	}
}

func TestValuesNamesBothTypes(t *testing.T) {
	t.Parallel()
	if _, err := Values[int64](Scalar(float32(1))); err == nil || !strings.Contains(err.Error(), "float32, not int64") {
		t.Errorf("got %v", err)
	}
}

func TestReshapeShares(t *testing.T) {
	t.Parallel()
	a := Must(New([]int{2, 3}, []int64{1, 2, 3, 4, 5, 6}))
	b := Must(a.Reshape(3, 2))
	Data[int64](b)[0] = 9
	if Data[int64](a)[0] != 9 {
		t.Error("Reshape copied")
	}
	c := a.Clone()
	Data[int64](c)[0] = 1
	if Data[int64](a)[0] != 9 {
		t.Error("Clone shares")
	}
	if _, err := a.Reshape(4); !errors.Is(err, ErrTensor) {
		t.Errorf("Reshape(4): %v", err)
	}
}

// Every Half survives the way to float32 and back, and rounding is to the nearest, ties to even.
func TestHalf(t *testing.T) {
	t.Parallel()
	for i := range 1 << 16 {
		h := Half(i)
		f := h.Float32()
		if f != f {
			if g := ToHalf(f).Float32(); g == g {
				t.Fatalf("NaN %#04x became %v", i, g)
			}
			continue
		}
		if got := ToHalf(f); got != h {
			t.Fatalf("%#04x -> %v -> %#04x", i, f, got)
		}
	}
	for range 200000 {
		f := math.Float32frombits(rand.Uint32())
		if f != f {
			continue
		}
		h := ToHalf(f)
		for _, near := range []Half{h - 1, h + 1} {
			if near&0x7c00 == 0x7c00 || (near^h)&0x8000 != 0 || math.IsInf(float64(h.Float32()), 0) {
				continue
			}
			d, dn := math.Abs(float64(f)-float64(h.Float32())), math.Abs(float64(f)-float64(near.Float32()))
			if dn < d || dn == d && h&1 == 1 {
				t.Fatalf("%v rounds to %v, but %v is nearer", f, h.Float32(), near.Float32())
			}
		}
	}
	for _, c := range []struct {
		in   float32
		want Half
	}{{65504, 0x7bff}, {65520, 0x7c00}, {65519, 0x7bff}, {-0x1p-25, 0x8000}, {0x1p-24, 1}, {0x1.8p-25, 1}} {
		if got := ToHalf(c.in); got != c.want {
			t.Errorf("ToHalf(%v) = %#04x, want %#04x", c.in, got, c.want)
		}
	}
}

// Every BF16 survives the way to float32 and back, and rounding is to the nearest, ties to even.
func TestBF16(t *testing.T) {
	t.Parallel()
	for i := range 1 << 16 {
		b := BF16(i)
		f := b.Float32()
		if got := ToBF16(f); got != b && (f == f || got.Float32() == got.Float32()) {
			t.Fatalf("%#04x -> %v -> %#04x", i, f, got)
		}
	}
	for _, c := range []struct {
		in   float32
		want BF16
	}{
		{1, 0x3f80}, {0x1.01p0, 0x3f80}, {0x1.03p0, 0x3f82}, {0x1.010002p0, 0x3f81},
		{math.MaxFloat32, 0x7f80}, {-0x1p-149, 0x8000}, {0x1p-133, 1},
	} {
		if got := ToBF16(c.in); got != c.want {
			t.Errorf("ToBF16(%v) = %#04x, want %#04x", c.in, got, c.want)
		}
	}
	if f := ToBF16(math.Float32frombits(0x7f800001)).Float32(); f == f {
		t.Errorf("NaN became %v", f)
	}
}

func TestNpyRoundTrip(t *testing.T) {
	t.Parallel()
	for _, x := range []*Tensor{
		Must(New([]int{2, 2}, []float32{1, -2, 3.5, float32(math.Inf(1))})),
		Must(New([]int{3}, []Half{0x3c00, 0, 0xffff})),
		Must(New([]int{3}, []float64{math.Pi, 5e-324, math.NaN()})),
		Must(New([]int{3}, []BF16{0x3f80, 0, 0xffff})),
		Must(New([]int{1, 2, 1}, []int64{math.MinInt64, 7})),
		Must(New([]int{2}, []int32{-5, 6})),
		Must(New([]int{2}, []int8{-5, 6})),
		Must(New([]int{2}, []uint8{250, 6})),
		Must(New([]int{2}, []bool{true, false})),
		Must(New([]int{2, 0}, []float32{})),
		Scalar(int64(42)),
	} {
		path := filepath.Join(t.TempDir(), "x.npy")
		if err := SaveNpy(path, x); err != nil {
			t.Fatal(err)
		}
		y, err := LoadNpy(path)
		if err != nil {
			t.Fatal(err)
		}
		var a, b bytes.Buffer
		WriteNpy(&a, x)
		WriteNpy(&b, y)
		if x.String() != y.String() || !bytes.Equal(a.Bytes(), b.Bytes()) {
			t.Errorf("%v came back as %v", x, y)
		}
	}
}

func TestReadNpyRefuses(t *testing.T) {
	t.Parallel()
	var good bytes.Buffer
	WriteNpy(&good, Must(New([]int{2}, []float32{1, 2})))
	file := good.String()
	for name, bad := range map[string]string{
		"empty":           "",
		"text":            "hello, this is no array",
		"truncated":       file[:len(file)-1],
		"header only":     file[:80],
		"object dtype":    strings.Replace(file, "<f4", "|O8", 1),
		"fortran order":   strings.Replace(strings.Replace(file, "(2,)", "(2,1)", 1), "False", "True", 1),
		"negative":        strings.Replace(file, "(2,)", "(-2,)", 1),
		"huge claim":      strings.Replace(file, "(2,)", "(1000000000000,)", 1),
		"overflow":        strings.Replace(file, "(2,)", "(9223372036854775807, 9)", 1),
		"version 9":       strings.Replace(file, "\x01\x00", "\x09\x00", 1),
		"too long header": "\x93NUMPY\x02\x00\xff\xff\xff\xff",
	} {
		if _, err := ReadNpy(strings.NewReader(bad)); !errors.Is(err, ErrTensor) {
			t.Errorf("%s: got error %v", name, err)
		}
	}
}

func TestSpecCheck(t *testing.T) {
	t.Parallel()
	spec := Spec{Name: "x", DType: Float32, Shape: []int{-1, 3}, Dims: []string{"batch", ""}}
	if err := spec.Check(Must(Zeros(Float32, 5, 3))); err != nil {
		t.Error(err)
	}
	for _, bad := range []*Tensor{Must(Zeros(Int64, 5, 3)), Must(Zeros(Float32, 5, 4)), Must(Zeros(Float32, 3))} {
		if err := spec.Check(bad); err == nil || !strings.Contains(err.Error(), "x float32[batch,3]") {
			t.Errorf("%v: %v", bad, err)
		}
	}
}

func TestNpzRoundTrip(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "two.npz")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]*Tensor{"ids": Must(New([]int{2}, []int64{1, 2})), "maps": Must(New([]int{1, 2}, []float32{0.5, 3}))}
	if err := WriteNpz(f, want); err != nil {
		t.Fatal(err)
	}
	f.Close()
	got, err := LoadNpz(path, 1<<20)
	if err != nil || len(got) != 2 || !slices.Equal(Data[int64](got["ids"]), []int64{1, 2}) ||
		!slices.Equal(Data[float32](got["maps"]), []float32{0.5, 3}) {
		t.Error(got, err)
	}
}

func FuzzLoadNpz(f *testing.F) {
	var good bytes.Buffer
	WriteNpz(&good, map[string]*Tensor{"a": Must(New([]int{2}, []int64{1, 2})), "b": Scalar(float32(1))})
	f.Add(good.Bytes())
	f.Fuzz(func(t *testing.T, data []byte) {
		const most = 1 << 16
		path := filepath.Join(t.TempDir(), "x.npz")
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		arrays, err := LoadNpz(path, most)
		if err != nil && !errors.Is(err, ErrTensor) {
			t.Error(err)
		}
		total := 0
		for _, x := range arrays {
			total += x.Len()
		}
		if total > most {
			t.Errorf("%d elements within %d bytes", total, most)
		}
	})
}
