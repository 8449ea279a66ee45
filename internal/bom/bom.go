// Package bom takes the byte order mark away that PowerShell and Notepad put in front of UTF-8
// text, and tells text of other encodings, which nothing here reads.
package bom

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// ErrEncoding says what to do about text in another encoding.
var ErrEncoding = errors.New("the text is in UTF-16 or UTF-32; save it as UTF-8")

var mark = []byte("\xEF\xBB\xBF")

// Strip returns text without a byte order mark in front. Its error is ErrEncoding, for a mark of
// another encoding and for the zero bytes that such a text has among its first two characters.
func Strip(text []byte) ([]byte, error) {
	if rest, ok := bytes.CutPrefix(text, mark); ok {
		return rest, nil
	}
	if foreign(text) || bytes.IndexByte(text[:min(2, len(text))], 0) >= 0 {
		return nil, ErrEncoding
	}
	return text, nil
}

// foreign reports the marks of UTF-16 and UTF-32.
func foreign(text []byte) bool {
	return bytes.HasPrefix(text, []byte("\xFF\xFE")) || bytes.HasPrefix(text, []byte("\xFE\xFF")) ||
		bytes.HasPrefix(text, []byte("\x00\x00\xFE\xFF"))
}

// Discard takes a byte order mark at the start of r away. It waits for no more bytes than it needs
// to tell one, so that a program on the other side can wait for answers. Its error is ErrEncoding;
// what r fails with comes with the first read.
func Discard(r *bufio.Reader) error {
	first, err := r.Peek(1)
	if err != nil {
		return nil
	}
	size := map[byte]int{0xEF: len(mark), 0xFE: 2, 0xFF: 2, 0: 4}[first[0]]
	if size == 0 {
		return nil
	}
	start, _ := r.Peek(size)
	switch {
	case bytes.Equal(start, mark):
		r.Discard(len(mark))
	case foreign(start):
		return ErrEncoding
	}
	return nil
}

// NewReader returns a buffered reader of r behind its byte order mark; the error is Discard's.
func NewReader(r io.Reader) (*bufio.Reader, error) {
	b := bufio.NewReader(r)
	return b, Discard(b)
}
