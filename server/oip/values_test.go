package oip

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/crossattn/xpipe/tensor"
)

// Each type travels as bytes, and as JSON where that has a form for it.
func TestValues(t *testing.T) {
	t.Parallel()
	for d, text := range map[tensor.DType]string{
		tensor.Float32: "[[1.5,-2],[0,3]]", tensor.Float64: "[1e300,-2,0,3]", tensor.Int64: "[-9007199254740993,1,2,3]",
		tensor.Int32: "[[1,2],[3,-4]]", tensor.Int8: "[-128,127,0,1]", tensor.Uint8: "[255,0,1,2]", tensor.Bool: "[true,false,true,true]",
	} {
		made, err := fromJSON(d, []int{2, 2}, 4, json.RawMessage(text))
		if err != nil {
			t.Fatal(err)
		}
		var b bytes.Buffer
		if n, err := writeBytes(&b, made); err != nil || n != 4*d.Size() || b.Len() != n {
			t.Fatalf("%v: %d bytes, %v", d, n, err)
		}
		again, err := fromBytes(d, []int{2, 2}, b.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		v, err := toJSON(again)
		if err != nil {
			t.Fatal(err)
		}
		data, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		third, err := fromJSON(d, []int{4}, 4, data)
		if err != nil {
			t.Fatalf("%v: %v, %s", d, err, data)
		}
		var c bytes.Buffer
		if _, err := writeBytes(&c, third); err != nil || !bytes.Equal(b.Bytes(), c.Bytes()) {
			t.Errorf("%v: %s, %v", d, data, err)
		}
	}
	for _, d := range []tensor.DType{tensor.Float16, tensor.BFloat16} {
		made, err := fromBytes(d, []int{1}, []byte{0, 60})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := toJSON(made); err == nil {
			t.Errorf("%v has a form in JSON", d)
		}
	}
	scalar, err := fromJSON(tensor.Float32, []int{}, 1, json.RawMessage("[7]"))
	if err != nil || scalar.Rank() != 0 || tensor.Data[float32](scalar)[0] != 7 {
		t.Errorf("%v, %v", scalar, err)
	}
	none, err := fromJSON(tensor.Float32, []int{0, 3}, 0, json.RawMessage("[]"))
	if err != nil || none.Len() != 0 {
		t.Errorf("%v, %v", none, err)
	}
}

func FuzzFromJSON(f *testing.F) {
	for _, s := range []string{"[1,2,3,4]", "[[1,2],[3,4]]", "[[[1]]]", "[]", "3", "null", `["x"]`, "[[],[1,2,3,4]]", "{}"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if json.Valid(data) {
			if made, err := fromJSON(tensor.Float32, []int{2, 2}, 4, data); err == nil && made.Len() != 4 {
				t.Errorf("%q: %v", data, made)
			}
		}
	})
}
