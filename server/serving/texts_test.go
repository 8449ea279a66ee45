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
