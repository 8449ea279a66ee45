package studio

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestTokens(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                       "",
		"A red-hot Café, 42!":    "a red hot cafe 42",
		"foo_bar.Baz":            "foo bar baz",
		"GRÖSSE Größe grosse":    "grosse grosse grosse",
		"北京在哪里? where":           "北 京 在 哪 里 where",
		"e\u0301te\u0301 \u0301": "ete",
		"ﬁne ½":                  "fine 12",
		"สวัสดี":                 "ส วั ส ดี",
		"\xff\xfe broken\xff":    "broken",
		"don’t":                  "don t",
		"Ω ΑΘΉΝΑ Москва שָׁלוֹם": "ω αθηνα москва שלום",
	} {
		var got []string
		for _, token := range Tokens(text) {
			got = append(got, token.Text)
			if token.From < 0 || token.To <= token.From || token.To > len(text) {
				t.Errorf("%q: %+v", text, token)
			}
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("Tokens(%q) = %q, want %q", text, s, want)
		}
	}
}

func TestParseWords(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                   "[]",
		"red car":            "[{[red] false false} {[car] false true}]",
		"red car ":           "[{[red] false false} {[car] false false}]",
		`"red car" -"blue b`: "[{[red car] false false} {[blue b] true false}]",
		"-dog cat":           "[{[dog] true false} {[cat] false true}]",
		"foo_bar":            "[{[foo bar] false true}]",
		"a":                  "[{[a] false false}]",
		"北京":                 "[{[北 京] false true}]",
		`- "" " -`:           "[]",
		`a"b`:                "[{[a] false false} {[b] false false}]",
		"NEAR(x) OR {y}: ^*": "[{[near x] false false} {[or] false false} {[y] false false}]",
	} {
		if got := fmt.Sprint(ParseWords(text)); got != want {
			t.Errorf("ParseWords(%q) = %s, want %s", text, got, want)
		}
	}
}

func TestContext(t *testing.T) {
	t.Parallel()
	show := func(pieces []Piece) string {
		var b strings.Builder
		for _, p := range pieces {
			if p.Hit {
				b.WriteString("[" + p.Text + "]")
			} else {
				b.WriteString(p.Text)
			}
		}
		return b.String()
	}
	filler := strings.Repeat("lorem ipsum ", 50)
	for _, c := range []struct{ text, words, want string }{
		{"A Café by the sea", "cafe sea", "A [Café] by the [sea]"},
		{"nothing here", "dog", "nothing here"},
		{"", "dog", ""},
		{"the 北京 station", "北京", "the [北京] station"},
		{"red, car and a red car", `"red car" -and`, "[red, car] and a [red car]"},
	} {
		if got := show(Context(c.text, ParseWords(c.words), 100)); got != c.want {
			t.Errorf("%q in %q: %q, want %q", c.words, c.text, got, c.want)
		}
	}
	long := "dog " + filler + " a dog beside a cat " + filler
	got := show(Context(long, ParseWords("dog cat "), 90))
	if !strings.Contains(got, "[dog] beside a [cat]") || !strings.HasPrefix(got, "… ") || !strings.HasSuffix(got, " …") || len(got) > 200 {
		t.Errorf("%q", got)
	}
}

// Whatever the text and the words are, pieces are parts of the text and valid where it is.
func FuzzContext(f *testing.F) {
	f.Add("A Café by the sea", "cafe", 20)
	f.Add("北京", "北", 1)
	f.Add("\xff\xfe", `-"x`, 0)
	f.Fuzz(func(t *testing.T, text, words string, most int) {
		if most < 0 || most > 1<<20 {
			return
		}
		for _, p := range Context(text, ParseWords(words), most) {
			if p.Text != "… " && p.Text != " …" && !strings.Contains(text, p.Text) {
				t.Errorf("%q is not in %q", p.Text, text)
			}
			if utf8.ValidString(text) && !utf8.ValidString(p.Text) {
				t.Errorf("%q was cut in a letter", p.Text)
			}
		}
	})
}
