package tensor

import (
	"errors"
	"slices"
	"testing"
)

func TestJoinAligned(t *testing.T) {
	t.Parallel()
	long := Must(New([]int{1, 2, 3, 1}, []float32{1, 2, 3, 4, 5, 6}))
	short := Must(New([]int{2, 2, 1, 1}, []float32{7, 8, 9, 10}))
	joined, err := JoinAligned(2, long, short)
	if err != nil {
		t.Fatal(err)
	}
	want := []float32{1, 2, 3, 4, 5, 6, 0, 0, 7, 0, 0, 8, 0, 0, 9, 0, 0, 10}
	if !slices.Equal(joined.Shape(), []int{3, 2, 3, 1}) || !slices.Equal(Data[float32](joined), want) {
		t.Fatalf("joined to %v: %v", joined, Data[float32](joined))
	}
	for name, parts := range map[string][]*Tensor{
		"nothing":      {},
		"other heads":  {long, Must(New([]int{1, 1, 1, 1}, []float32{1}))},
		"another type": {long, Must(New([]int{1, 2, 1, 1}, []int64{1, 2}))},
		"another rank": {long, Must(New([]int{1, 2}, []float32{1, 2}))},
	} {
		if _, err := JoinAligned(2, parts...); !errors.Is(err, ErrTensor) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
