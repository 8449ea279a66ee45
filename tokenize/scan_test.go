package tokenize

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestScanners holds the scanners of well-known patterns to the general engine running the pattern itself, which in turn TestComponents
// holds to the reference.
func TestScanners(t *testing.T) {
	alphabet := []string{"a", "B", "s", "S", "t", "ll", "LL", "re", "'", "’", "ſ", " ", "  ", "\t", "\n", "\r\n", "\u00a0", "\u3000", "\u2028", "\u0085", "1", "23", "½", "५", "!", "?!", "é", "e\u0301",
		"中", "\u200d", "😀", "_", "-", "\x00", "\U000e0001", "ª", "Ⅷ", "\u0303"}
	r := rand.New(rand.NewPCG(1, 2))
	for pattern, known := range knownPatterns {
		engine, err := compileRegex(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for range 4000 {
			var b strings.Builder
			for range r.IntN(12) {
				b.WriteString(alphabet[r.IntN(len(alphabet))])
			}
			s := b.String()
			want, err := engine.find(s)
			if err != nil {
				t.Fatal(err)
			}
			got, _ := known.find(s)
			if !slices.Equal(got, want) {
				t.Fatalf("%q on %q: scanner %v, engine %v", pattern, s, got, want)
			}
			end := 0
			for _, m := range got {
				if known.total && m.start != end {
					t.Fatalf("%q on %q: no match at %d", pattern, s, end)
				}
				end = m.end
			}
			if known.total && end != len(s) {
				t.Fatalf("%q on %q: no match at %d", pattern, s, end)
			}
		}
	}
}

// TestPatternRefused lists syntax that is refused rather than guessed at.
func TestPatternRefused(t *testing.T) {
	for _, p := range []string{`(`, `)`, `[`, `[]`, `[]a]`, `a**`, `*a`, `(?<name>a)\k<name>`, `\1`, `\X`, `\R`, `\G`, `\K`, `(?i:ss)`, `(?i:ß)`, `(?i:[a-z])`, `(?<=a*)b`, `a{3}?`, `a{2,3}+`, `a{5000}`,
		`\p{Klingon}`, `\pL`, `[[:punct:]]`, `(?x: a )`, `(?~a)`, `[z-a]`, `[a-\w]`, `\xff`, `\u12`, `((((((((((a{100}){100}){100}){100}){100}){100}){100}){100}){100}){100})`, `\`, "\xff", strings.Repeat("(", 500)} {
		if _, err := compileRegex(p); err == nil {
			t.Errorf("%q was accepted", p)
		}
	}
}

// TestPatternEnds runs patterns that would backtrack for ever: they end with an error, and one that looks alike with its match.
func TestPatternEnds(t *testing.T) {
	text := strings.Repeat("a", 60) + "c"
	for p, ends := range map[string]bool{`(a|a)*b`: false, `(a+)+$`: false, `(?:a?){4}a{50}c`: true} {
		re, err := compileRegex(p)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := re.find(text); (err == nil) != ends {
			t.Errorf("%q: %v", p, err)
		}
	}
}

// TestMergeWays holds the two ways of merging to each other.
func TestMergeWays(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 300 {
		merges := newPairTable(64)
		next := int32(6)
		for rank := range uint32(40) {
			merges.put(r.Int32N(next), r.Int32N(next), rank, uint32(next))
			next++
		}
		var a, b bpeWord
		for range r.IntN(60) {
			id := r.Int32N(6)
			a.add(id, 1)
			b.add(id, 1)
		}
		fill := func(w *bpeWord) {
			for i := range w.syms {
				w.syms[i].rank = noMerge
				if i+1 < len(w.syms) {
					w.syms[i].rank, w.syms[i].into = merges.get(w.syms[i].id, w.syms[i+1].id)
				}
			}
		}
		fill(&a)
		fill(&b)
		a.mergeScanning(&merges)
		b.mergeHeap(&merges)
		same := slices.EqualFunc(a.syms, b.syms, func(x, y bpeSymbol) bool { return x.id == y.id && x.len == y.len })
		if !same {
			t.Fatalf("scanning gives %v, the heap %v", a.syms, b.syms)
		}
	}
}
