// Package zlibsize tells how long zlib makes a text, without making it: what Python's zlib.compress
// returns, to the byte, where Go's compressor differs by up to a fifth for a few hundred bytes.
// openai-whisper judges by that length whether a text repeats itself.
//
// It follows zlib 1.3.1 at its default level 6 (deflate_slow, longest_match, and the trees of trees.c)
// for a text that fills one block; Of gives up on longer ones. matches.go finds what repeats, trees.go
// counts bits.
package zlibsize

// mostSymbols is how many literals and matches a block holds (lit_bufsize at memLevel 8, less one).
const mostSymbols = 1<<14 - 1

// Of returns the bytes of zlib.compress(text). ok is false of a text that is too long for one block.
func Of(text []byte) (size int, ok bool) {
	if len(text) > mostSymbols {
		return 0, false
	}
	var f frequencies
	matches(text, f.literal, f.match)
	const header, checksum = 2, 4
	return header + f.blockBytes(len(text)) + checksum, true
}
