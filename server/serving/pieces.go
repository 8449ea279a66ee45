package serving

import (
	"strings"
	"unicode"
)

// Pieces gives a text out as its tokens come, as chat clients want it: it ends before the first of some
// strings, and has no white space around it. The pieces joined are that text.
type Pieces struct {
	Stops []string // none is empty

	held  string // what may begin a stop string, or be white space at the end
	begun bool
}

// Push takes the text of the next token, and returns what can be given out. stopped says that a stop
// string came; there is nothing to push then.
func (p *Pieces) Push(text string) (out string, stopped bool) {
	p.held += text
	if !p.begun {
		p.held = strings.TrimLeftFunc(p.held, unicode.IsSpace)
		p.begun = p.held != ""
	}
	end := -1
	for _, stop := range p.Stops {
		if at := strings.Index(p.held, stop); at >= 0 && (end < 0 || at < end) {
			end = at
		}
	}
	if end >= 0 {
		out = strings.TrimRightFunc(p.held[:end], unicode.IsSpace)
		p.held = ""
		return out, true
	}
	out = p.held[:len(p.held)-Begun(p.held, p.Stops)]
	out = strings.TrimRightFunc(out, unicode.IsSpace)
	p.held = p.held[len(out):]
	return out, false
}

// Begun returns how many bytes at the end of a text may be the beginning of one of some marks.
func Begun(text string, marks []string) (longest int) {
	for _, mark := range marks {
		for n := min(len(mark)-1, len(text)); n > longest; n-- {
			if strings.HasSuffix(text, mark[:n]) {
				longest = n
			}
		}
	}
	return longest
}

// End returns what was held back, for a text that no stop string ended.
func (p *Pieces) End() string {
	out := strings.TrimRightFunc(p.held, unicode.IsSpace)
	p.held = ""
	return out
}
