package api

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The expansions are those of bash 5.
func TestExpandBraces(t *testing.T) {
	t.Parallel()
	for pattern, want := range map[string]string{
		"a.tar":               "a.tar",
		"s-{0..3}.tar":        "s-0.tar s-1.tar s-2.tar s-3.tar",
		"s-{000..003}.tar":    "s-000.tar s-001.tar s-002.tar s-003.tar",
		"{8..11}":             "8 9 10 11",
		"{08..11}":            "08 09 10 11",
		"{8..011}":            "008 009 010 011",
		"{3..1}":              "3 2 1",
		"{-1..1}":             "-1 0 1",
		"{-01..1}":            "-01 000 001",
		"{0..9..3}":           "0 3 6 9",
		"{9..0..-3}":          "9 6 3 0",
		"{1..3..0}":           "1 2 3",
		"{a..e..2}":           "a c e",
		"{c..a}":              "c b a",
		"{a,b}{1,2}":          "a1 a2 b1 b2",
		"x{a,b}y":             "xay xby",
		"{a,b{1..3},c}":       "a b1 b2 b3 c",
		"{train,val}-{0..1}":  "train-0 train-1 val-0 val-1",
		"{{a,b},{c,{d,e}}}":   "a b c d e",
		"{a,}":                "a ",
		"{,a}.png":            ".png a.png",
		"{}":                  "{}",
		"{a}":                 "{a}",
		"{a,b":                "{a,b",
		"a,b}":                "a,b}",
		"{{1..2}}":            "{1} {2}",
		"{a{b,c}":             "{ab {ac",
		"{x}{1..2}":           "{x}1 {x}2",
		"{1..b}":              "{1..b}",
		"{1..}":               "{1..}",
		"{1.5..2}":            "{1.5..2}",
		"{1..2..x}":           "{1..2..x}",
		"{1..2..3..4}":        "{1..2..3..4}",
		"{aa..bb}":            "{aa..bb}",
		"p/{a,b}/*.{jpg,png}": "p/a/*.jpg p/a/*.png p/b/*.jpg p/b/*.png",
	} {
		got, err := expandBraces(pattern)
		if err != nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v, want %q", pattern, got, err, want)
		}
	}
	for _, pattern := range []string{"{0..99999999}", "{0..9999}{0..9999}", "{a,b{0..9999999999}}",
		"{-9223372036854775808..9223372036854775807}", strings.Repeat("{a,b}", 40)} {
		_, err := expandBraces(pattern)
		wantError(t, err, ExitUsage, "stands for more than")
	}
}

func FuzzBraces(f *testing.F) {
	f.Add("{a,b{1..3},c}{x..z..2}")
	f.Fuzz(func(t *testing.T, pattern string) {
		if len(pattern) > 40 || strings.Count(pattern, "..") > 2 {
			return
		}
		names, err := expandBraces(pattern)
		if err == nil && (len(names) == 0 || len(names) > mostNames) {
			t.Errorf("%q: %d names", pattern, len(names))
		}
	})
}

// Patterns that no shell expanded, as on Windows, stand for what a shell makes of them.
func TestGlobs(t *testing.T) {
	t.Parallel()
	dir := folder(t, "a.png", "b.jpg", "sub/c.png", "sub/deep/d.png", "sub/deep/e.txt", "[x].png", "{y}.png", "s*.png")
	other := folder(t, "f.png")
	link(t, other, filepath.Join(dir, "to"))
	for pattern, want := range map[string]string{
		"*.png":             "[x].png a.png s*.png {y}.png",
		"?.png":             "a.png",
		"[ab].*":            "a.png b.jpg",
		"[x].png":           "[x].png", // it is there
		"{y}.png":           "{y}.png",
		"s*.png":            "s*.png",
		"{a,b}.*":           "a.png b.jpg",
		"sub/*":             "sub/c.png sub/deep/d.png", // a folder is what is in it
		"**/*.png":          "[x].png a.png s*.png sub/c.png sub/deep/d.png to/f.png {y}.png",
		"**/d*":             "sub/deep/d.png",
		"sub/**/*.png":      "sub/c.png sub/deep/d.png",
		"sub/**":            "sub/c.png sub/deep/d.png",
		"**/deep/**/*.png":  "sub/deep/d.png",
		"su?/**/[cd].*":     "sub/c.png sub/deep/d.png",
		"**/{c,d}.png":      "sub/c.png sub/deep/d.png",
		"./sub/../**/c.png": "sub/c.png",
	} {
		list, count := names(t, Sources{}, dir+"/"+pattern)
		for i := range list {
			rel, err := filepath.Rel(dir, list[i])
			if err != nil {
				t.Fatal(err)
			}
			list[i] = filepath.ToSlash(rel)
		}
		if got := strings.Join(list, " "); got != want || count != len(list) {
			t.Errorf("%s: %d: %s, want %s", pattern, count, got, want)
		}
	}
	for pattern, says := range map[string]string{
		"**/*.gif": "no file matches", "none/**": "no file matches", "{a,x}*.gif": "no file matches",
		"**/[": "pattern",
	} {
		_, _, err := Sources{}.Pictures(dir + "/" + pattern)
		wantError(t, err, map[string]int{"pattern": ExitUsage}[says]+
			map[string]int{"no file matches": ExitInput}[says], says)
	}
}

// A folder, where the program runs, needs no path in front.
func TestGlobHere(t *testing.T) {
	t.Chdir(folder(t, "a.png", "sub/b.png"))
	for pattern, want := range map[string][]string{
		"**/*.png": {"a.png", "sub/b.png"}, "**": {"a.png", "sub/b.png"}, ".": {"a.png", "sub/b.png"},
		"*/*.png": {"sub/b.png"}, "./**/b.png": {"sub/b.png"},
	} {
		got, _ := names(t, Sources{}, pattern)
		for i := range got {
			got[i] = filepath.ToSlash(got[i])
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", pattern, got, want)
		}
	}
}
