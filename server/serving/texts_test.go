package serving

import (
	"strings"
	"testing"
)

func TestPieces(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		tokens []string
		stops  []string
		want   []string // what each Push gives, then End
		stop   bool
	}{
		{[]string{" a", " red", " car"}, nil, []string{"a", " red", " car", ""}, false},
		{[]string{" ", "\n", "a", " "}, nil, []string{"", "", "a", "", ""}, false},
		{[]string{"a\n", "\nb"}, []string{"\n\n"}, []string{"a", ""}, true},
		{[]string{"a", " EN", "Dless"}, []string{"END"}, []string{"a", "", ""}, true},
		{[]string{"a", " EN", "ough"}, []string{"END"}, []string{"a", "", " ENough", ""}, false},
		{[]string{"a", " EN"}, []string{"END"}, []string{"a", "", " EN"}, false},
		{[]string{"stop"}, []string{"op", "st"}, []string{""}, true},
	} {
		p := Pieces{Stops: test.stops}
		var got []string
		stopped := false
		for _, token := range test.tokens {
			var out string
			if out, stopped = p.Push(token); true {
				got = append(got, out)
			}
			if stopped {
				break
			}
		}
		if !stopped {
			got = append(got, p.End())
		}
		if strings.Join(got, "|") != strings.Join(test.want, "|") || stopped != test.stop {
			t.Errorf("%q with stops %q gives %q (stopped %t), want %q (%t)",
				test.tokens, test.stops, got, stopped, test.want, test.stop)
		}
	}
}

func TestAsksForCaption(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]bool{
		"":                            true,
		"Describe this picture.":      true,
		"Write alt text for it":       true,
		"a caption of one sentence":   true,
		"what does the caption say?":  false,
		"what color is the car":       false,
		"who is described here":       false,
		"Is there a dog? Describe it": false,
	} {
		if got := AsksForCaption(text); got != want {
			t.Errorf("%q: %t, want %t", text, got, want)
		}
	}
}

func TestParseCalls(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`It rains.`: "It rains.",
		`{"name":"look","arguments":{"at":"sky"}}`:                                                `look{"at":"sky"}`,
		`[{"name":"look","parameters":{}},{"name":"go"}]`:                                         `look{} go{}`,
		`[TOOL_CALLS] [{"name":"look","arguments":"{\"at\":1}"}]`:                                 `look{"at":1}`,
		"Let me see. <tool_call>\n{\"name\":\"look\",\"arguments\":{}}\n</tool_call>":             `Let me see. look{}`,
		`<tool_call>{"name":"look"}</tool_call> and <tool_call>{"name":"go","arguments":{"a":2}}`: `and look{} go{"a":2}`,
		`<tool_call>{"name":"fly","arguments":{}}</tool_call>`:                                    `<tool_call>{"name":"fly","arguments":{}}</tool_call>`,
		`{"name":"look","arguments":[1]}`:                                                         `{"name":"look","arguments":[1]}`,
		`{"name":"look","arguments":{}} or not`:                                                   `{"name":"look","arguments":{}} or not`,
		`null`:                                                                                    `null`,
	} {
		rest, calls := ParseCalls(text, []string{"look", "go"})
		got := []string{}
		if rest != "" {
			got = append(got, rest)
		}
		for _, c := range calls {
			got = append(got, c.Name+string(c.Arguments))
		}
		if joined := strings.Join(got, " "); joined != want {
			t.Errorf("%s: %q, want %q", text, joined, want)
		}
	}
}
