// Package unidata holds the character data that the reference tokenizer library uses: general
// categories, white space, punctuation, lower case, canonical and compatibility decomposition,
// canonical order and composition.
//
// The data is asked from the reference (gen.py) because it mixes several Unicode versions: Unicode
// 9 for normalization, Unicode 8 for the classes of BERT, newer ones elsewhere. Go's unicode and
// x/text tables follow one version and would be wrong in each. Nothing here changes after package
// initialisation.
package unidata

import "unicode/utf8"

const (
	blockBits = 7
	blockSize = 1 << blockBits
	maxRune   = 0x110000
)

var (
	propIndex  [maxRune / blockSize]uint16
	propBlocks [][blockSize]uint32
	ccc        = make(map[rune]uint8, len(cccRuns)/2)
	composed   = make(map[[2]rune]rune, len(compositions)/3)
)

func init() {
	// Runs are expanded into a two-stage table whose equal blocks are shared.
	seen := make(map[[blockSize]uint32]uint16)
	run := 0
	for b := range propIndex {
		var block [blockSize]uint32
		for i := range block {
			r := uint32(b*blockSize + i)
			for run+2 < len(propRuns) && propRuns[run+2] <= r {
				run += 2
			}
			block[i] = propRuns[run+1]
		}
		n, ok := seen[block]
		if !ok {
			n = uint16(len(propBlocks))
			seen[block] = n
			propBlocks = append(propBlocks, block)
		}
		propIndex[b] = n
	}
	for i := 0; i < len(cccRuns); i += 2 {
		ccc[rune(cccRuns[i])] = uint8(cccRuns[i+1])
	}
	for i := 0; i < len(compositions); i += 3 {
		composed[[2]rune{rune(compositions[i]), rune(compositions[i+1])}] = rune(compositions[i+2])
	}
}

// decodeMap reads "key value NUL" records.
func decodeMap(s string) map[rune]string {
	m := make(map[rune]string)
	for i := 0; i < len(s); {
		key, n := utf8.DecodeRuneInString(s[i:])
		start := i + n
		end := start
		for s[end] != 0 {
			end++
		}
		m[key] = s[start:end]
		i = end + 1
	}
	return m
}

// Props returns the general category of r in the low five bits and the property bits above them.
// Surrogates and values beyond Unicode, which no valid text holds, have category Cn.
func Props(r rune) uint32 {
	if uint32(r) >= maxRune {
		return 0
	}
	return propBlocks[propIndex[r>>blockBits]][r&(blockSize-1)]
}

// Category returns the general category of r, one of Cn to Zs.
func Category(r rune) int { return int(Props(r) & 31) }

// Is reports whether r has any of the property bits in mask.
func Is(r rune, mask uint32) bool { return Props(r)&mask != 0 }

// CombiningClass returns the canonical combining class of r.
func CombiningClass(r rune) uint8 {
	if r < 0x300 {
		return 0
	}
	return ccc[r]
}

// Lower returns the lower case of r as a string and true, or false where r is its own lower case.
func Lower(r rune) (string, bool) {
	s, ok := lowercase[r]
	return s, ok
}

// Hangul syllables are composed and decomposed by arithmetic (The Unicode Standard, section 3.12).
const (
	hangulBase   = 0xAC00
	leadBase     = 0x1100
	vowelBase    = 0x1161
	trailBase    = 0x11A7
	leadCount    = 19
	vowelCount   = 21
	trailCount   = 28
	hangulCount  = leadCount * vowelCount * trailCount
	perLead      = vowelCount * trailCount
	lastSyllable = hangulBase + hangulCount - 1
)

// AppendDecomposition appends the full decomposition of r, canonical or compatible, to dst.
func AppendDecomposition(dst []rune, r rune, compatible bool) []rune {
	if r < 0x80 {
		return append(dst, r)
	}
	if r >= hangulBase && r <= lastSyllable {
		i := r - hangulBase
		dst = append(dst, leadBase+i/perLead, vowelBase+i%perLead/trailCount)
		if t := i % trailCount; t > 0 {
			dst = append(dst, trailBase+t)
		}
		return dst
	}
	if compatible {
		if s, ok := compatibleDecomposition[r]; ok {
			return append(dst, []rune(s)...)
		}
	}
	if s, ok := canonicalDecomposition[r]; ok {
		return append(dst, []rune(s)...)
	}
	return append(dst, r)
}

// Compose returns the character that a and b compose to, if there is one.
func Compose(a, b rune) (rune, bool) {
	switch {
	case a >= leadBase && a < leadBase+leadCount && b >= vowelBase && b < vowelBase+vowelCount:
		return hangulBase + (a-leadBase)*perLead + (b-vowelBase)*trailCount, true
	case a >= hangulBase && a <= lastSyllable && (a-hangulBase)%trailCount == 0 &&
		b > trailBase && b < trailBase+trailCount:
		return a + (b - trailBase), true
	}
	r, ok := composed[[2]rune{a, b}]
	return r, ok
}
