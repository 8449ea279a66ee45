package tokenize

import (
	"github.com/crossattn/xpipe/tokenize/internal/unidata"
)

// normalizer rewrites a part of a text. The types below have the names of the reference's
// normalizers.
type normalizer interface {
	normalize(p *aligned) error
}

type normalizers []normalizer

func (ns normalizers) normalize(p *aligned) error {
	for _, n := range ns {
		if err := n.normalize(p); err != nil {
			return err
		}
	}
	return nil
}

// bertNormalizer cleans, spaces out CJK characters, strips accents and lowers, each where it is
// asked for.
type bertNormalizer struct {
	cleanText, handleChinese, stripAccents, lowercase bool
}

func (n bertNormalizer) normalize(p *aligned) error {
	if n.plain(p) {
		return nil
	}
	if n.cleanText {
		p.filter(func(r rune) bool {
			return r == 0 || r == 0xFFFD ||
				r != '\t' && r != '\n' && r != '\r' && unidata.Is(r, unidata.Control)
		})
		p.mapRunes(func(r rune) rune {
			if unidata.Is(r, unidata.White) {
				return ' '
			}
			return r
		})
	}
	if n.handleChinese {
		spaceChinese(p)
	}
	if n.stripAccents {
		p.decompose(false)
		p.filter(func(r rune) bool { return unidata.Is(r, unidata.Nonspacing) })
	}
	if n.lowercase {
		p.lower()
	}
	return nil
}

// plain handles ASCII text without control characters, which keeps its layout, in one pass. It
// reports false where p is other text.
func (n bertNormalizer) plain(p *aligned) bool {
	change := false
	for i := 0; i < len(p.s); i++ {
		c := p.s[i]
		switch {
		case c >= 0x7F:
			return false
		case c < ' ':
			if c != '\t' && c != '\n' && c != '\r' {
				return false
			}
			change = change || n.cleanText
		case 'A' <= c && c <= 'Z':
			change = change || n.lowercase
		}
	}
	if !change {
		return true
	}
	b := []byte(p.s)
	for i, c := range b {
		switch {
		case c < ' ' && n.cleanText:
			b[i] = ' '
		case 'A' <= c && c <= 'Z' && n.lowercase:
			b[i] = c + 'a' - 'A'
		}
	}
	p.s = string(b)
	return true
}

func isChinese(r rune) bool {
	return r >= 0x3400 && (r <= 0x4DBF || r >= 0x4E00 && r <= 0x9FFF ||
		r >= 0xF900 && r <= 0xFAFF || r >= 0x20000 && r <= 0x2A6DF ||
		r >= 0x2A700 && r <= 0x2B73F || r >= 0x2B740 && r <= 0x2B81F ||
		r >= 0x2B920 && r <= 0x2CEAF || r >= 0x2F800 && r <= 0x2FA1F)
}

// spaceChinese puts a space on each side of each CJK ideograph.
func spaceChinese(p *aligned) {
	found := false
	for _, r := range p.s {
		if isChinese(r) {
			found = true
			break
		}
	}
	if !found {
		return
	}
	changes := make([]change, 0, 2*len(p.s))
	for _, r := range p.s {
		if isChinese(r) {
			changes = append(changes, change{' ', 0}, change{r, 1}, change{' ', 1})
		} else {
			changes = append(changes, change{r, 0})
		}
	}
	p.transform(changes, 0)
}

type lowercaseNormalizer struct{}

func (lowercaseNormalizer) normalize(p *aligned) error {
	p.lower()
	return nil
}

// unicodeNormalizer is NFC, NFD, NFKC or NFKD.
type unicodeNormalizer struct{ compose, compatible bool }

func (n unicodeNormalizer) normalize(p *aligned) error {
	if n.compose {
		p.compose(n.compatible)
	} else {
		p.decompose(n.compatible)
	}
	return nil
}

// nmtNormalizer drops control characters and turns unusual spaces into plain ones, as the NMT rules
// of SentencePiece do.
type nmtNormalizer struct{}

func (nmtNormalizer) normalize(p *aligned) error {
	p.filter(func(r rune) bool {
		return r >= 0x01 && r <= 0x08 || r == 0x0B || r >= 0x0E && r <= 0x1F ||
			r == 0x7F || r == 0x8F || r == 0x9F
	})
	p.mapRunes(func(r rune) rune {
		switch {
		case r == 0x09, r == 0x0A, r == 0x0C, r == 0x0D, r == 0x1680, r >= 0x200B && r <= 0x200F,
			r == 0x2028, r == 0x2029, r == 0x2581, r == 0xFEFF, r == 0xFFFD:
			return ' '
		}
		return r
	})
	return nil
}

type stripNormalizer struct{ left, right bool }

func (n stripNormalizer) normalize(p *aligned) error {
	p.strip(n.left, n.right)
	return nil
}

type stripAccentsNormalizer struct{}

func (stripAccentsNormalizer) normalize(p *aligned) error {
	p.filter(func(r rune) bool { return unidata.Is(r, unidata.Combining) })
	return nil
}

type prependNormalizer struct{ text string }

func (n prependNormalizer) normalize(p *aligned) error {
	p.prepend(n.text)
	return nil
}

type replaceNormalizer struct {
	pattern finder
	content string
}

func (n replaceNormalizer) normalize(p *aligned) error {
	if len(p.s) == 0 {
		return nil
	}
	matches, err := n.pattern.find(p.s)
	if err == nil {
		p.replace(matches, n.content)
	}
	return err
}

// byteLevelNormalizer writes each byte as the visible character that stands for it.
type byteLevelNormalizer struct{}

func (byteLevelNormalizer) normalize(p *aligned) error {
	p.byteLevel()
	return nil
}

// byteLevel is the byte-level rewriting shared by the normalizer and the pre-tokenizer.
func (p *aligned) byteLevel() {
	changes := make([]change, 0, len(p.s))
	for i := 0; i < len(p.s); {
		n := runeLen(p.s[i:])
		for k := range n {
			changes = append(changes, change{byteChars[p.s[i+k]], min(int32(k), 1)})
		}
		i += n
	}
	p.transform(changes, 0)
}

// byteChars gives each byte its visible character: printable Latin-1 stands for itself, the others
// follow from U+0100 on (GPT-2's encoder.py, bytes_to_unicode). byteOfChar is the way back, -1
// where a character stands for no byte.
var byteChars, byteOfChar = func() (chars [256]rune, bytes [0x144]int16) {
	for i := range bytes {
		bytes[i] = -1
	}
	next := rune(0x100)
	for b := range rune(256) {
		c := b
		if b < '!' || b > '~' && b < 0xA1 || b == 0xAD {
			c = next
			next++
		}
		chars[b], bytes[c] = c, int16(b)
	}
	return
}()

// rawBytes turns byte-level text back into the bytes it stands for; false where it holds another
// character.
func rawBytes(dst []byte, s string) ([]byte, bool) {
	for _, r := range s {
		if int(r) >= len(byteOfChar) || byteOfChar[r] < 0 {
			return dst, false
		}
		dst = append(dst, byte(byteOfChar[r]))
	}
	return dst, true
}
