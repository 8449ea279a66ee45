package jinja

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

type tokenKind int

const (
	tokenEnd      tokenKind = iota
	tokenText               // outside of tags
	tokenOpen               // {% and {{
	tokenClose              // %} and }}
	tokenName               // and the keywords
	tokenString             // its value
	tokenInt                //
	tokenFloat              //
	tokenOperator           //
)

type token struct {
	kind tokenKind
	text string
	line int
}

// lexer splits a template. Text is trimmed as Jinja's lexer does with trim_blocks and
// lstrip_blocks.
type lexer struct {
	source string
	at     int
	tokens []token
	// counted lines up to a place; places only grow
	counted, lines int
}

func lex(source string) ([]token, error) {
	l := &lexer{source: source, lines: 1}
	startsLine := true // whether what comes next begins a line
	for l.at < len(source) {
		next := strings.Index(source[l.at:], "{")
		for next >= 0 && !l.isTag(l.at+next) {
			more := strings.Index(source[l.at+next+1:], "{")
			if more < 0 {
				next = -1
				break
			}
			next += 1 + more
		}
		if next < 0 {
			l.text(source[l.at:])
			l.at = len(source)
			break
		}
		text, tag := source[l.at:l.at+next], l.at+next
		kind := source[tag+1]
		sign := byte(0)
		if tag+2 < len(source) {
			sign = source[tag+2]
		}
		if sign == '-' {
			l.text(strings.TrimRightFunc(text, unicode.IsSpace))
		} else if kind != '{' && sign != '+' {
			l.text(stripLine(text, startsLine))
		} else {
			l.text(text)
		}
		l.at = tag + 2
		if sign == '-' || sign == '+' && kind != '{' {
			l.at++
		}
		var err error
		switch kind {
		case '#':
			err = l.comment()
		case '{':
			err = l.tag("}}")
		default:
			if raw, ok := l.raw(); ok {
				startsLine = raw
				continue
			}
			err = l.tag("%}")
		}
		if err != nil {
			return nil, err
		}
		startsLine = l.at > 0 && source[l.at-1] == '\n'
	}
	return append(l.tokens, token{tokenEnd, "the end of the template", l.line()}), nil
}

// line returns the number of the line that the lexer has come to.
func (l *lexer) line() int {
	l.lines += strings.Count(l.source[l.counted:l.at], "\n")
	l.counted = l.at
	return l.lines
}

func (l *lexer) isTag(at int) bool {
	return at+1 < len(l.source) && strings.IndexByte("{%#", l.source[at+1]) >= 0
}

// text adds text outside of tags.
func (l *lexer) text(text string) {
	if text != "" {
		l.tokens = append(l.tokens, token{tokenText, text, l.line()})
	}
}

// stripLine drops blanks between the beginning of a line and a tag behind them.
func stripLine(text string, startsLine bool) string {
	at := strings.LastIndexByte(text, '\n') + 1
	if at == 0 && !startsLine || strings.TrimSpace(text[at:]) != "" {
		return text
	}
	return text[:at]
}

// skipBehind skips what the end of a tag swallows: all white space behind "-", one newline behind a
// block or comment.
func (l *lexer) skipBehind(minus, plus, block bool) {
	rest := l.source[l.at:]
	switch {
	case minus:
		l.at += len(rest) - len(strings.TrimLeftFunc(rest, unicode.IsSpace))
	case block && !plus && strings.HasPrefix(rest, "\n"):
		l.at++
	}
}

func (l *lexer) comment() error {
	end := strings.Index(l.source[l.at:], "#}")
	if end < 0 {
		return errorf("line %d: a comment has no end", l.line)
	}
	inside := l.source[l.at : l.at+end]
	l.at += end + 2
	l.skipBehind(strings.HasSuffix(inside, "-"), strings.HasSuffix(inside, "+"), true)
	return nil
}

// raw takes a whole raw block where one begins.
func (l *lexer) raw() (startsLine, ok bool) {
	rest := strings.TrimLeftFunc(l.source[l.at:], unicode.IsSpace)
	if !strings.HasPrefix(rest, "raw") {
		return false, false
	}
	rest = strings.TrimLeftFunc(rest[3:], unicode.IsSpace)
	minus := strings.HasPrefix(rest, "-%}")
	if !minus && !strings.HasPrefix(rest, "%}") {
		return false, false
	}
	from := len(l.source) - len(rest) + 2
	if minus {
		from++
	}
	for at := from; ; {
		i := strings.Index(l.source[at:], "{%")
		if i < 0 {
			return false, false
		}
		tag := at + i + 2
		inner := strings.TrimLeft(l.source[tag:], "-+")
		end := strings.TrimLeftFunc(inner, unicode.IsSpace)
		if !strings.HasPrefix(end, "endraw") {
			at = tag
			continue
		}
		end = strings.TrimLeftFunc(end[6:], unicode.IsSpace)
		close := strings.Index(end, "%}")
		if close != 0 && close != 1 {
			return false, false
		}
		l.at = from
		l.skipBehind(minus, false, false)
		text := l.source[min(l.at, at+i) : at+i]
		if strings.HasPrefix(l.source[tag:], "-") {
			text = strings.TrimRightFunc(text, unicode.IsSpace)
		} else if !strings.HasPrefix(l.source[tag:], "+") {
			text = stripLine(text, false)
		}
		l.text(text)
		l.at = len(l.source) - len(end) + close + 2
		l.skipBehind(close == 1, false, true)
		return l.source[l.at-1] == '\n', true
	}
}

// operators, longer ones first.
var operators = []string{
	"**", "//", "==", "!=", "<=", ">=", "+", "-", "*", "/", "%", "~", "<", ">", "=", ".", ",", ":", "|",
	"(", ")", "[", "]", "{", "}",
}

// tag splits the inside of a tag, up to its end.
func (l *lexer) tag(end string) error {
	l.tokens = append(l.tokens, token{tokenOpen, map[string]string{"%}": "{%", "}}": "{{"}[end], l.line()})
	depth := 0 // of brackets: }} may close two dicts
	for {
		for l.at < len(l.source) && isSpace(l.source[l.at]) {
			l.at++
		}
		rest := l.source[l.at:]
		if rest == "" {
			return errorf("line %d: a tag has no end %s", l.line(), end)
		}
		if depth == 0 {
			minus, plus := strings.HasPrefix(rest, "-"+end), strings.HasPrefix(rest, "+"+end)
			if minus || plus || strings.HasPrefix(rest, end) {
				if l.at += len(end); minus || plus {
					l.at++
				}
				l.tokens = append(l.tokens, token{tokenClose, end, l.line()})
				l.skipBehind(minus, plus, end == "%}")
				return nil
			}
		}
		c := rest[0]
		switch {
		case c == '"' || c == '\'':
			if err := l.quoted(c); err != nil {
				return err
			}
		case c >= '0' && c <= '9':
			l.number()
		case isLetter(rest):
			n := 0
			for n < len(rest) && (isLetter(rest[n:]) || rest[n] >= '0' && rest[n] <= '9') {
				_, size := utf8.DecodeRuneInString(rest[n:])
				n += size
			}
			l.take(tokenName, n)
		default:
			found := ""
			for _, op := range operators {
				if strings.HasPrefix(rest, op) {
					found = op
					break
				}
			}
			switch found {
			case "":
				return errorf("line %d: what is %q?", l.line(), rest[:1])
			case "(", "[", "{":
				depth++
			case ")", "]", "}":
				depth--
			}
			l.take(tokenOperator, len(found))
		}
	}
}

func (l *lexer) take(kind tokenKind, n int) {
	l.tokens = append(l.tokens, token{kind, l.source[l.at : l.at+n], l.line()})
	l.at += n
}

func isSpace(c byte) bool {
	return c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\f' || c == '\v'
}

func isLetter(s string) bool {
	r, _ := utf8.DecodeRuneInString(s)
	return r == '_' || unicode.IsLetter(r)
}

func (l *lexer) number() {
	rest := l.source[l.at:]
	digits := func(from int) int {
		for from < len(rest) && (rest[from] >= '0' && rest[from] <= '9' || rest[from] == '_') {
			from++
		}
		return from
	}
	n, kind := digits(0), tokenInt
	if n+1 < len(rest) && rest[n] == '.' && rest[n+1] >= '0' && rest[n+1] <= '9' {
		n, kind = digits(n+1), tokenFloat
	}
	if n < len(rest) && (rest[n] == 'e' || rest[n] == 'E') {
		from := n + 1
		if from < len(rest) && (rest[from] == '+' || rest[from] == '-') {
			from++
		}
		if to := digits(from); to > from {
			n, kind = to, tokenFloat
		}
	}
	l.take(kind, n)
}

// quoted reads a string with Python's escapes.
func (l *lexer) quoted(quote byte) error {
	line := l.line()
	var b strings.Builder
	for i := l.at + 1; i < len(l.source); i++ {
		c := l.source[i]
		switch {
		case c == quote:
			l.tokens = append(l.tokens, token{tokenString, b.String(), line})
			l.at = i + 1
			return nil
		case c != '\\' || i+1 == len(l.source):
			b.WriteByte(c)
		default:
			i++
			i += escape(&b, l.source[i:])
		}
	}
	return errorf("line %d: a string has no end", line)
}

// escape writes what stands behind a backslash, and returns how many bytes beyond the first it
// took.
func escape(b *strings.Builder, s string) int {
	simple := map[byte]byte{
		'n': '\n', 't': '\t', 'r': '\r', '\\': '\\', '\'': '\'', '"': '"', 'b': '\b', 'f': '\f',
		'a': '\a', 'v': '\v', '0': 0,
	}
	if n := map[byte]int{'x': 2, 'u': 4, 'U': 8}[s[0]]; n > 0 && len(s) > n {
		if v, err := strconv.ParseUint(s[1:1+n], 16, 32); err == nil && v <= unicode.MaxRune {
			b.WriteRune(rune(v))
			return n
		}
	}
	switch c, ok := simple[s[0]]; {
	case ok:
		b.WriteByte(c)
	case s[0] == '\n': // goes on on the next line
	default:
		b.WriteByte('\\')
		b.WriteByte(s[0])
	}
	return 0
}
