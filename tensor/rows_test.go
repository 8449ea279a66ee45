package tensor

import (
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
)

// Take and Slice of every element type.
func TestRowsOfEveryType(t *testing.T) {
	t.Parallel()
	checkRows(t, []float32{1, 2, 3, 4, 5, 6})
	checkRows(t, []Half{1, 2, 3, 4, 5, 6})
	checkRows(t, []int64{1, 2, 3, 4, 5, 6})
	checkRows(t, []int32{1, 2, 3, 4, 5, 6})
	checkRows(t, []int8{1, 2, 3, 4, 5, 6})
	checkRows(t, []uint8{1, 2, 3, 4, 5, 6})
	checkRows(t, []bool{true, false, true, true, false, false})
}

func checkRows[T Element](t *testing.T, v []T) {
	t.Helper()
	x := Must(New([]int{3, 2, 1}, v))
	got, err := x.Take([]int{2, 0, 0})
	if err != nil {
		t.Fatal(err)
	}
	if want := []T{v[4], v[5], v[0], v[1], v[0], v[1]}; !slices.Equal(Data[T](got), want) ||
		!slices.Equal(got.Shape(), []int{3, 2, 1}) || got.DType() != x.DType() {
		t.Errorf("Take of %v is %v %v", x, got, Data[T](got))
	}
	if got, err = x.Slice(1, 3); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(Data[T](got), v[2:]) || !slices.Equal(got.Shape(), []int{2, 2, 1}) {
		t.Errorf("Slice of %v is %v %v", x, got, Data[T](got))
	}
	if &Data[T](got)[0] != &v[2] || cap(Data[T](got)) != 4 {
		t.Errorf("Slice of %v copies", x)
	}
	if got, err = x.Take([]int{0, 1, 2}); err != nil || &Data[T](got)[0] != &v[0] {
		t.Errorf("Take of all rows of %v copies: %v", x, err)
	}
}

func TestRowsAtTheEdges(t *testing.T) {
	t.Parallel()
	x := Must(New([]int{2, 2}, []int64{1, 2, 3, 4}))
	empty := Must(New([]int{0, 2}, []int64{}))
	for name, f := range map[string]func() (*Tensor, error){
		"no row":        func() (*Tensor, error) { return x.Take([]int{}) },
		"empty slice":   func() (*Tensor, error) { return x.Slice(2, 2) },
		"empty tensor":  func() (*Tensor, error) { return empty.Take(nil) },
		"slice of none": func() (*Tensor, error) { return empty.Slice(0, 0) },
	} {
		got, err := f()
		if err != nil || !slices.Equal(got.Shape(), []int{0, 2}) || Data[int64](got) == nil || got.Len() != 0 {
			t.Errorf("%s: %v %v", name, got, err)
		}
	}
	released := Must(NewStored(Float32, []int{2}, &cell{values: []float32{1, 2}}))
	released.Release()
	for name, f := range map[string]func() (*Tensor, error){
		"scalar":           func() (*Tensor, error) { return Scalar[int64](1).Take([]int{0}) },
		"slice of scalar":  func() (*Tensor, error) { return Scalar[int64](1).Slice(0, 1) },
		"row beyond":       func() (*Tensor, error) { return x.Take([]int{0, 2}) },
		"row before":       func() (*Tensor, error) { return x.Take([]int{-1}) },
		"slice beyond":     func() (*Tensor, error) { return x.Slice(1, 3) },
		"slice before":     func() (*Tensor, error) { return x.Slice(-1, 1) },
		"slice backwards":  func() (*Tensor, error) { return x.Slice(2, 1) },
		"released":         func() (*Tensor, error) { return released.Take([]int{1, 0}) },
		"slice of release": func() (*Tensor, error) { return released.Slice(0, 1) },
	} {
		if _, err := f(); !errors.Is(err, ErrTensor) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// rowCell is a cell that takes rows itself.
type rowCell struct {
	*cell
	width int
	asked [][]int
}

func (c *rowCell) Rows(rows []int) (Storage, error) {
	c.asked = append(c.asked, rows)
	if len(rows) > 3 {
		return nil, errors.New("too many rows")
	}
	var v []float32
	for _, r := range rows {
		v = append(v, c.values[r*c.width:(r+1)*c.width]...)
	}
	return &rowCell{cell: &cell{values: v}, width: c.width}, nil
}

func TestRowStorage(t *testing.T) {
	t.Parallel()
	c := &rowCell{cell: &cell{values: []float32{1, 2, 3, 4, 5, 6, 7, 8}}, width: 2}
	x := Must(NewStored(Float32, []int{4, 1, 2}, c))
	taken, err := x.Take([]int{3, 3, 1})
	if err != nil {
		t.Fatal(err)
	}
	part, err := x.Slice(1, 3)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.Take([]int{0, 1, 2, 3}); !errors.Is(err, ErrTensor) {
		t.Errorf("what Rows says: %v", err)
	}
	if c.loads != 0 || len(c.asked) != 3 || !slices.Equal(c.asked[1], []int{1, 2}) {
		t.Errorf("%d loads, asked for %v", c.loads, c.asked)
	}
	x.Release()
	if got := Data[float32](taken); !slices.Equal(got, []float32{7, 8, 7, 8, 3, 4}) {
		t.Errorf("Take = %v", got)
	}
	if got := Data[float32](part); !slices.Equal(got, []float32{3, 4, 5, 6}) ||
		!slices.Equal(part.Shape(), []int{2, 1, 2}) {
		t.Errorf("Slice = %v %v", part, got)
	}

	// Rows of a tensor with another first dimension are others: it is loaded.
	c = &rowCell{cell: &cell{values: []float32{1, 2, 3, 4, 5, 6, 7, 8}}, width: 2}
	y := Must(Must(NewStored(Float32, []int{4, 2}, c)).Reshape(2, 4))
	if taken, err = y.Take([]int{1, 0}); err != nil {
		t.Fatal(err)
	}
	if got := Data[float32](taken); !slices.Equal(got, []float32{5, 6, 7, 8, 1, 2, 3, 4}) ||
		c.loads != 1 || len(c.asked) != 0 {
		t.Errorf("Take after Reshape = %v, %d loads, asked for %v", got, c.loads, c.asked)
	}
}

// A Storage that only loads is loaded once, and what was taken outlives it.
func TestRowsOfAnyStorage(t *testing.T) {
	t.Parallel()
	c := &cell{values: []float32{1, 2, 3, 4}}
	x := Must(NewStored(Float32, []int{2, 2}, c))
	taken, err := x.Take([]int{1, 0})
	if err != nil {
		t.Fatal(err)
	}
	part, err := x.Slice(1, 2)
	if err != nil {
		t.Fatal(err)
	}
	x.Release()
	if !slices.Equal(Data[float32](taken), []float32{3, 4, 1, 2}) ||
		!slices.Equal(Data[float32](part), []float32{3, 4}) || c.loads != 1 {
		t.Errorf("%v %v, %d loads", Data[float32](taken), Data[float32](part), c.loads)
	}
}

// Rows that come and go one after another are those that Join and Take give, and what was given keeps
// its values.
func TestAppendAndKeep(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	row := func() *Tensor {
		return Must(New([]int{1, 2}, []float32{r.Float32(), r.Float32()}))
	}
	first := row()
	given := slices.Clone(Data[float32](first))
	got, want := first, first
	for step := range 400 {
		var err, err2 error
		if n := got.Dim(0); n > 1 && r.IntN(9) < 4 {
			var rows []int
			for i := range n {
				if r.IntN(n) > 0 || step%50 == 0 && i == 0 {
					rows = append(rows, i)
				}
			}
			got, err = got.Keep(rows)
			want, err2 = want.Take(rows)
		} else {
			more := row()
			got, err = got.Append(more)
			want, err2 = Join(want, more)
		}
		if err != nil || err2 != nil || !slices.Equal(got.Shape(), want.Shape()) ||
			!slices.Equal(Data[float32](got), Data[float32](want)) {
			t.Fatalf("step %d: %v %v, want %v %v (%v)", step, got, err, want, err2, Data[float32](got))
		}
	}
	if !slices.Equal(Data[float32](first), given) {
		t.Error("the first tensor changed")
	}
	wide := Must(Zeros(Float32, 1, 3))
	if _, err := got.Append(wide); !errors.Is(err, ErrTensor) {
		t.Error(err)
	}
	if _, err := got.Keep([]int{got.Dim(0)}); !errors.Is(err, ErrTensor) {
		t.Error(err)
	}
	whole := Must(New([]int{2, 1}, []float32{1, 2}))
	half, err := whole.Slice(0, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := half.Append(Must(New([]int{1, 1}, []float32{9}))); err != nil || whole.Float32s()[1] != 2 {
		t.Errorf("%v: a row of another tensor was written over", err)
	}
}
