package unidata

import (
	"slices"
	"testing"
)

// The tables come from the reference; these tests are about the code around them.

func TestProps(t *testing.T) {
	t.Parallel()
	for r, want := range map[rune]int{'a': Ll, 'A': Lu, '1': Nd, ' ': Zs, '\n': Cc, 'é': Ll, '中': Lo, '\u0301': Mn, '😀': So, 0x10FFFF: Cn, 0x110000: Cn, -1: Cn} {
		if got := Category(r); got != want {
			t.Errorf("category of %U is %d, want %d", r, got, want)
		}
	}
	if !Is('\u3000', White) || Is('a', White) || !Is('!', Punct) || !Is('½', Numeric) || !Is('_', Word) {
		t.Error("properties")
	}
	if s, ok := Lower('İ'); !ok || s != "i\u0307" {
		t.Errorf("lower case of İ is %q", s)
	}
	if _, ok := Lower('a'); ok {
		t.Error("a has a lower case")
	}
}

func TestDecompose(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		r          rune
		compatible bool
		want       string
	}{
		{'a', false, "a"}, {'é', false, "e\u0301"}, {'ﬁ', false, "ﬁ"}, {'ﬁ', true, "fi"}, {'가', false, "\u1100\u1161"}, {'각', true, "\u1100\u1161\u11a8"}, {'ǖ', false, "u\u0308\u0304"},
	} {
		if got := string(AppendDecomposition(nil, c.r, c.compatible)); got != c.want {
			t.Errorf("%c decomposes to %q, want %q", c.r, got, c.want)
		}
	}
	for _, r := range []rune{'é', '가', '각', 'ǖ', 'Å'} {
		d := AppendDecomposition(nil, r, false)
		got := d[0]
		for _, m := range d[1:] {
			var ok bool
			if got, ok = Compose(got, m); !ok {
				t.Fatalf("%c does not compose", r)
			}
		}
		if got != r {
			t.Errorf("%c composes to %c", r, got)
		}
	}
	if _, ok := Compose('a', 'b'); ok {
		t.Error("ab composes")
	}
	if CombiningClass('\u0301') != 230 || CombiningClass('a') != 0 {
		t.Error("combining classes")
	}
}

func TestGraphemeLen(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		s    string
		want []int
	}{
		{"", nil},
		{"ab", []int{1, 1}},
		{"a\u0301b", []int{3, 1}},
		{"\r\n\n", []int{2, 1}},
		{"각나", []int{3, 3}},
		{"\u1100\u1161\u11a8", []int{9}},
		{"👨\u200d👩", []int{11}},
		{"a\u200d👩", []int{4, 4}},
		{"क\u094dष", []int{9}},
		{"\u0600a", []int{3}},
		{"\x00\u0301", []int{1, 2}},
	} {
		var got []int
		for s := c.s; len(s) > 0; {
			n := GraphemeLen(s)
			got = append(got, n)
			s = s[n:]
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: clusters of %v bytes, want %v", c.s, got, c.want)
		}
	}
}
