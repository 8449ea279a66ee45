package tokenize

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/crossattn/xpipe/internal/references"
	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/tokenize/internal/unidata"
)

// answered is what the reference says of a pattern (patterns.py).
type answered struct {
	Pattern, Error string
	Cases          []struct {
		Text    string
		Matches [][2]int // in characters
	}
}

// asked is a pattern for the reference to try on texts.
type asked struct {
	Pattern string   `json:"pattern"`
	Texts   []string `json:"texts"`
}

func runPatterns(t *testing.T, stdin []byte, args ...string) []answered {
	script := references.Script{
		Path: "../testdata/tokenize/patterns.py", Args: args, Stdin: stdin, Check: "import tokenizers",
	}
	var rows []answered
	if err := json.Unmarshal(script.Output(t), &rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

func askPatterns(t *testing.T, questions []asked) []answered {
	data, err := json.Marshal(questions)
	if err != nil {
		t.Fatal(err)
	}
	return runPatterns(t, data, "ask")
}

// comparePatterns holds the engine to the reference and returns what is refused here alone, by
// reason. What the reference rejects must be refused, too.
func comparePatterns(t *testing.T, rows []answered) (refused map[string]int) {
	refused = map[string]int{}
	wrong, rejected, cases, accepted := 0, 0, 0, 0
	for _, row := range rows {
		re, err := compileRegex(row.Pattern)
		switch {
		case row.Error != "":
			// An undefined error is a fault of the reference.
			if rejected++; err == nil && !strings.Contains(row.Error, "undefined error code") {
				if accepted++; accepted <= 10 {
					t.Errorf("%q was accepted; the reference says %s", row.Pattern, row.Error)
				}
			}
			continue
		case err != nil:
			s := err.Error()
			refused[s[strings.LastIndex(s, ": ")+2:]]++
			continue
		}
		for _, c := range row.Cases {
			cases++
			got, err := visible(re, c.Text)
			if err != nil || !slices.Equal(got, c.Matches) {
				if wrong++; wrong <= 10 {
					t.Errorf("%q on %q: %v (%v), want %v", row.Pattern, c.Text, got, err, c.Matches)
				}
			}
		}
	}
	t.Logf("%d patterns, %d cases: %d differ; the reference rejects %d, of which %d pass here; refused %v",
		len(rows), cases, wrong, rejected, accepted, refused)
	return refused
}

// visible returns the matches that are not empty, in characters.
func visible(f finder, text string) ([][2]int, error) {
	matches, err := f.find(text)
	if len(matches) == 0 {
		return nil, err
	}
	chars := make([]int, len(text)+1) // before each byte's character
	n := -1
	for i := range len(text) {
		if utf8.RuneStart(text[i]) {
			n++
		}
		chars[i] = n
	}
	chars[len(text)] = n + 1
	var got [][2]int
	for _, m := range matches {
		if m.start < m.end {
			got = append(got, [2]int{chars[m.start], chars[m.end]})
		}
	}
	return got, err
}

// sample keeps one case in n.
func sample[C any](t *testing.T, all []C, n int) (kept []C) {
	for i, c := range all {
		if sweep.Keeps(i, n) {
			kept = append(kept, c)
		}
	}
	t.Logf("%d of %d cases; make test-full has all", len(kept), len(all))
	return kept
}

// TestPatterns compares the engine with Oniguruma on patterns drawn at random (patterns.py).
// XPIPE_TOKENIZE_SEED draws others.
func TestPatterns(t *testing.T) {
	t.Parallel()
	seed, count := "1", 3000
	if s := os.Getenv("XPIPE_TOKENIZE_SEED"); s != "" {
		seed, count = s, 20000
	}
	rows := sample(t, runPatterns(t, nil, seed, strconv.Itoa(count)), 8)
	refused := 0
	for _, n := range comparePatterns(t, rows) {
		refused += n
	}
	if refused*10 > len(rows) {
		t.Errorf("%d of %d patterns refused", refused, len(rows))
	}
}

// TestPublishedPatterns compares patterns of published tokenizers, none of which may be refused:
// testdata/published.json says whose each is.
func TestPublishedPatterns(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/published.json")
	if err != nil {
		t.Fatal(err)
	}
	var list []struct{ Of, Pattern string }
	if err := json.Unmarshal(data, &list); err != nil {
		t.Fatal(err)
	}
	words := []string{
		"I'LL say", " it's", "DON'T we'Re", "'ſ", "naïve", "ÉTÉ", "e\u0301", "Straße", "ﬁre", "K", " 中文字", "日本語カナ", "한국어",
		"1", "12", "1234567", " 42", "½", "Ⅷ", "٣٤", "!!!", "...", " --", "/*", "\n", "\r\n", "  ", "   ", "\t", "\u00a0", "\u3000",
		"😀", "👩\u200d🚀", "camelCase", "HTTPServer", "snake_case", "a.b/c", "<s>", "$x", "हिन्दी", "ไทย", "العربية", "_", "’s", "IMGIMGABZ", "\u0303",
	}
	r := rand.New(rand.NewPCG(5, 6))
	var questions []asked
	for _, p := range list {
		q := asked{Pattern: p.Pattern}
		for range 60 {
			var b strings.Builder
			for range 1 + r.IntN(10) {
				b.WriteString(words[r.IntN(len(words))])
			}
			q.Texts = append(q.Texts, b.String())
		}
		questions = append(questions, q)
	}
	rows := askPatterns(t, questions)
	for reason := range comparePatterns(t, rows) {
		t.Errorf("refused: %s", reason)
	}
	// The scanners of well-known patterns, too.
	for _, row := range rows {
		known, ok := knownPatterns[row.Pattern]
		if !ok {
			continue
		}
		for _, c := range row.Cases {
			if got, _ := visible(known, c.Text); !slices.Equal(got, c.Matches) {
				t.Errorf("the scanner of %q on %q: %v, want %v", row.Pattern, c.Text, got, c.Matches)
			}
		}
	}
}

// TestProperties asks the reference about every property, in a class and outside of one, at the
// ends of all its ranges; and about the case of every letter that has one.
func TestProperties(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(7, 8))
	valid := func(c rune) bool {
		return c >= 0 && c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF)
	}
	var questions []asked
	for _, name := range unidata.PropertyNames() {
		number, ok := unidata.Property(name)
		if !ok {
			t.Fatalf("%s has no number", name)
		}
		var text strings.Builder
		add := func(c rune) {
			if valid(c) {
				text.WriteRune(c)
			}
		}
		ranges := unidata.PropertyRanges(number)
		for i := 0; i < len(ranges); i += 2 {
			add(ranges[i] - 1)
			add(ranges[i])
			add(ranges[i+1])
			add(ranges[i+1] + 1)
		}
		for c := range rune(0x180) {
			add(c)
		}
		for range 100 {
			add(r.Int32N(0x20000))
		}
		spelt := strings.ToUpper(name[:1]) + " " + name[1:]
		for _, p := range []string{`\p{%s}`, `\P{%s}`, `[\p{^%s}]`} {
			questions = append(questions, asked{fmt.Sprintf(p, spelt), []string{text.String()}})
		}
	}
	var cased strings.Builder
	for i, f := range unidata.Folds() {
		for _, c := range slices.Concat(f.To, f.From) {
			cased.WriteRune(c)
		}
		if len(f.To) == 1 && len(f.From) == 1 && i%8 != 0 {
			continue // most are alike
		}
		for _, c := range append(slices.Clone(f.From), f.To...) {
			text := string(c) + string(f.From) + string(f.To) + strings.ToUpper(string(f.To)) + "x"
			questions = append(questions,
				asked{`(?i:` + string(c) + `)`, []string{text}},
				asked{`(?i:[` + string(c) + `])+`, []string{text}},
				asked{`(?i:[^` + string(c) + `])`, []string{text}},
				asked{`(?<=(?i:` + string(c) + `))x|(?i)(.)\1`, []string{text, string(c) + "x"}})
		}
		questions = append(questions, asked{`(?i:` + string(f.To) + `)`, []string{
			string(f.From) + string(f.To) + strings.ToUpper(string(f.To)),
		}})
	}
	for _, p := range []string{`(?i:[[:upper:]])+`, `(?i:[^[:upper:]])+`, `(?i:\p{Ll}[\p{Ll}])`, `(?i:[a-z])+`,
		`(?I)(?i:[a-zé])+`, `(?i:[à-ÿ])`, `(?i:[^a-zﬁ])+`} {
		questions = append(questions, asked{p, []string{cased.String()}})
	}
	if raceEnabled {
		questions = questions[:200]
	}
	questions = sample(t, questions, 5)
	for reason, n := range comparePatterns(t, askPatterns(t, questions)) {
		t.Errorf("refused %d times: %s", n, reason)
	}
}

// TestPatternRefused lists what Oniguruma takes and this package refuses rather than guess.
func TestPatternRefused(t *testing.T) {
	t.Parallel()
	for p, reason := range map[string]string{
		`(?<n>a)\g<n>`:             "a call of a group",
		`\g<0>`:                    "a call of a group",
		`(?~a)`:                    "an absent group",
		`(?{code})a`:               "a callout",
		`(*FAIL)`:                  "a callout",
		`(?y{w})\X`:                "word segments",
		`(?L)a`:                    "the group (?L",
		`(a)\k<1+0>`:               "the reference to the group",
		`(a\1?)`:                   "the group that it stands in",
		`(?:(a)|b*)*\1`:            "around a group that is referred to",
		`(?:a*){2,3}`:              "an interval after something that may be empty",
		`(?=a\Kb)ab`:               `\K in a look-around`,
		`[^0[^\Ha]]`:               "with a negated class inside",
		`[\x{61 62}]`:              "several code points in a class",
		`(?:ab){100000}`:           "too large",
		strings.Repeat("(", 500):   "nested more than",
		strings.Repeat("[a", 500):  "nested more than",
		strings.Repeat("(?:", 500): "nested more than",
		`((((((a{100}b){100}){100}){100}){100}){100})`: "too large",
	} {
		if _, err := compileRegex(p); err == nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %v, want %q", p, err, reason)
		}
	}
}

// TestPatternEnds runs patterns that would backtrack for ever: they end with an error, and one that
// looks alike with its match.
func TestPatternEnds(t *testing.T) {
	t.Parallel()
	text := strings.Repeat("a", 60) + "c"
	for p, ends := range map[string]bool{
		`(a|a)*b`: false, `(a+)+$`: false, `a?a?a?a?a{50}c`: true, `(a*)*\1b`: false, `(?<=(a|aa)*)b`: true,
		`(?:a|a)*+b`: true, `(a|a)*(?<!b)d`: false,
	} {
		re, err := compileRegex(p)
		if err != nil {
			if !strings.Contains(err.Error(), "not supported") {
				t.Fatal(err)
			}
			continue
		}
		if _, err := re.find(text); (err == nil) != ends {
			t.Errorf("%q: %v", p, err)
		}
	}
}

// TestSplits holds tokenizers whose patterns were refused once to the reference's splits:
// testdata/patterns.
func TestSplits(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("testdata/patterns/expected.json")
	if err != nil {
		t.Fatal(err)
	}
	var expected struct {
		Tokenizers map[string]map[string][][2]int
	}
	if err := json.Unmarshal(data, &expected); err != nil {
		t.Fatal(err)
	}
	if len(expected.Tokenizers) == 0 {
		t.Fatal("nothing is expected")
	}
	for name, texts := range expected.Tokenizers {
		tk, err := Open(filepath.Join("testdata", "patterns", name+".json"))
		if err != nil {
			t.Error(err)
			continue
		}
		for text, want := range texts {
			e, err := tk.Encode(text)
			if err != nil {
				t.Fatal(err)
			}
			var got [][2]int
			for _, o := range e.Offsets {
				got = append(got, [2]int{o.Start, o.End})
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s on %q: %v, want %v", name, text, got, want)
			}
		}
	}
}

// TestByteOrderMark opens a tokenizer that an editor saved with a mark, and one in UTF-16.
func TestByteOrderMark(t *testing.T) {
	t.Parallel()
	file := miniature("word")
	if _, err := New([]byte("\ufeff" + file)); err != nil {
		t.Error(err)
	}
	var wide []byte
	for _, c := range []byte(file[:40]) {
		wide = append(wide, c, 0)
	}
	for _, data := range [][]byte{append([]byte("\xFF\xFE"), wide...), wide} {
		if _, err := New(data); !errors.Is(err, ErrTokenizer) || !strings.Contains(err.Error(), "UTF-8") {
			t.Errorf("a tokenizer in UTF-16: %v", err)
		}
	}
}
