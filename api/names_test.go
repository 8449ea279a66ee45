package api

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"unicode/utf8"
)

func TestNameText(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"":                     "",
		"photo.png":            "photo.png",
		"Füße/日本.png":          "Füße/日本.png",
		"100%25 \\xff.png":     "100%25 \\xff.png",
		"caf\xe9.png":          "caf\ufffde9.png",
		"caf\xe8.png":          "caf\ufffde8.png",
		"\xff\xfe":             "\ufffdff\ufffdfe",
		"\ufffd.png":           "\ufffd.png",
		"\ufffdAB.png":         "\ufffdAB.png",
		"\ufffde9.png":         "\ufffdef\ufffdbf\ufffdbde9.png",
		"\xed\xa0\x80":         "\ufffded\ufffda0\ufffd80", // half of a pair, as Windows may have it
		"\xf0\x9f\x98":         "\ufffdf0\ufffd9f\ufffd98",
		"\ufffd\xe9":           "\ufffd\ufffde9",
		"a\x1b[31m\nb\x7f.png": "a\x1b[31m\nb\x7f.png", // JSON itself escapes these
	} {
		text, err := Name(name).MarshalText()
		if err != nil || string(text) != want {
			t.Errorf("%q is written %q, want %q", name, text, want)
		}
		var again Name
		if err := again.UnmarshalText(text); err != nil || string(again) != name {
			t.Errorf("%q is read as %q", text, again)
		}
	}
}

func FuzzName(f *testing.F) {
	f.Add("caf\xe9.png", "caf\xe8.png")
	f.Add("\ufffde9", "\xe9")
	f.Fuzz(func(t *testing.T, a, b string) {
		write := func(name string) string {
			line, err := json.Marshal(Failure{Image: Name(name)})
			if err != nil {
				t.Fatal(err)
			}
			var again Failure
			if err := json.Unmarshal(line, &again); err != nil || string(again.Image) != name {
				t.Errorf("%q is written %s and read %q, %v", name, line, again.Image, err)
			}
			return string(line)
		}
		if (write(a) == write(b)) != (a == b) {
			t.Errorf("%q and %q fall together", a, b)
		}
		if v := Visible(a); !utf8.ValidString(v) {
			t.Errorf("%q is shown as %q", a, v)
		}
	})
}

func TestVisible(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"Füße/日本 a.png":          "Füße/日本 a.png",
		"\x1b[31mred\x1b[0m.png": `\x1b[31mred\x1b[0m.png`,
		"a\nb\rc\td\x07\x08.png": `a\nb\rc\td\a\b.png`,
		"a\x00b\x7fc":            `a\x00b\x7fc`,
		"csi\u009b31m":           `csi\u009b31m`,
		"csi\x9b31m":             `csi\x9b31m`, // the same of a terminal that is not at UTF-8
		"gnp\u202e.exe":          `gnp\u202e.exe`,
		"a\u2028b\u2066c":        `a\u2028b\u2066c`,
		"\ufffd":                 "\ufffd",
		"a\u200fב":               "a\u200fב",
	} {
		if got := Visible(s); got != want {
			t.Errorf("%q is shown as %q, want %q", s, got, want)
		}
	}
}

func TestSpellings(t *testing.T) {
	dir := t.TempDir()
	for _, sub := range []string{"real/sub", "desk"} {
		if err := os.MkdirAll(filepath.Join(dir, sub), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "real", "sub"), filepath.Join(dir, "desk", "link")); err != nil {
		t.Skip(err)
	}
	t.Chdir(filepath.Join(dir, "desk"))
	s := newSpellings()
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, same := range [][]string{
		{"-"},
		{"x.png", "./x.png", ".//x.png", filepath.Join(dir, "desk", "x.png"),
			real + "/desk/x.png", dir + "//desk/./x.png", "../desk/x.png", dir + "/desk/../desk/x.png"},
		{"link/x.png", dir + "/desk/link/x.png"},
		{"../real/x.png", "link/../x.png"}, // not x.png
		{"s.tar/a/x.png", "./s.tar/./a/x.png", dir + "/desk/s.tar/a/x.png"},
		{"s.tar/../y.png"}, // a member of an odd name, and not y.png
		{"y.png"},
		{"X.png"},
	} {
		for _, name := range same {
			if s.key(name) != s.key(same[0]) {
				t.Errorf("%s is %s, and %s is %s", name, s.key(name), same[0], s.key(same[0]))
			}
		}
		for _, other := range []string{"z.png", "x.png", "y.png", "../real/x.png"} {
			if other != same[0] && s.key(other) == s.key(same[0]) {
				t.Errorf("%s and %s fall together: %s", other, same[0], s.key(other))
			}
		}
	}
}

// What a model wrote may have lines, and no more than these.
func TestPrintable(t *testing.T) {
	t.Parallel()
	if got, want := Printable("a\n\tb\x1b[1m\x07é\xff"), "a\n\tb\\x1b[1m\\aé\\xff"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
