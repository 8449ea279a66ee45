package tokenize

import "github.com/crossattn/xpipe/tokenize/internal/unidata"

func buildPrecompiled(o *object) (normalizer, error) {
	return nil, refuse("%s: Precompiled is not supported yet", o.path)
}

type knownPattern struct {
	total bool
	scan  func(s string, i int) int
}

func (k *knownPattern) find(s string) []match { panic("unreachable") }

func compilePattern(p string) (finder, error) {
	return nil, refuse("pattern %q not supported yet", p)
}

func isPunctuation(r rune) bool { return unidata.Is(r, unidata.Punct) }
func isNumeric(r rune) bool     { return unidata.Is(r, unidata.Numeric) }
