// Package tokenize turns text into the token ids that Hugging Face's tokenizers gives, exactly, and
// ids back into text.
//
// It reads the tokenizer.json that every model family ships. Open a file once and use the Tokenizer
// from any number of goroutines:
//
//	t, err := tokenize.Open("tokenizer.json")
//	e, err := t.Encode("two cats on a couch")   // e.IDs, e.Offsets in bytes, e.AttentionMask, ...
//	text := t.Decode(e.IDs, true)
//
// # The reference
//
// The reference is the Rust library tokenizers, version 0.22.2, and nothing else: for valid UTF-8
// the ids, tokens, offsets, masks and decodings here are its own, on any text, oddities included.
// Where its Python face counts offsets in characters, Offsets here are the same places in bytes of
// UTF-8. Text that is not valid UTF-8 gives what its lossy decoding gives, each maximal ill-formed
// part replaced by U+FFFD, and offsets then refer to that text. Dropout, which is for training, is
// ignored.
//
// Every normalizer, pre-tokenizer, model, post-processor and decoder of that version is known,
// except the pre-tokenizer UnicodeScripts. Open refuses what cannot be done exactly, with an error
// that names the place in the file: two tokens with one id, added tokens of which normalization
// leaves nothing, files from before 2020 whose components have no types, and some regular
// expressions.
//
// Regular expressions are Oniguruma's, in its own syntax, with its properties and case folds of
// Unicode 16. Refused are calls of groups, levels of references, references to the group around,
// absent groups, callouts, word segments, (?L), \K in a look-around, a condition or \R in a
// look-behind, an interval after something that may be empty, a repetition of what may be empty
// around a group that is referred to, and a negated class of ASCII with a negated class inside.
//
// # Streaming
//
// Decode and Stream are the same code: each decoder takes token by token and hands on the text that
// no later token can change. So a stream decodes each id once, and its pieces join to exactly what
// Decode gives.
//
// TestReference compares whole tokenizers on a corpus of every kind of text, TestComponents
// tokenizers drawn at random with every component and option; both run the reference.
//
// # Why not sugarme/tokenizer
//
// github.com/sugarme/tokenizer 0.3.0 reads the same files, and tokenize/sugarme offers its
// interfaces over this package. Its algorithms are not used, since most of them do not give what
// the reference gives:
//
//   - model/bpe never adds end_of_word_suffix, panics on unknown characters, does not take merges
//     of equal rank from left to right, and takes time that grows with the square of the length; it
//     has no byte_fallback, fuse_unk or ignore_merges
//   - normalizer runs NFD for NFC, ends offsets one off, panics on zero-width and control
//     characters, and reads strip_accents null as false
//   - pretokenizer lacks the white space rules of ByteLevel's pattern, ignores use_regex, drops
//     splits that are tokens, and lacks options of Split and Metaspace
//   - added tokens are matched in the order of their ids, not of their places
//   - processor panics in RobertaProcessing without trim_offsets and on left padding, and cannot
//     truncate on the left
//   - decoder panics on short tokens in ByteFallback and Strip, garbles tokens that are not bytes
//     in ByteLevel, and races when it decodes batches
//
// # What this package does not do
//
// Training, downloading files, and chat templates.
package tokenize
