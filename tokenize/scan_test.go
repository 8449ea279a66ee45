package tokenize

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestScanners holds the scanners of well-known patterns to the general engine running the pattern
// itself, which in turn TestComponents holds to the reference.
func TestScanners(t *testing.T) {
	t.Parallel()
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

// TestMergeWays holds the two ways of merging to each other.
func TestMergeWays(t *testing.T) {
	t.Parallel()
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
