package tokenize

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
	"unicode/utf8"

	"github.com/crossattn/xpipe/tokenize/internal/unidata"
)

// precompiled applies the charsmap of a SentencePiece model: a double-array trie (Darts) from byte
// sequences to offsets in a text of replacements, each ended by a NUL. It does so as the crate
// spm_precompiled does, oddities included: a grapheme cluster of less than six bytes is replaced as
// a whole by the entry of its *shortest* prefix that has one.
type precompiled struct {
	trie        []uint32
	replacement string
	ascii       [utf8.RuneSelf]bool // characters that have an entry
}

func buildPrecompiled(o *object) (normalizer, error) {
	encoded := o.str("precompiled_charsmap")
	if *o.err != nil {
		return nil, *o.err
	}
	data, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return nil, refuse("%s.precompiled_charsmap: %v", o.path, err)
	}
	if len(data) < 4 {
		return nil, refuse("%s.precompiled_charsmap: %d bytes are no charsmap", o.path, len(data))
	}
	size := int(binary.LittleEndian.Uint32(data)) / 4
	data = data[4:]
	if size <= 0 || size > len(data)/4 {
		return nil, refuse("%s.precompiled_charsmap: a trie of %d units in %d bytes", o.path,
			size, len(data))
	}
	n := &precompiled{trie: make([]uint32, size)}
	for i := range n.trie {
		n.trie[i] = binary.LittleEndian.Uint32(data[4*i:])
	}
	n.replacement = string(data[4*size:])
	if !utf8.ValidString(n.replacement) {
		return nil, refuse("%s.precompiled_charsmap: the replacements are not UTF-8", o.path)
	}
	for _, u := range n.trie {
		at := int(u & (1<<31 - 1))
		if u>>31 == 1 && at < len(n.replacement) && !utf8.RuneStart(n.replacement[at]) {
			return nil, refuse("%s.precompiled_charsmap: an entry begins inside a character",
				o.path)
		}
	}
	for c := range n.ascii {
		_, n.ascii[c] = n.lookup(string(rune(c)))
	}
	return n, nil
}

// unitOffset decodes where the children of a trie unit lie.
func unitOffset(u uint32) uint32 { return u >> 10 << (u & (1 << 9) >> 6) }

// lookup returns the replacement of the shortest prefix of s that has one.
func (n *precompiled) lookup(s string) (string, bool) {
	pos := unitOffset(n.trie[0])
	for i := 0; i < len(s) && s[i] != 0; i++ {
		pos ^= uint32(s[i])
		if int(pos) >= len(n.trie) {
			break
		}
		u := n.trie[pos]
		if u&(1<<31|0xFF) != uint32(s[i]) {
			break
		}
		pos ^= unitOffset(u)
		if u>>8&1 == 0 {
			continue
		}
		if int(pos) >= len(n.trie) {
			break
		}
		at := int(n.trie[pos] & (1<<31 - 1))
		if at > len(n.replacement) ||
			at < len(n.replacement) && !utf8.RuneStart(n.replacement[at]) {
			break
		}
		text, _, _ := strings.Cut(n.replacement[at:], "\x00")
		return text, true
	}
	return "", false
}

func (n *precompiled) normalize(p *aligned) error {
	if n.plain(p.s) {
		return nil
	}
	changes := make([]change, 0, len(p.s))
	modified := false
	for at := 0; at < len(p.s); {
		size := unidata.GraphemeLen(p.s[at:])
		cluster := p.s[at : at+size]
		at += size
		if len(cluster) < 6 {
			if text, ok := n.lookup(cluster); ok {
				modified = true
				changes = substitute(changes, cluster, text)
				continue
			}
		}
		for i, r := range cluster {
			part := cluster[i : i+utf8.RuneLen(r)]
			if text, ok := n.lookup(part); ok {
				modified = true
				changes = substitute(changes, part, text)
			} else {
				changes = append(changes, change{r, 0})
			}
		}
	}
	if modified {
		p.transform(changes, 0)
	}
	return nil
}

// plain reports whether s is ASCII text that no entry touches; clusters are single characters then,
// but for CR LF.
func (n *precompiled) plain(s string) bool {
	for i := 0; i < len(s); i++ {
		if c := s[i]; c >= utf8.RuneSelf || n.ascii[c] || c == '\r' {
			return false
		}
	}
	return true
}

// substitute appends the change from old to text. Characters beyond the length of old count as
// inserted; where text is shorter, the last change so far, be it of this text or of the one before,
// takes the rest of old away. If there is no change before it, the rest stays, and the alignment is
// off by that much from there on, as in the reference.
func substitute(changes []change, old, text string) []change {
	diff := utf8.RuneCountInString(text) - utf8.RuneCountInString(old)
	for _, r := range text {
		changes = append(changes, change{r, 0})
	}
	if diff > 0 {
		for i := len(changes) - 1; i >= 0 && diff > 0; i-- {
			changes[i].delta = 1
			diff--
		}
	} else if diff < 0 && len(changes) > 0 {
		changes[len(changes)-1].delta += int32(diff)
	}
	return changes
}
