// Package tokenize turns text into the token ids that Hugging Face's tokenizers gives, exactly, and ids back into text.
//
// It reads the tokenizer.json that every model family ships. Open a file once and use the Tokenizer from any number of goroutines:
//
//	t, err := tokenize.Open("tokenizer.json")
//	e, err := t.Encode("two cats on a couch")   // e.IDs, e.Offsets in bytes, e.AttentionMask, ...
//	text := t.Decode(e.IDs, true)
//
// # The reference
//
// The reference is the Rust library tokenizers, version 0.22.2, and nothing else: for valid UTF-8 the ids, tokens, offsets, masks and
// decodings here are its own, on any text, oddities included. Where its Python face counts offsets in characters, Offsets here are the
// same places in bytes of UTF-8. Text that is not valid UTF-8 gives what its lossy decoding gives, each maximal ill-formed part replaced
// by U+FFFD, and offsets then refer to that text. Dropout, which is for training, is ignored.
//
// Every normalizer, pre-tokenizer, model, post-processor and decoder of that version is known but the pre-tokenizer UnicodeScripts. What
// cannot be done exactly is refused by Open with an error that names the place in the file: regular expressions beyond the syntax in
// regex.go, two tokens of one id, added tokens that normalization leaves nothing of, files without types from before 2020.
//
// TestReference compares whole tokenizers on a corpus of every kind of text, TestComponents tokenizers drawn at random with every
// component and option; both run the reference.
//
// # What is sugarme/tokenizer's
//
// Of github.com/sugarme/tokenizer 0.3.0 those parts are used that give what the reference gives: the decoders WordPiece, BPEDecoder, CTC, Fuse and
// Metaspace, and in package tokenize/sugarme its interfaces and types. Every other part was measured to fail and is written here:
//
//   - model/bpe: end_of_word_suffix is never added, unknown characters panic, merges of equal rank are not taken left to right, and time
//     grows with the square of the length; no byte_fallback, fuse_unk or ignore_merges
//   - normalizer: NFC runs NFD, offsets end one off, zero-width and control characters panic, strip_accents null counts as false
//   - pretokenizer: ByteLevel lacks the white space rules of its pattern and ignores use_regex, splits that are tokens are dropped;
//     Split and Metaspace lack options
//   - added tokens: matches are ordered by id, not by place
//   - processor: RobertaProcessing panics without trim_offsets; truncation direction and left padding are missing or panic
//   - decoder: ByteFallback and Strip panic on short tokens, ByteLevel garbles tokens that are no bytes, and decoding in batches races
//
// # What this package does not do
//
// Training, downloading files, and chat templates.
package tokenize
