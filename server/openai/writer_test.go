package openai

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/pipeline"
)

// However a text is cut into tokens, what is given out is the text without white space around it, up to
// the first of what ends it; and no token comes twice.
func TestWriter(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(3, 4))
	for range 3000 {
		var text strings.Builder
		for range random.IntN(12) {
			text.WriteString([]string{"a", "ab", "abc", " ", "\n", "b", "ca", "é"}[random.IntN(8)])
		}
		whole := text.String()
		stops := [][]string{nil, {"abca"}, {"abc", "b\n"}, {" a", "aa"}}[random.IntN(4)]
		want, at := whole, -1
		for _, s := range stops {
			if i := strings.Index(whole, s); i >= 0 && (at < 0 || i < at) {
				at = i
			}
		}
		if at >= 0 {
			want = whole[:at]
		}
		bare := random.IntN(4) == 0
		if !bare {
			want = strings.TrimSpace(want)
		}
		w := &writer{stops: stops, tools: &toolbox{}, bare: bare}
		var got strings.Builder
		tokens := 0
		pieces := []piece{}
		rest := []rune(whole)
		added := 0
		for len(rest) > 0 {
			n := min(len(rest), random.IntN(4))
			pieces = append(pieces, w.add(pipeline.Token{ID: int64(added), Text: string(rest[:n])}))
			rest = rest[n:]
			added++
		}
		for _, p := range append(pieces, w.finish()) {
			got.WriteString(p.text)
			for _, token := range p.tokens {
				if token.ID != int64(tokens) {
					t.Fatalf("token %d comes in the place of %d", token.ID, tokens)
				}
				tokens++
			}
		}
		if got.String() != want || w.out.String() != want || w.ended != (at >= 0) || at < 0 && tokens != added {
			t.Fatalf("%q with %q: %q, want %q; %d of %d tokens", whole, stops, got.String(), want, tokens, added)
		}
	}
}

// Calls are found in the forms in which models write them, and what is none stays text.
func TestCalls(t *testing.T) {
	t.Parallel()
	box := &toolbox{functions: []function{{Name: "look"}, {Name: "listen"}}}
	for _, test := range []struct{ text, rest, calls string }{
		{`<tool_call>` + "\n" + `{"name": "look", "arguments": {"at": "sky"}}` + "\n</tool_call>", "", `look{"at": "sky"}`},
		{`I will look. <tool_call>{"name":"look","arguments":{}}</tool_call><tool_call>{"name":"listen"}</tool_call>`,
			"I will look.", "look{} listen{}"},
		{`<tool_call>{"name":"look","arguments":"{\"at\":1}"}`, "", `look{"at":1}`}, // cut off behind it
		{`<tool_call>{"name":"sing"}</tool_call>`, `<tool_call>{"name":"sing"}</tool_call>`, ""},
		{`<tool_call>not JSON`, `<tool_call>not JSON`, ""},
		{`[TOOL_CALLS] [{"name":"look","arguments":{"at":2}}]`, "", `look{"at":2}`},
		{`[{"name":"look","arguments":{}},{"name":"listen","arguments":{}}]`, "", "look{} listen{}"},
		{`{"name":"look","parameters":{"at":3}}`, "", `look{"at":3}`},
		{`{"name":"sing","parameters":{}}`, `{"name":"sing","parameters":{}}`, ""},
		{`{"labels":[]}`, `{"labels":[]}`, ""},
		{`the sky`, `the sky`, ""},
	} {
		rest, calls := box.parse(test.text)
		var named []string
		for _, c := range calls {
			named = append(named, c.Function.Name+c.Function.Arguments)
		}
		if rest != test.rest || strings.Join(named, " ") != test.calls {
			t.Errorf("%q: %q and %q", test.text, rest, named)
		}
		for n := 1; n <= 5; n += 2 { // and so in a stream, where nothing of a call is given out as text
			w := &writer{tools: box}
			var given strings.Builder
			for at := 0; at < len(test.text); at += n {
				given.WriteString(w.add(pipeline.Token{Text: test.text[at:min(at+n, len(test.text))]}).text)
			}
			last := w.finish()
			given.WriteString(last.text)
			if given.String() != test.rest || len(last.calls) != len(calls) {
				t.Errorf("%q by %d: %q and %d calls", test.text, n, given.String(), len(last.calls))
			}
		}
	}
	box.one = true
	if _, calls := box.parse(`[{"name":"look"},{"name":"listen"}]`); len(calls) != 1 {
		t.Errorf("%d calls, where one was allowed", len(calls))
	}
	if rest, calls := (&toolbox{}).parse(`{"name":"look"}`); rest == "" || calls != nil {
		t.Error("a call without tools")
	}
}
