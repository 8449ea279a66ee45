package unidata

import (
	"bytes"
	"compress/gzip"
	_ "embed"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"
)

// Oniguruma's own tables, for patterns: character properties, case folds and grapheme classes of
// Unicode 16. onig.py writes the file from the sources of Oniguruma 6.9.10 (Copyright (c) 2002-2025
// K.Kosako, BSD-2-Clause) and says how it is laid out; it is read when the first pattern needs it.

//go:embed onig.bin.gz
var onigPacked []byte

// The properties that POSIX brackets, \d, \s and \h stand for, by Oniguruma's numbers.
const (
	CtypeNewline = iota
	CtypeAlpha
	CtypeBlank
	CtypeCntrl
	CtypeDigit
	CtypeGraph
	CtypeLower
	CtypePrint
	CtypePunct
	CtypeSpace
	CtypeUpper
	CtypeXDigit
	CtypeWord
	CtypeAlnum
	CtypeASCII
)

// Fold is a case fold: the one to three characters of To are what each character of From folds to.
type Fold struct{ To, From []rune }

type onigTables struct {
	properties [][]rune // pairs of first and last
	names      map[string]int
	folds      []Fold
	byChar     map[rune]*Fold
	byFold     map[string]*Fold
	clusters   []clusterRange
}

type clusterRange struct {
	first, last rune
	class       uint8
}

var onig = sync.OnceValue(func() *onigTables {
	z, err := gzip.NewReader(bytes.NewReader(onigPacked))
	if err != nil {
		panic(err) // the file is part of this package
	}
	data, err := io.ReadAll(z)
	if err != nil {
		panic(err)
	}
	next := func() int {
		v, n := binary.Uvarint(data)
		data = data[n:]
		return int(v)
	}
	runes := func(n int) []rune {
		list := make([]rune, n)
		for i := range list {
			list[i] = rune(next())
		}
		return list
	}
	t := &onigTables{
		names:  map[string]int{},
		byChar: map[rune]*Fold{},
		byFold: map[string]*Fold{},
	}
	t.properties = make([][]rune, next())
	for i := range t.properties {
		at := 0
		ranges := make([]rune, 0, 8)
		for range next() {
			first := at + next()
			last := first + next()
			ranges = append(ranges, rune(first), rune(last))
			at = last + 1
		}
		t.properties[i] = ranges
	}
	for range next() {
		n := next()
		name := string(data[:n])
		data = data[n:]
		t.names[name] = next()
	}
	for size := 1; size <= 3; size++ {
		for range next() {
			to := runes(size)
			t.folds = append(t.folds, Fold{to, runes(next())})
		}
	}
	for i := range t.folds {
		f := &t.folds[i]
		t.byFold[string(f.To)] = f
		for _, c := range f.From {
			t.byChar[c] = f
		}
	}
	t.clusters = make([]clusterRange, next())
	at := 0
	for i := range t.clusters {
		first := at + next()
		last := first + next()
		t.clusters[i] = clusterRange{rune(first), rune(last), uint8(next())}
		at = last + 1
	}
	return t
})

// Property returns the number of the property that name stands for in \p{name}. Case, spaces, "_"
// and "-" make no difference.
func Property(name string) (number int, ok bool) {
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			return 0, false // lower case of the Kelvin sign is k
		}
	}
	key := strings.NewReplacer(" ", "", "_", "", "-", "").Replace(name)
	number, ok = onig().names[strings.ToLower(key)]
	return number, ok
}

// PropertyNames lists the names of all properties, sorted.
func PropertyNames() []string {
	var names []string
	for name := range onig().names {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// PropertyRanges returns the characters of a property: sorted pairs of first and last.
func PropertyRanges(number int) []rune { return onig().properties[number] }

// Folds returns all case folds, in Oniguruma's order.
func Folds() []Fold { return onig().folds }

// FoldOf returns the fold of a character, nil where it folds to itself.
func FoldOf(r rune) *Fold { return onig().byChar[r] }

// FoldTo returns the fold to the given characters, nil where nothing folds to them.
func FoldTo(to ...rune) *Fold { return onig().byFold[string(to)] }

// Grapheme classes, in the order of onig.py.
const (
	gcbOther = iota
	gcbCR
	gcbLF
	gcbControl
	gcbExtend
	gcbPrepend
	gcbRegional
	gcbSpacing
	gcbZWJ
	gcbL
	gcbLV
	gcbLVT
	gcbT
	gcbV
)

func (t *onigTables) cluster(r rune) uint8 {
	i, found := slices.BinarySearchFunc(t.clusters, r, func(c clusterRange, r rune) int {
		switch {
		case c.last < r:
			return -1
		case c.first > r:
			return 1
		}
		return 0
	})
	if !found {
		return gcbOther
	}
	return t.clusters[i].class
}

func (t *onigTables) pictographic(r rune) bool {
	return InRanges(t.properties[t.names["extendedpictographic"]], r)
}

// InRanges reports whether r is in sorted pairs of first and last.
func InRanges(ranges []rune, r rune) bool {
	low, high := 0, len(ranges)/2
	for low < high {
		if mid := (low + high) / 2; ranges[2*mid+1] < r {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return 2*low < len(ranges) && ranges[2*low] <= r
}

// ClusterBoundary reports whether an extended grapheme cluster ends at byte i of s as Oniguruma
// sees it (onigenc_egcb_is_break_position), which is not quite as GraphemeLen does: it has no rule
// for Indic conjuncts.
func ClusterBoundary(s string, i int) bool {
	if i == 0 || i == len(s) {
		return true
	}
	t := onig()
	a, n := utf8.DecodeLastRuneInString(s[:i])
	b, _ := utf8.DecodeRuneInString(s[i:])
	from, to := t.cluster(a), t.cluster(b)
	before := s[:i-n]
	switch {
	case from == gcbCR && to == gcbLF:
		return false
	case from >= gcbCR && from <= gcbControl, to >= gcbCR && to <= gcbControl:
		return true
	case from >= gcbL && to >= gcbL:
		return !(from == gcbL && to != gcbT ||
			(from == gcbLV || from == gcbV) && (to == gcbV || to == gcbT) ||
			to == gcbT && (from == gcbLVT || from == gcbT))
	case to == gcbExtend, to == gcbZWJ, to == gcbSpacing, from == gcbPrepend:
		return false
	case from == gcbZWJ:
		if !t.pictographic(b) {
			return true
		}
		for len(before) > 0 {
			r, n := utf8.DecodeLastRuneInString(before)
			before = before[:len(before)-n]
			if t.pictographic(r) {
				return false
			}
			if t.cluster(r) != gcbExtend {
				return true
			}
		}
	case from == gcbRegional && to == gcbRegional:
		count := 0
		for len(before) > 0 {
			r, n := utf8.DecodeLastRuneInString(before)
			before = before[:len(before)-n]
			if t.cluster(r) != gcbRegional {
				break
			}
			count++
		}
		return count%2 != 0
	}
	return true
}
