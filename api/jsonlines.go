package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"unicode/utf8"
)

// WriteJSON writes v as one line, in one piece. Characters such as < stay as they are; those that a
// terminal would act on are escaped, beyond ASCII, too.
func WriteJSON(w io.Writer, v any) error {
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	data := line.Bytes()
	act := func(r rune) bool { return r >= 0x7f && unseen(r) } // json escapes those of ASCII
	if bytes.ContainsFunc(data, act) {
		var escaped []byte
		for _, r := range string(data) { // json writes valid UTF-8, and such runes in strings alone
			if act(r) {
				escaped = fmt.Appendf(escaped, `\u%04x`, r)
			} else {
				escaped = utf8.AppendRune(escaped, r)
			}
		}
		data = escaped
	}
	_, err := w.Write(data)
	return err
}

// EachLine decodes JSON lines, such as Questions or Examples, and gives them to take in order. It
// ends at the first error, whose kind is KindInput and which says the line; name is what it calls
// r. A byte order mark in front is passed over, and UTF-16 behind one is read.
func EachLine[T any](r io.Reader, name string, take func(T) error) error {
	in := textReader(r)
	start, _ := in.Peek(sniffed)
	if contentOf(start) != contentText {
		return Inputf("%s: it is no text; it should have lines of JSON like %s", name, example[T]())
	}
	if bytes.HasPrefix(bytes.TrimLeft(start, " \t\r\n"), []byte("[")) {
		return Inputf("%s: line 1: it is a JSON array; it should have one object a line, like %s, "+
			"without brackets around and commas between (jq -c '.[]' makes them)",
			name, example[T]())
	}
	text := &lineCounter{r: in}
	lines := json.NewDecoder(text)
	for {
		var v T
		err := lines.Decode(&v)
		if err == io.EOF {
			return nil
		}
		at := lines.InputOffset()
		if err == nil {
			err = take(v)
		} else {
			if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
				at = syntax.Offset
			} else if errors.Is(err, io.ErrUnexpectedEOF) {
				at = text.offset
			}
			err = explain(err, example[T]())
		}
		if err != nil {
			return Inputf("%s: line %d: %w", name, text.line(at), err)
		}
		text.forget(at)
	}
}

// example is a line of JSON with the keys of T.
func example[T any]() string {
	var zero T
	line, _ := json.Marshal(zero) // types of lines can be encoded
	return string(line)
}

// explain says in the words of who wrote the file why a line of it is not like the example.
func explain(err error, example string) error {
	wrong, isType := errors.AsType[*json.UnmarshalTypeError](err)
	_, isSyntax := errors.AsType[*json.SyntaxError](err)
	switch {
	case isType && wrong.Field == "":
		return fmt.Errorf("it is %s, not an object like %s", article(wrong.Value), example)
	case isType:
		want := "of another type"
		if wrong.Type.Kind() == reflect.String {
			want = "text in quotation marks"
		}
		return fmt.Errorf("%q is %s and should be %s", wrong.Field, article(wrong.Value), want)
	case isSyntax:
		return fmt.Errorf("it is no JSON object like %s (%w)", example, err)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("the file ends in the middle of an object")
	}
	return err
}

func article(value string) string {
	kind, _, _ := strings.Cut(value, " ") // of "number 12"
	switch {
	case kind == "":
		return "something else"
	case strings.ContainsRune("aeiou", rune(kind[0])):
		return "an " + kind
	}
	return "a " + kind
}

// lineCounter notes where the lines of what is read end.
type lineCounter struct {
	r      io.Reader
	offset int64
	before int // lines that end before those in ends
	ends   []int64
}

func (c *lineCounter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	for i, b := range p[:n] {
		if b == '\n' {
			c.ends = append(c.ends, c.offset+int64(i))
		}
	}
	c.offset += int64(n)
	return n, err
}

// line is the number, from 1, of the line of the byte in front of an offset.
func (c *lineCounter) line(offset int64) int {
	n := c.before + 1
	for _, end := range c.ends {
		if end < offset-1 {
			n++
		}
	}
	return n
}

// forget keeps the number alone of the lines that end before an offset.
func (c *lineCounter) forget(offset int64) {
	n := 0
	for n < len(c.ends) && c.ends[n] < offset-1 {
		n++
	}
	c.before += n
	c.ends = c.ends[n:]
}
