package tokenize

import (
	"encoding/json"
	"math"
	"strings"
)

// jsonText reads a text that is known to be JSON: the members of objects, and the long lists of
// tokenizer files, several times as fast as encoding/json. Its methods return false where the text
// holds something else; encoding/json then reads it, or says what is wrong.
type jsonText struct {
	text string
	at   int
}

// next skips white space and the byte b, where that comes next.
func (s *jsonText) next(b byte) bool {
	for s.at < len(s.text) {
		switch c := s.text[s.at]; c {
		case ' ', '\t', '\n', '\r':
			s.at++
			continue
		case b:
			s.at++
			return true
		}
		return false
	}
	return false
}

// skipString goes behind a string whose first quote is behind it, and reports whether the string
// has escapes.
func (s *jsonText) skipString() (escapes bool) {
	for s.at < len(s.text) {
		n := strings.IndexByte(s.text[s.at:], '"')
		if n < 0 {
			break
		}
		n += s.at
		escape := strings.IndexByte(s.text[s.at:n], '\\')
		if escape < 0 {
			s.at = n + 1
			return escapes
		}
		escapes = true
		s.at += escape + 2 // behind the escape, which may be of a quote
	}
	s.at = len(s.text)
	return escapes
}

// str reads a string.
func (s *jsonText) str() (text string, ok bool) {
	if !s.next('"') {
		return "", false
	}
	start := s.at
	if !s.skipString() {
		return s.text[start:max(start, s.at-1)], true
	}
	err := json.Unmarshal([]byte(s.text[start-1:s.at]), &text)
	return text, err == nil
}

// id reads a number of digits alone, up to 2^31-1.
func (s *jsonText) id() (int32, bool) {
	s.next(0) // skips white space
	n, start := int64(0), s.at
	for ; s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9'; s.at++ {
		if n = 10*n + int64(s.text[s.at]-'0'); n > math.MaxInt32 {
			return 0, false
		}
	}
	return int32(n), s.at > start
}

// value goes behind a value of any kind and returns its text.
func (s *jsonText) value() string {
	s.next(0) // skips white space
	start, depth := s.at, 0
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case '"':
			s.at++
			s.skipString()
			if depth == 0 {
				return s.text[start:s.at]
			}
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // of the list around a number or a word
				return s.text[start:s.at]
			}
			if depth--; depth == 0 {
				s.at++
				return s.text[start:s.at]
			}
		case ',', ' ', '\t', '\n', '\r':
			if depth == 0 {
				return s.text[start:s.at]
			}
		}
		s.at++
	}
	return s.text[start:]
}

// list has item read each item of a list, or of an object, until its end.
func (s *jsonText) list(open, end byte, item func() bool) bool {
	if !s.next(open) {
		return false
	}
	if s.next(end) {
		return true
	}
	for item() {
		if s.next(end) {
			return true
		}
		if !s.next(',') {
			return false
		}
	}
	return false
}

// members reads an object. Of two members of one name it keeps the last.
func (s *jsonText) members() (fields map[string]json.RawMessage, ok bool) {
	fields = map[string]json.RawMessage{}
	ok = s.list('{', '}', func() bool {
		name, ok := s.str()
		if !ok || !s.next(':') {
			return false
		}
		fields[name] = json.RawMessage(s.value())
		return true
	})
	return fields, ok
}

// ids reads an object from token to id, and adds up the bytes of the tokens.
func (s *jsonText) ids() (ids map[string]int32, size int, ok bool) {
	// A member has at least six bytes, whatever tokens there are.
	ids = make(map[string]int32, min(strings.Count(s.text, `":`), len(s.text)/6))
	ok = s.list('{', '}', func() bool {
		token, ok := s.str()
		if !ok || !s.next(':') {
			return false
		}
		id, ok := s.id()
		before := len(ids)
		ids[token] = id
		if len(ids) > before {
			size += len(token)
		}
		return ok
	})
	return ids, size, ok
}

// strings reads a list of strings.
func (s *jsonText) strings() (list []string, ok bool) {
	ok = s.list('[', ']', func() bool {
		text, ok := s.str()
		list = append(list, text)
		return ok
	})
	return list, ok
}

// pairs reads a list of lists of two strings.
func (s *jsonText) pairs() (list [][2]string, ok bool) {
	ok = s.list('[', ']', func() bool {
		left, ok1 := "", s.next('[')
		if ok1 {
			left, ok1 = s.str()
		}
		ok1 = ok1 && s.next(',')
		right, ok2 := s.str()
		list = append(list, [2]string{left, right})
		return ok1 && ok2 && s.next(']')
	})
	return list, ok
}

// piece is a token of a Unigram model and its score, as it is written.
type piece struct{ token, score string }

// pieces reads a list of lists of a string and any other value.
func (s *jsonText) pieces() (list []piece, ok bool) {
	ok = s.list('[', ']', func() bool {
		var p piece
		ok := s.next('[')
		if ok {
			p.token, ok = s.str()
		}
		if ok = ok && s.next(','); ok {
			p.score = s.value()
		}
		list = append(list, p)
		return ok && s.next(']')
	})
	return list, ok
}
