package tokenize

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
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

// TestPatternRefused lists syntax that is refused rather than guessed at.
func TestPatternRefused(t *testing.T) {
	t.Parallel()
	for _, p := range []string{`(`, `)`, `[`, `[]`, `[]a]`, `a**`, `*a`, `(?<name>a)\k<name>`, `\1`, `\X`, `\R`, `\G`, `\K`, `(?i:ss)`, `(?i:ß)`, `(?i:[a-z])`, `(?<=a*)b`, `a{3}?`, `a{2,3}+`, `a{5000}`,
		`\p{Klingon}`, `\pL`, `[[:punct:]]`, `(?x: a )`, `(?~a)`, `[z-a]`, `[a-\w]`, `\xff`, `\u12`, `((((((((((a{100}){100}){100}){100}){100}){100}){100}){100}){100}){100})`, `\`, "\xff", strings.Repeat("(", 500)} {
		if _, err := compileRegex(p); err == nil {
			t.Errorf("%q was accepted", p)
		}
	}
}

// TestPatternEnds runs patterns that would backtrack for ever: they end with an error, and one that
// looks alike with its match.
func TestPatternEnds(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("a", 60) + "c"
	for p, ends := range map[string]bool{`(a|a)*b`: false, `(a+)+$`: false, `a?a?a?a?a{50}c`: true} {
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

// TestPatterns compares the engine with Oniguruma on patterns drawn at random (patterns.py).
// XPIPE_TOKENIZE_SEED draws others.
func TestPatterns(t *testing.T) {
	t.Parallel()
	seed, count := "1", 1500
	if s := os.Getenv("XPIPE_TOKENIZE_SEED"); s != "" {
		seed, count = s, 20000
	}
	path := filepath.Join(t.TempDir(), "patterns.json")
	runPython(t, filepath.Join(root(t), "testdata", "tokenize", "patterns.py"), seed, strconv.Itoa(count), path)
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var rows []struct {
		Pattern, Error string
		Cases          []struct {
			Text    string
			Matches [][2]int
		}
	}
	if err := json.Unmarshal(data, &rows); err != nil {
		t.Fatal(err)
	}
	wrong, refused, rejected, cases := 0, map[string]int{}, 0, 0
	for _, row := range rows {
		re, err := compileRegex(row.Pattern)
		if row.Error != "" {
			rejected++
			continue
		}
		if err != nil {
			s := err.Error()
			refused[s[strings.LastIndex(s, ": ")+2:]]++
			continue
		}
		for _, c := range row.Cases {
			cases++
			matches, err := re.find(c.Text)
			var got [][2]int
			for _, m := range matches {
				if m.start < m.end {
					got = append(got, inChars(c.Text, Span{m.start, m.end}))
				}
			}
			if err != nil || !slices.Equal(got, c.Matches) {
				if wrong++; wrong <= 10 {
					t.Errorf("%q on %q: %v (%v), want %v", row.Pattern, c.Text, got, err, c.Matches)
				}
			}
		}
	}
	t.Logf("%d patterns, %d cases: %d differ; rejected by the reference %d, refused here %v", len(rows), cases, wrong, rejected, refused)
}
