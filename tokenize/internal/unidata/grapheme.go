package unidata

import (
	"sort"
	"unicode/utf8"
)

// GraphemeLen returns the length of the extended grapheme cluster at the start of s (Unicode
// Standard Annex 29), 0 for an empty s. The text before s must end at a cluster boundary.
func GraphemeLen(s string) int {
	if len(s) == 0 {
		return 0
	}
	if len(s) > 1 && s[0]-0x20 < 0x5F && s[1]-0x20 < 0x5F {
		return 1 // two printable ASCII characters
	}
	r, at := utf8.DecodeRuneInString(s)
	before := graphemeClass(r)
	var c context
	c.follow(before)
	for at < len(s) {
		r, n := utf8.DecodeRuneInString(s[at:])
		class := graphemeClass(r)
		if c.boundary(before&15, class&15) {
			break
		}
		c.follow(class)
		before = class
		at += n
	}
	return at
}

// context is the state that the longer rules keep about the preceding text.
type context struct {
	emoji    uint8 // 1 after a pictograph and extenders, 2 after a joiner on top
	conjunct uint8 // 1 after a consonant and extenders, 2 once a linker was among them
}

func (c *context) follow(class uint8) {
	switch class & 15 {
	case gPictographic:
		c.emoji = 1
	case gExtend:
		if c.emoji != 1 {
			c.emoji = 0
		}
	case gZWJ:
		if c.emoji == 1 {
			c.emoji = 2
		} else {
			c.emoji = 0
		}
	default:
		c.emoji = 0
	}
	switch {
	case class&15 == gConsonant:
		c.conjunct = 1
	case class&gLinker != 0:
		if c.conjunct > 0 {
			c.conjunct = 2
		}
	case class&gConjunctExtend == 0:
		c.conjunct = 0
	}
}

// boundary applies the rules GB3 to GB999. Regional indicators are left out: pairs of them are
// longer than any cluster that matters to the one user of this, the charsmap normalizer.
func (c *context) boundary(before, after uint8) bool {
	switch {
	case before == gCR && after == gLF:
		return false
	case before == gControl || before == gCR || before == gLF,
		after == gControl || after == gCR || after == gLF:
		return true
	case before == gLead && (after == gLead || after == gVowel || after == gLV || after == gLVT),
		(before == gLV || before == gVowel) && (after == gVowel || after == gTrail),
		(before == gLVT || before == gTrail) && after == gTrail:
		return false
	case after == gExtend, after == gZWJ, after == gSpacing, before == gPrepend:
		return false
	case after == gConsonant:
		return c.conjunct != 2
	case before == gZWJ && after == gPictographic:
		return c.emoji != 2
	}
	return true
}

func graphemeClass(r rune) uint8 {
	if r >= 0x20 && r < 0x7F {
		return gAny
	}
	n := len(graphemeRuns) / 2
	i := sort.Search(n, func(i int) bool { return graphemeRuns[2*i] > uint32(r) }) - 1
	return uint8(graphemeRuns[2*i+1])
}
