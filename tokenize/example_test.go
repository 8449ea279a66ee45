package tokenize_test

import (
	"fmt"

	"github.com/crossattn/xpipe/tokenize"
)

const file = `{
	"normalizer": {"type": "Lowercase"},
	"pre_tokenizer": {"type": "BertPreTokenizer"},
	"post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 6], "cls": ["[CLS]", 5]},
	"decoder": {"type": "WordPiece", "prefix": "##", "cleanup": true},
	"added_tokens": [
		{"id": 5, "content": "[CLS]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
		{"id": 6, "content": "[SEP]", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true}],
	"model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
		"vocab": {"[UNK]": 0, "two": 1, "cat": 2, "##s": 3, "!": 4}}
}`

func Example() {
	t, err := tokenize.New([]byte(file))
	if err != nil {
		panic(err)
	}
	e, err := t.Encode("Two cats!")
	if err != nil {
		panic(err)
	}
	fmt.Println(e.IDs)
	fmt.Println(e.Tokens)
	fmt.Println(e.Offsets)
	fmt.Println(t.Decode(e.IDs, true))
	// Output:
	// [5 1 2 3 4 6]
	// [[CLS] two cat ##s ! [SEP]]
	// [{0 0} {0 3} {4 7} {7 8} {8 9} {0 0}]
	// two cats!
}

func ExampleTokenizer_NewStream() {
	t, err := tokenize.New([]byte(file))
	if err != nil {
		panic(err)
	}
	stream := t.NewStream(true)
	for _, id := range []int64{5, 1, 2, 3, 4, 6} {
		fmt.Printf("%q ", stream.Push(id))
	}
	fmt.Printf("%q\n", stream.Flush())
	// Output: "" "two" " cat" "s" "!" "" ""
}
