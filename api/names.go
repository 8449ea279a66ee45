package api

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Name is the name of a file where JSON holds it. JSON has Unicode text alone, while a file's name
// on Unix is any bytes. A name that is UTF-8 stays as it is. In another one, each byte that is not
// UTF-8 becomes U+FFFD, the replacement character, and the byte as two lower-case hexadecimal
// digits: "caf\xe9.png" is written "caf\ufffde9.png". So names stay distinct and can be read back:
// in Python
//
//	re.sub(rb"\xef\xbf\xbd([0-9a-f]{2})", lambda m: bytes.fromhex(m[1].decode()), name.encode())
//
// A U+FFFD of the name itself is written so, too, where two such digits follow it.
type Name string

const replacement = string(utf8.RuneError)

// MarshalText writes the name as UTF-8.
func (n Name) MarshalText() ([]byte, error) {
	s := string(n)
	if utf8.ValidString(s) && !strings.Contains(s, replacement) {
		return []byte(s), nil
	}
	var b []byte
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && (size == 1 || startsWithHex(s[size:])) {
			for _, c := range []byte(s[:size]) {
				b = fmt.Appendf(b, "%s%02x", replacement, c)
			}
		} else {
			b = append(b, s[:size]...)
		}
		s = s[size:]
	}
	return b, nil
}

// UnmarshalText reads what MarshalText writes, and any other text as it is.
func (n *Name) UnmarshalText(text []byte) error {
	var b strings.Builder
	rest := string(text)
	for {
		before, after, found := strings.Cut(rest, replacement)
		b.WriteString(before)
		if !found {
			break
		}
		if startsWithHex(after) {
			b.WriteByte(hexDigit(after[0])<<4 | hexDigit(after[1]))
			after = after[2:]
		} else {
			b.WriteString(replacement)
		}
		rest = after
	}
	*n = Name(b.String())
	return nil
}

// startsWithHex says whether s begins with the two digits of an escaped byte.
func startsWithHex(s string) bool {
	return len(s) >= 2 && hexDigit(s[0]) < 16 && hexDigit(s[1]) < 16
}

// hexDigit is the value of a lower-case hexadecimal digit, and 16 for any other byte.
func hexDigit(c byte) byte {
	switch {
	case c >= '0' && c <= '9':
		return c - '0'
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10
	}
	return 16
}

// Visible is a text, such as the name of a file, as it may be shown on a terminal: what would move
// the cursor, change colours or turn the direction of writing is escaped as Go and C do, like \x1b
// and \n, and so is each byte that is not UTF-8.
func Visible(s string) string { return escape(s, unseen) }

// Printable is Visible for what a model wrote, which may have lines and tabs.
func Printable(s string) string {
	return escape(s, func(r rune) bool { return unseen(r) && r != '\n' && r != '\t' })
}

// escape escapes what is unseen, and bytes that are not UTF-8.
func escape(s string, unseen func(rune) bool) string {
	if utf8.ValidString(s) && !strings.ContainsFunc(s, unseen) {
		return s
	}
	var b strings.Builder
	for len(s) > 0 {
		r, size := utf8.DecodeRuneInString(s)
		switch {
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, s[0])
		case unseen(r):
			quoted := fmt.Sprintf("%+q", s[:size])
			b.WriteString(quoted[1 : len(quoted)-1])
		default:
			b.WriteString(s[:size])
		}
		s = s[size:]
	}
	return b.String()
}

// unseen are the control characters, and those that end lines or turn the direction of text.
func unseen(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029' ||
		r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069'
}

// spellings tells names of one picture from names of two: a path may be written relative to the
// folder where the program runs, absolutely, and with "." and "//" in it.
type spellings struct {
	dir  string // where the program runs, as the shell calls it
	real string // the same without links
}

func newSpellings() spellings {
	dir, err := os.Getwd()
	if err != nil { // the folder is gone: names are compared as they are
		return spellings{}
	}
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		real = dir
	}
	return spellings{dir, real}
}

// key is the same for all spellings of one name.
func (s spellings) key(name string) string {
	if name == stdinName {
		return name
	}
	if !filepath.IsAbs(name) {
		name = s.dir + string(filepath.Separator) + name
	}
	volume := filepath.VolumeName(name)
	parts := strings.FieldsFunc(name[len(volume):], isSeparator)
	parts = slices.DeleteFunc(parts, func(p string) bool { return p == "." })
	join := func(parts []string) string {
		return volume + string(filepath.Separator) +
			strings.Join(parts, string(filepath.Separator))
	}
	path := join(parts)
	// "a/.." is not "." where a is a link, nor where it is a shard.
	if up := lastIndex(parts, ".."); up >= 0 {
		if real, err := filepath.EvalSymlinks(join(parts[:up+1])); err == nil {
			path = filepath.Join(append([]string{real}, parts[up+1:]...)...)
		}
	}
	if below, found := strings.CutPrefix(path, s.real+string(filepath.Separator)); found {
		path = s.dir + string(filepath.Separator) + below
	}
	return path
}

func isSeparator(r rune) bool { return r < utf8.RuneSelf && os.IsPathSeparator(uint8(r)) }

func lastIndex(list []string, what string) int {
	for i := len(list) - 1; i >= 0; i-- {
		if list[i] == what {
			return i
		}
	}
	return -1
}
