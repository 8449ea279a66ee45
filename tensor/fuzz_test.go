package tensor

import (
	"bytes"
	"errors"
	"testing"
)

// Whatever a .npy file holds, what is wrong with it is an ErrTensor, and what is right is no larger
// than the file.
func FuzzReadNpy(f *testing.F) {
	var good bytes.Buffer
	if err := WriteNpy(&good, Must(New([]int{2, 3}, make([]Half, 6)))); err != nil {
		f.Fatal(err)
	}
	for _, change := range [][2]string{{"", ""}, {"<f2", "<f8"}, {"<f2", "<c8"}, {"(2, 3)", "(2,-3)"}, {"(2, 3)", "(9, 9)"}, {"False", "True "}, {"\x01\x00", "\x03\x00"}} {
		f.Add(bytes.Replace(good.Bytes(), []byte(change[0]), []byte(change[1]), 1))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		x, err := ReadNpy(bytes.NewReader(data))
		if err != nil && !errors.Is(err, ErrTensor) {
			t.Errorf("%v is no ErrTensor", err)
		}
		if err == nil && x.Len() > len(data) {
			t.Errorf("%v out of %d bytes", x, len(data))
		}
	})
}
