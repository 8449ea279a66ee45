package tokenize

import ()

// knownPattern is a pattern written out as a scanner: scan returns where the match that starts at i
// ends, or i where none does.
type knownPattern struct {
	scan  func(s string, i int) int
	total bool // it matches at every position
}

func (k *knownPattern) find(s string) ([]match, error) {
	var out []match
	for at := 0; at < len(s); {
		end := k.scan(s, at)
		if end == at {
			at += runeLen(s[at:])
			continue
		}
		out = append(out, match{at, end})
		at = end
	}
	return out, nil
}

// compilePattern returns a finder for an Oniguruma pattern: a scanner for the well-known ones, the
// general engine for others.
func compilePattern(src string) (finder, error) {
	if k, ok := knownPatterns[src]; ok {
		return k, nil
	}
	return compileRegex(src)
}

const (
	patternGPT2  = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	patternGPT2b = `'(?:[sdmt]|ll|ve|re)| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
	patternQwen  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternLlama = `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patternCLIP  = `'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+`
	patternSpace = `\s+`
)

var knownPatterns = map[string]*knownPattern{
	patternGPT2:  {scanGPT2, true},
	patternGPT2b: {scanGPT2, true},
	patternQwen:  {func(s string, i int) int { return scanLlama3(s, i, 1) }, true},
	patternLlama: {func(s string, i int) int { return scanLlama3(s, i, 3) }, true},
	patternCLIP:  {scanCLIP, false},
	patternSpace: {func(s string, i int) int { return runEnd(s, i, kindSpace) }, false},
}

// scanLlama3 is the pattern of Llama 3 and, with one digit at a time, of Qwen 2 and 3 (see
// patternLlama).
func scanLlama3(s string, i, digits int) int {
	if s[i] == '\'' {
		if n := contractionFold(s[i+1:]); n > 0 {
			return i + 1 + n
		}
	}
	kind, n := kindAt(s, i)
	// [^\r\n\p{L}\p{N}]?\p{L}+
	if kind == kindLetter {
		return runEnd(s, i+n, kindLetter)
	}
	if kind != kindNumber && s[i] != '\r' && s[i] != '\n' {
		if k, m := kindAt(s, i+n); m > 0 && k == kindLetter {
			return runEnd(s, i+n+m, kindLetter)
		}
	}
	// \p{N}{1,digits}
	if kind == kindNumber {
		end := i + n
		for count := 1; count < digits; count++ {
			k, m := kindAt(s, end)
			if m == 0 || k != kindNumber {
				break
			}
			end += m
		}
		return end
	}
	//  ?[^\s\p{L}\p{N}]+[\r\n]*
	start := -1
	if kind == kindOther {
		start = i
	} else if s[i] == ' ' {
		if k, m := kindAt(s, i+1); m > 0 && k == kindOther {
			start = i + 1
		}
	}
	if start >= 0 {
		end := runEnd(s, start, kindOther)
		for end < len(s) && (s[end] == '\r' || s[end] == '\n') {
			end++
		}
		return end
	}
	// \s*[\r\n]+ takes the run of white space up to its last line break.
	end := runEnd(s, i, kindSpace)
	for k := end; k > i; k-- {
		if c := s[k-1]; c == '\r' || c == '\n' {
			return k
		}
	}
	return spaceEnd(s, i)
}

// contractionFold is contraction ignoring case: ſ (U+017F) is an s then.
func contractionFold(s string) int {
	if len(s) == 0 {
		return 0
	}
	switch s[0] | 0x20 {
	case 's', 't', 'm', 'd':
		return 1
	}
	if len(s) > 1 {
		switch string([]byte{s[0] | 0x20, s[1] | 0x20}) {
		case "re", "ve", "ll":
			return 2
		}
		if s[0] == 0xC5 && s[1] == 0xBF {
			return 2
		}
	}
	return 0
}

// scanCLIP is CLIP's pattern (see patternCLIP); white space matches nothing.
func scanCLIP(s string, i int) int {
	if s[i] == '\'' {
		if n := contraction(s[i+1:]); n > 0 {
			return i + 1 + n
		}
	}
	switch kind, n := kindAt(s, i); kind {
	case kindSpace:
		return i
	case kindNumber:
		return i + n
	default:
		return runEnd(s, i+n, kind)
	}
}
