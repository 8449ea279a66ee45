package zlibsize

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// The sizes are zlib's to the byte, where text repeats itself, where it does not, and where Huffman's
// codes would be too long.
func TestSizes(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/sizes.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows [][2]any
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		text, want := row[0].(string), int(row[1].(float64))
		if got, ok := Of([]byte(text)); !ok || got != want {
			t.Errorf("%.40q of %d bytes: %d, %v, want %d", text, len(text), got, ok, want)
		}
	}
	if _, ok := Of([]byte(strings.Repeat("x", mostSymbols+1))); ok {
		t.Error("a text of more than a block has a size")
	}
}

// No text makes it fail.
func FuzzOf(f *testing.F) {
	f.Add([]byte("so it goes, so it goes, so it goes"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if n, ok := Of(text); ok && n < 8 {
			t.Errorf("%d bytes", n)
		}
	})
}
