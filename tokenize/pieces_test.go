package tokenize

import (
	"path/filepath"
	"testing"
)

// The pieces of a text's tokens, joined, are the text, as far as its first token, which may begin
// otherwise.
func TestPiecesJoin(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../models/mini/*/tokenizer.json")
	more, _ := filepath.Glob("../testdata/families/*/bundle/tokenizer.json")
	if err != nil || len(files) == 0 || len(more) == 0 {
		t.Fatal("no tokenizers", err)
	}
	for _, file := range append(files, more...) {
		tokenizer, err := Open(file)
		if err != nil {
			t.Fatal(err)
		}
		pieces := tokenizer.Pieces()
		for _, text := range []string{`{"name": "a cat", "n": [1, 2.5]}`, "a naïve 猫 café"} {
			e, err := tokenizer.Encode("a "+text, WithoutSpecialTokens())
			if err != nil {
				t.Fatal(err)
			}
			whole := tokenizer.Decode(e.IDs, true)
			first := tokenizer.Decode(e.IDs[:1], true)
			got := first
			for _, id := range e.IDs[1:] {
				got += string(pieces[id])
			}
			if got != whole {
				t.Errorf("%s: %q, want %q", file, got, whole)
			}
		}
	}
}
