package bom

import (
	"errors"
	"io"
	"strings"
	"testing"
)

func TestStrip(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                         "",
		"{}":                       "{}",
		"\ufeff{}":                 "{}",
		"\ufeff":                   "",
		"\ufeff\ufeff{}":           "\ufeff{}",
		"\xEF\xBB":                 "\xEF\xBB",
		"é.png":                    "é.png",
		"\xFF\xFE{\x00}\x00":       "error",
		"\xFE\xFF\x00{\x00}":       "error",
		"\xFF\xFE\x00\x00{\x00":    "error",
		"\x00\x00\xFE\xFF\x00\x00": "error",
	} {
		got, err := Strip([]byte(text))
		if (err != nil) != (want == "error") || err == nil && string(got) != want {
			t.Errorf("%q: %q, %v", text, got, err)
		}
		r, err := NewReader(strings.NewReader(text))
		if (err != nil) != (want == "error") || err != nil && !errors.Is(err, ErrEncoding) {
			t.Errorf("a reader of %q: %v", text, err)
		}
		if rest, _ := io.ReadAll(r); err == nil && string(rest) != want {
			t.Errorf("a reader of %q: %q", text, rest)
		}
	}
	for _, text := range []string{"{\x00}\x00", "\x00{\x00}"} { // UTF-16 without a mark
		if _, err := Strip([]byte(text)); !errors.Is(err, ErrEncoding) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestDiscardWaits reads from a pipe whose other side writes one short line and waits.
func TestDiscardWaits(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	go w.Write([]byte("1\n"))
	b, err := NewReader(r)
	if err != nil {
		t.Fatal(err)
	}
	if line, err := b.ReadString('\n'); line != "1\n" || err != nil {
		t.Fatalf("%q, %v", line, err)
	}
}
