package api

import (
	"encoding/json"
	"io"

	"github.com/crossattn/xpipe/internal/bom"
)

// WriteJSON writes v as one line. Characters such as < stay as they are.
func WriteJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// EachLine decodes JSON lines, such as Questions or Examples, and gives them to take in order. It
// ends at the first error, whose kind is KindInput and which says the line; name is what it calls
// r. A byte order mark in front is not part of the first line.
func EachLine[T any](r io.Reader, name string, take func(T) error) error {
	in, err := bom.NewReader(r)
	if err != nil {
		return Inputf("%s: %w", name, err)
	}
	lines := json.NewDecoder(in)
	for n := 1; ; n++ {
		var v T
		err := lines.Decode(&v)
		if err == io.EOF {
			return nil
		}
		if err == nil {
			err = take(v)
		}
		if err != nil {
			return Inputf("%s: line %d: %w", name, n, err)
		}
	}
}
