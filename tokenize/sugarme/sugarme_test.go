package sugarme_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/tokenize"
	"github.com/crossattn/xpipe/tokenize/sugarme"
	"github.com/sugarme/tokenizer"
)

const file = `{"added_tokens":[{"id":3,"content":"<s>","single_word":false,"lstrip":false,"rstrip":false,"normalized":false,"special":true}],
	"normalizer":{"type":"Lowercase"},"pre_tokenizer":{"type":"WhitespaceSplit"},
	"post_processor":{"type":"BertProcessing","sep":["<s>",3],"cls":["<s>",3]},
	"model":{"type":"WordLevel","unk_token":"?","vocab":{"?":0,"two":1,"cats":2}}}`

func Example() {
	t, err := tokenize.New([]byte(file))
	if err != nil {
		panic(err)
	}
	var model tokenizer.Model = sugarme.NewModel(t)
	tokens, err := model.Tokenize("Two cats")
	fmt.Println(tokens, err)
	// Output: [{1 two [0 3]} {2 cats [4 8]}] <nil>
}

func TestModel(t *testing.T) {
	t.Parallel()
	tk, err := tokenize.New([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	m := sugarme.NewModel(tk)
	if id, ok := m.TokenToId("<s>"); id != 3 || !ok {
		t.Errorf("<s> is %d, %v", id, ok)
	}
	if token, ok := m.IdToToken(2); token != "cats" || !ok {
		t.Errorf("2 is %q, %v", token, ok)
	}
	if v := m.GetVocab(); len(v) != 4 || m.GetVocabSize() != 4 || v["cats"] != 2 {
		t.Errorf("vocabulary %v, size %d", v, m.GetVocabSize())
	}
	if err := m.Save(t.TempDir()); !errors.Is(err, tokenize.ErrTokenizer) {
		t.Errorf("Save: %v", err)
	}
}

// TestEncoding reads a converted encoding through the library's own accessors.
func TestEncoding(t *testing.T) {
	t.Parallel()
	tk, err := tokenize.New([]byte(file))
	if err != nil {
		t.Fatal(err)
	}
	e, err := tk.Encode("two cats and more", tokenize.WithPair("two"), tokenize.WithTruncation(&tokenize.Truncation{MaxLength: 6}))
	if err != nil {
		t.Fatal(err)
	}
	c := sugarme.Encoding(e)
	if want := []int{3, 1, 2, 3, 1, 3}; !slices.Equal(c.GetIds(), want) || !slices.Equal(c.GetTypeIds(), []int{0, 0, 0, 0, 1, 1}) {
		t.Errorf("ids %v, types %v", c.GetIds(), c.GetTypeIds())
	}
	if !slices.Equal(c.GetSpecialTokenMask(), []int{1, 0, 0, 1, 0, 1}) || !slices.Equal(c.GetTokens(), e.Tokens) {
		t.Errorf("special %v, tokens %v", c.GetSpecialTokenMask(), c.GetTokens())
	}
	if len(c.GetOverflowing()) != len(e.Overflowing) || len(e.Overflowing) == 0 {
		t.Errorf("%d overflowing parts, want %d", len(c.GetOverflowing()), len(e.Overflowing))
	}
	if got := c.GetOffsets()[2]; !slices.Equal(got, []int{4, 8}) {
		t.Errorf("offsets %v", got)
	}
}
