// Package tokenize turns text into the token ids that Hugging Face's tokenizers gives, exactly, and ids back into text.
//
// It reads the tokenizer.json that every model family ships. Open a file once and use the Tokenizer from any number of goroutines:
//
//	t, err := tokenize.Open("tokenizer.json")
//	e, err := t.Encode("two cats on a couch")   // e.IDs, e.Offsets in bytes, e.AttentionMask, ...
//	text := t.Decode(e.IDs, true)
//
// The reference is the Rust library tokenizers, version 0.22.2: for valid UTF-8 the ids, tokens, offsets and decodings here are its
// own, on any text. Whatever a file asks for that cannot be done in that way is refused by Open. Text that is not valid UTF-8 is
// encoded like its lossy decoding, each maximal ill-formed part replaced by U+FFFD.
//
// Where the reference's Python face counts offsets in characters, Offsets here are the same places in bytes of UTF-8.
package tokenize
