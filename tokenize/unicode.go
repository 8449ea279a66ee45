package tokenize

import (
	"slices"

	"github.com/crossattn/xpipe/tokenize/internal/unidata"
)

// decompose returns the characters of the NFD (or NFKD) of s, marked as changes, and whether they
// are the characters of s themselves. The first character of a decomposition replaces the old one,
// the others are inserted; canonical ordering moves the marks with their characters, as in the
// crate unicode-normalization-alignments that the reference uses.
func decompose(s string, compatible bool) (changes []change, same bool) {
	changes = make([]change, 0, len(s))
	same = true
	var parts []rune
	// The characters since the last starter begin at block; they are sorted by class once the next
	// starter comes.
	block := 0
	sorted := true
	for _, r := range s {
		parts = unidata.AppendDecomposition(parts[:0], r, compatible)
		same = same && len(parts) == 1 && parts[0] == r
		for i, d := range parts {
			class := unidata.CombiningClass(d)
			if class == 0 {
				if !sorted {
					same = sortMarks(changes[block:]) && same
				}
				block, sorted = len(changes), true
			} else {
				sorted = false
			}
			delta := int32(1)
			if i == 0 {
				delta = 0
			}
			changes = append(changes, change{d, delta})
		}
	}
	if !sorted {
		same = sortMarks(changes[block:]) && same
	}
	return changes, same
}

// sortMarks orders a block by combining class, stably, and reports whether it was in order.
func sortMarks(block []change) bool {
	cmp := func(a, b change) int {
		return int(unidata.CombiningClass(a.r)) - int(unidata.CombiningClass(b.r))
	}
	if slices.IsSortedFunc(block, cmp) {
		return true
	}
	slices.SortStableFunc(block, cmp)
	return false
}

// recompose composes decomposed characters canonically. Composing two characters adds up their
// changes and takes one more old character away. The order of the tests follows the reference,
// where a mark blocked by an equal class stays put.
func recompose(in []change) []change {
	out := make([]change, 0, len(in))
	var base change
	var marks []change // characters after base that did not compose with it
	haveBase := false
	lastClass := -1
	flush := func() {
		if haveBase {
			out = append(out, base)
		}
		out = append(out, marks...)
		marks, lastClass = marks[:0], -1
	}
	for _, c := range in {
		class := int(unidata.CombiningClass(c.r))
		if !haveBase {
			if class != 0 {
				out = append(out, c)
			} else {
				base, haveBase = c, true
			}
			continue
		}
		if lastClass < class {
			if r, ok := unidata.Compose(base.r, c.r); ok {
				base = change{r, base.delta + c.delta - 1}
				continue
			}
		}
		if class == 0 {
			flush()
			base = c
			continue
		}
		marks = append(marks, c)
		lastClass = class
	}
	flush()
	return out
}
