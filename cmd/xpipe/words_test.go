package main

import (
	"slices"
	"strings"
	"testing"
)

func TestQuestionsOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		words, want []string
		hint        bool
	}{
		{[]string{"what", "color", "is", "it"}, []string{"what color is it"}, false},
		{[]string{"what", "color", "is", "it?"}, []string{"what color is it?"}, false},
		{[]string{"color"}, []string{"color"}, false},
		{[]string{"what color is it"}, []string{"what color is it"}, false},
		{[]string{"what color is it", "what shape is it"}, []string{"what color is it", "what shape is it"}, false},
		{[]string{"color?", "shape?"}, []string{"color?", "shape?"}, false},
		{[]string{"what color", "is it"}, []string{"what color", "is it"}, false},
		{[]string{"what color is it", "shape"}, []string{"what color is it shape"}, true},
		{[]string{"why?", "not"}, []string{"why? not"}, true},
	} {
		env, _, errs := testEnvironment()
		got := env.questionsOf(c.words)
		if !slices.Equal(got, c.want) || (errs.Len() > 0) != c.hint {
			t.Errorf("%q: %q, %s", c.words, got, errs)
		}
	}
}

// A single label or text is compared with nothing, which is said.
func TestAlone(t *testing.T) {
	t.Parallel()
	picture := "../../testdata/families/images/figure0.png"
	for _, verb := range []string{"classify", "match"} {
		args := []string{verb, "--engine", "go", "-m", clipTiny, picture, "cat"}
		if _, _, stderr := xpipe(t, "", args...); !strings.Contains(stderr, "always has the probability 1") {
			t.Errorf("%s of one: %q", verb, stderr)
		}
		if _, _, stderr := xpipe(t, "", append(args, "boat")...); stderr != "" {
			t.Errorf("%s of two: %q", verb, stderr)
		}
	}
}

// A file in a text's place is told with what was probably meant.
func TestFileForText(t *testing.T) {
	t.Parallel()
	picture := "../../testdata/families/images/figure0.png"
	for verb, says := range map[string]string{"ask": "--question", "match": "the picture comes first"} {
		_, _, stderr := xpipe(t, "", verb, "what is it?", picture)
		if !strings.Contains(stderr, says) {
			t.Errorf("%s with the picture last: %q", verb, stderr)
		}
	}
}

// --json counts for errors about flags before it, too.
func TestJSONBehindMistake(t *testing.T) {
	t.Parallel()
	if _, _, stderr := xpipe(t, "", "caption", "--colour", "--json"); !strings.HasPrefix(stderr, `{"error":`) {
		t.Errorf("%q", stderr)
	}
	if _, _, stderr := xpipe(t, "", "caption", "--colour", "--", "--json"); strings.HasPrefix(stderr, "{") {
		t.Errorf("%q", stderr)
	}
}

// splitCommand is a command line as a shell splits it.
func splitCommand(line string) (words []string) {
	var word strings.Builder
	quote, begun := rune(0), false
	for _, r := range line + " " {
		switch {
		case quote == 0 && (r == '\'' || r == '"'):
			quote, begun = r, true
		case r == quote:
			quote = 0
		case quote == 0 && r == ' ':
			if begun {
				words = append(words, word.String())
			}
			word.Reset()
			begun = false
		default:
			word.WriteRune(r)
			begun = true
		}
	}
	return words
}

// Every verb has three examples, with flags and arguments that it takes, says its exit codes, and
// has a place for each of its flags.
func TestHelp(t *testing.T) {
	t.Parallel()
	env, _, _ := testEnvironment()
	root := newRootCommand(env)
	want(t, "--help")
	verbs := root.Commands()
	for _, verb := range root.Commands() {
		verbs = append(verbs, verb.Commands()...)
	}
	for _, verb := range verbs {
		if verb.Hidden && verb.HasParent() && verb.Parent() != root {
			continue // no user calls it
		}
		if n := strings.Count(verb.Example, "\n") + 1; n != 3 {
			t.Errorf("%s has %d lines of examples", verb.Name(), n)
		}
		help := helpOf(verb, 80)
		for _, part := range []string{"\nUSAGE\n", "\nEXAMPLES\n", "\nEXIT STATUS\n", "--verbose"} {
			if strings.Count(help, part) != 1 {
				t.Errorf("the help of %s has %q %d times", verb.Name(), part, strings.Count(help, part))
			}
		}
		for line := range strings.Lines(verb.Example) {
			for _, command := range commandsOf(strings.TrimSpace(line)) {
				if err := tryLine(command); err != nil {
					t.Errorf("%s: %v", strings.TrimSpace(line), err)
				}
			}
		}
	}
	if page := manPage(root.Commands()[0], "xpipe-x"); !strings.Contains(page, ".SH EXAMPLES\n") ||
		strings.Contains(page, "\n--") {
		t.Errorf("%s", page)
	}
}
