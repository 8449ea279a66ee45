package tokenize

import (
	"strings"
	"unicode/utf8"
)

// decoder rewrites the tokens of a text on their way to being joined.
type decoder interface {
	decode(tokens []string) []string
}

type decoders []decoder

func (ds decoders) decode(tokens []string) []string {
	for _, d := range ds {
		tokens = d.decode(tokens)
	}
	return tokens
}

// each rewrites tokens one by one.
func each(tokens []string, f func(i int, t string) string) []string {
	for i, t := range tokens {
		tokens[i] = f(i, t)
	}
	return tokens
}

// byteLevelDecoder turns byte-level text into the text it stands for. A token with other characters stands for itself.
type byteLevelDecoder struct{}

func (byteLevelDecoder) decode(tokens []string) []string {
	var raw []byte
	for _, t := range tokens {
		n := len(raw)
		var ok bool
		if raw, ok = rawBytes(raw, t); !ok {
			raw = append(raw[:n], t...)
		}
	}
	return append(tokens[:0], lossy(string(raw)))
}

// borrowed is a decoder of sugarme/tokenizer; see buildDecoder for those that are used.
type borrowed struct {
	chain interface {
		DecodeChain(tokens []string) []string
	}
}

func (b borrowed) decode(tokens []string) []string { return b.chain.DecodeChain(tokens) }

type replaceDecoder struct {
	pattern finder
	content string
}

func (d replaceDecoder) decode(tokens []string) []string {
	return each(tokens, func(_ int, t string) string {
		if t == "" {
			return t
		}
		var b strings.Builder
		at := 0
		matches, err := d.pattern.find(t)
		if err != nil {
			return t // a pattern that does not end on this token; there is nothing better to show
		}
		for _, m := range matches {
			b.WriteString(t[at:m.start])
			b.WriteString(d.content)
			at = m.end
		}
		b.WriteString(t[at:])
		return b.String()
	})
}

// stripDecoder cuts up to start characters equal to content off the front of each token, up to stop off its end.
type stripDecoder struct {
	content     string
	start, stop int
}

func (d stripDecoder) decode(tokens []string) []string {
	return each(tokens, func(_ int, t string) string {
		rest := t
		for i := 0; i < d.start; i++ {
			r, ok := strings.CutPrefix(rest, d.content)
			if !ok {
				break
			}
			rest = r
		}
		for i := 0; i < d.stop && len(rest) > 0; i++ {
			r, ok := strings.CutSuffix(rest, d.content)
			if !ok {
				break
			}
			rest = r
		}
		return rest
	})
}

// byteFallbackDecoder turns runs of tokens like <0x61> into the text of those bytes, or one U+FFFD a byte where that is no UTF-8.
type byteFallbackDecoder struct{}

func (byteFallbackDecoder) decode(tokens []string) []string {
	var out []string
	var raw []byte
	flush := func() {
		if len(raw) == 0 {
			return
		}
		if utf8.Valid(raw) {
			out = append(out, string(raw))
		} else {
			for range raw {
				out = append(out, "\uFFFD")
			}
		}
		raw = raw[:0]
	}
	for _, t := range tokens {
		if b, ok := byteToken(t); ok {
			raw = append(raw, b)
			continue
		}
		flush()
		out = append(out, t)
	}
	flush()
	return out
}

// byteToken reads <0xHH>. Like the reference's number parser it takes either case, and a plus sign for the first digit.
func byteToken(t string) (byte, bool) {
	if len(t) != 6 || t[:3] != "<0x" || t[5] != '>' {
		return 0, false
	}
	high, ok1 := hexDigit(t[3])
	low, ok2 := hexDigit(t[4])
	if t[3] == '+' {
		ok1 = true
	}
	return high<<4 | low, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// lossy returns s with each maximal ill-formed part replaced by U+FFFD, the practice of Rust and Python (Unicode, section 3.9).
func lossy(s string) string {
	if utf8.ValidString(s) {
		return s
	}
	out := make([]byte, 0, len(s)+8)
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		if r != utf8.RuneError || n > 1 {
			out = append(out, s[i:i+n]...)
			i += n
			continue
		}
		out = append(out, "\uFFFD"...)
		i += illFormed(s[i:])
	}
	return string(out)
}

// illFormed returns the length of the ill-formed part at the start of s: the longest prefix of a sequence that could have become a
// character, at least one byte.
func illFormed(s string) int {
	var need int
	low, high := byte(0x80), byte(0xBF)
	switch c := s[0]; {
	case c >= 0xC2 && c <= 0xDF:
		need = 1
	case c == 0xE0:
		need, low = 2, 0xA0
	case c == 0xED:
		need, high = 2, 0x9F
	case c >= 0xE1 && c <= 0xEF:
		need = 2
	case c == 0xF0:
		need, low = 3, 0x90
	case c == 0xF4:
		need, high = 3, 0x8F
	case c >= 0xF1 && c <= 0xF3:
		need = 3
	}
	n := 1
	for ; n <= need && n < len(s) && s[n] >= low && s[n] <= high; n++ {
		low, high = 0x80, 0xBF
	}
	return n
}
