package tokenize

import (
	"slices"
	"unicode/utf8"

	"github.com/crossattn/xpipe/tokenize/internal/unidata"
)

// foldClass adds to a set what its characters are where case is ignored, and returns the texts of
// several characters that stand for one of them. negate says that the class means all others; such
// a class has none of those texts. The steps are Oniguruma's, i_apply_case_fold: what is added on
// the way counts for what comes after.
func (s charSets) foldClass(set []rune, negate bool, mode foldMode) ([]rune, altNode) {
	added := map[rune]bool{}
	has := func(r rune) bool { return added[r] || unidata.InRanges(set, r) }
	link := func(a, b rune) {
		if has(a) {
			added[b] = true
		}
		if has(b) {
			added[a] = true
		}
	}
	var others altNode
	for _, f := range unidata.Folds() {
		if mode == foldASCII && (len(f.To) > 1 || f.To[0] >= utf8.RuneSelf) {
			continue
		}
		for i, c := range f.From {
			if mode == foldASCII && c >= utf8.RuneSelf {
				continue
			}
			if len(f.To) == 1 {
				link(f.To[0], c)
			} else if has(c) && !negate {
				others = append(others, s.spelled(f.To))
			}
			for _, other := range f.From[:i] {
				if mode != foldASCII || other < utf8.RuneSelf {
					link(c, other)
				}
			}
		}
	}
	for r := range added {
		set = append(set[:len(set):len(set)], r, r)
	}
	return normal(set), others
}

// spelled is a text of folded characters in any case.
func (s charSets) spelled(text []rune) node {
	var seq concatNode
	for _, r := range text {
		chars := []rune{r, r}
		if f := unidata.FoldTo(r); f != nil {
			for _, c := range f.From {
				chars = append(chars, c, c)
			}
		}
		seq = append(seq, charNode{s.of(chars)})
	}
	return seq
}

// foldText brings text that ignores case into a tree that does not: for each character the set of
// those that fold to the same, and alternatives where several characters fold to what one does
// (unravel_case_fold_string). Behind a look-behind only single characters count.
func (s charSets) foldText(text []rune, mode foldMode, behind bool) node {
	var seq concatNode
	for len(text) > 0 {
		n, forms := caseForms(text, mode, behind)
		text = text[n:]
		single := true
		for _, f := range forms {
			single = single && len(f) == 1
		}
		if single {
			var chars []rune
			for _, f := range forms {
				chars = append(chars, f[0], f[0])
			}
			seq = append(seq, charNode{s.of(chars)})
			continue
		}
		var alts altNode
		for _, f := range forms {
			alts = append(alts, strNode{text: f})
		}
		seq = append(seq, alts)
	}
	if len(seq) == 1 {
		return seq[0]
	}
	return seq
}

// caseForms returns how many characters at the start of text are taken together, and all texts that
// they may be, the given one first (onigenc_unicode_get_case_fold_codes_by_str).
func caseForms(text []rune, mode foldMode, behind bool) (n int, forms [][]rune) {
	first := text[0]
	if mode == foldASCII {
		forms = [][]rune{{first}}
		if first < utf8.RuneSelf && 'a' <= first|0x20 && first|0x20 <= 'z' {
			forms = append(forms, []rune{first ^ 0x20})
		}
		return 1, forms
	}
	if !behind {
		var folded []rune
		for _, r := range text[:min(3, len(text))] {
			if f := unidata.FoldOf(r); f != nil && len(f.To) == 1 {
				r = f.To[0]
			}
			folded = append(folded, r)
		}
		for n := len(folded); n > 1; n-- {
			if f := unidata.FoldTo(folded[:n]...); f != nil {
				return n, manyForms(text[:n], f)
			}
		}
	}
	forms = [][]rune{{first}}
	f := unidata.FoldOf(first)
	switch {
	case f != nil && len(f.To) > 1:
		if forms = manyForms(text[:1], f); behind {
			forms = slices.DeleteFunc(forms, func(f []rune) bool { return len(f) > 1 })
		}
		return 1, forms
	case f != nil:
		forms = append(forms, f.To)
	default:
		if f = unidata.FoldTo(first); f == nil {
			return 1, forms
		}
	}
	for _, c := range f.From {
		if c != first {
			forms = append(forms, []rune{c})
		}
	}
	return 1, forms
}

// manyForms are the texts that fold to several characters: the given one, the single characters,
// then the several in any case.
func manyForms(given []rune, f *unidata.Fold) [][]rune {
	forms := [][]rune{given}
	add := func(form []rune) {
		if !slices.Equal(form, given) {
			forms = append(forms, form)
		}
	}
	for _, c := range f.From {
		add([]rune{c})
	}
	var spell func(prefix, rest []rune)
	spell = func(prefix, rest []rune) {
		if len(rest) == 0 {
			add(slices.Clone(prefix))
			return
		}
		spell(append(prefix, rest[0]), rest[1:])
		if one := unidata.FoldTo(rest[0]); one != nil {
			for _, c := range one.From {
				spell(append(prefix, c), rest[1:])
			}
		}
	}
	spell(make([]rune, 0, 3), f.To)
	return forms
}

// equalFold compares two texts of a back reference that ignores case, character by character: n is
// how much of s equals the whole of group.
func equalFold(group, s string, mode foldMode) (n int, ok bool) {
	fold := func(s string) (string, int) {
		r, n := utf8.DecodeRuneInString(s)
		if mode == foldASCII {
			if 'A' <= r && r <= 'Z' {
				r |= 0x20
			}
			return string(r), n
		}
		if f := unidata.FoldOf(r); f != nil {
			return string(f.To), n
		}
		return s[:n], n
	}
	// As in string_cmp_ic: what is compared ends where the group's bytes do.
	if len(group) > len(s) {
		return 0, false
	}
	s = s[:len(group)]
	for len(group) > 0 {
		if n == len(s) {
			return 0, false
		}
		a, k := fold(group)
		b, m := fold(s[n:])
		if a != b {
			return 0, false
		}
		group, n = group[k:], n+m
	}
	return n, true
}
