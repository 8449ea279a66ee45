package api

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Expand is the paths that arguments stand for where no shell has expanded them, as none does on
// Windows: those with {a,b} and {000..999} in them, and patterns with * ? [ ] and **. A path at
// which there is something, one that is no pattern, and "-" stand for themselves. A pattern that
// nothing matches is an error of the kind KindInput.
func Expand(args ...string) ([]string, error) {
	return search{kind: pictureFiles}.expand(args...)
}

func (s search) expand(args ...string) ([]string, error) {
	exists := func(path string) bool {
		_, err := os.Lstat(path)
		return err == nil
	}
	var paths []string
	for _, arg := range args {
		if arg == stdinName || exists(arg) {
			paths = append(paths, arg)
			continue
		}
		if err := s.kind.checkAddress(arg); err != nil {
			return nil, err
		}
		names, err := expandBraces(arg)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if !strings.ContainsAny(name, "*?[") || exists(name) {
				paths = append(paths, name)
				continue
			}
			matches, err := s.glob(name)
			if err != nil {
				return nil, Usagef("pattern %q: %w", name, err)
			}
			if len(matches) == 0 {
				return nil, Inputf("no file matches %q", name)
			}
			paths = append(paths, matches...)
		}
	}
	return paths, nil
}

// mostNames bounds what a pattern with braces stands for.
const mostNames = 1 << 20

// expandBraces expands {a,b}, {000..999} and {a..e..2} as bash does, the last braces fastest.
// Braces that are none of these stand for themselves. The error has the kind KindUsage.
func expandBraces(pattern string) ([]string, error) {
	names, ok := braces(pattern)
	if !ok {
		return nil, Usagef("pattern %q stands for more than %d names", pattern, mostNames)
	}
	return names, nil
}

// braces returns false where there are too many names.
func braces(pattern string) ([]string, bool) {
	for open := 0; open < len(pattern); open++ {
		if pattern[open] != '{' {
			continue
		}
		shut, commas := matching(pattern, open)
		if shut < 0 {
			continue // it stands for itself
		}
		var choices []string
		ok := true
		if inside := pattern[open+1 : shut]; len(commas) > 0 {
			from := open + 1
			for _, to := range append(commas, shut) {
				more, fits := braces(pattern[from:to])
				choices, ok = append(choices, more...), ok && fits
				from = to + 1
			}
		} else if choices, ok = sequence(inside); choices == nil && ok {
			continue
		}
		rest, fits := braces(pattern[shut+1:])
		if !ok || !fits || len(choices)*len(rest) > mostNames {
			return nil, false
		}
		names := make([]string, 0, len(choices)*len(rest))
		for _, c := range choices {
			for _, r := range rest {
				names = append(names, pattern[:open]+c+r)
			}
		}
		return names, true
	}
	return []string{pattern}, true
}

// matching finds the brace that shuts the one at open, below 0 where there is none, and the commas
// between them that are in no other braces.
func matching(pattern string, open int) (shut int, commas []int) {
	depth := 0
	for i := open; i < len(pattern); i++ {
		switch pattern[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				return i, commas
			}
		case ',':
			if depth == 1 {
				commas = append(commas, i)
			}
		}
	}
	return -1, nil
}

// sequence expands 000..999, 9..0..3 and a..e; nil and true where it is none of these, and false
// where there are too many names.
func sequence(inside string) ([]string, bool) {
	parts := strings.Split(inside, "..")
	if len(parts) < 2 || len(parts) > 3 {
		return nil, true
	}
	step := 1
	if len(parts) == 3 {
		n, err := strconv.Atoi(parts[2])
		if err != nil || n == math.MinInt {
			return nil, true
		}
		step = max(1, n, -n)
	}
	letter := func(s string) bool {
		return len(s) == 1 && (s[0] >= 'a' && s[0] <= 'z' || s[0] >= 'A' && s[0] <= 'Z')
	}
	var first, last int
	var write func(n int) string
	if letter(parts[0]) && letter(parts[1]) {
		first, last = int(parts[0][0]), int(parts[1][0])
		write = func(n int) string { return string(rune(n)) }
	} else {
		var errs [2]error
		first, errs[0] = strconv.Atoi(parts[0])
		last, errs[1] = strconv.Atoi(parts[1])
		if errs[0] != nil || errs[1] != nil {
			return nil, true
		}
		width := 0
		if padded(parts[0]) || padded(parts[1]) {
			width = max(len(parts[0]), len(parts[1]))
		}
		write = func(n int) string { return fmt.Sprintf("%0*d", width, n) }
	}
	apart := uint64(max(first, last)) - uint64(min(first, last))
	if apart/uint64(step) >= mostNames {
		return nil, false
	}
	if last < first {
		step = -step
	}
	var names []string
	for range apart/uint64(max(step, -step)) + 1 {
		names = append(names, write(first))
		first += step
	}
	return names, true
}

// padded says whether a number is written with zeros in front, so that all are.
func padded(number string) bool {
	digits := strings.TrimLeft(number, "+-")
	return len(digits) > 1 && digits[0] == '0'
}

// glob lists the paths that match a pattern: as filepath.Glob does, with "**" for any number of
// folders, none included, and without what macOS puts beside files.
func (s search) glob(pattern string) ([]string, error) {
	var paths []string
	var err error
	if slices.Contains(splitPath(pattern), "**") {
		paths, err = s.below(pattern)
	} else {
		paths, err = filepath.Glob(pattern)
	}
	if strings.HasPrefix(filepath.Base(pattern), ".") {
		return paths, err
	}
	return slices.DeleteFunc(paths, isResourceFork), err
}

// splitPath splits a path at its separators.
func splitPath(path string) []string { return strings.FieldsFunc(path, isSeparator) }

// below matches every file below the folder in front of the first wildcard. Of what "**" at the
// end of a pattern stands for, those of the kind by their names are meant.
func (s search) below(pattern string) ([]string, error) {
	root := filepath.VolumeName(pattern)
	rest := pattern[len(root):]
	if rest != "" && os.IsPathSeparator(rest[0]) {
		root += string(filepath.Separator)
	}
	parts := splitPath(rest)
	for _, part := range parts {
		if _, err := filepath.Match(part, ""); err != nil {
			return nil, err
		}
	}
	n := slices.IndexFunc(parts, func(p string) bool { return strings.ContainsAny(p, "*?[") })
	from := filepath.Clean(root + filepath.Join(parts[:n]...))
	if _, err := os.Stat(from); err != nil {
		return nil, nil
	}
	wild := parts[n:]
	all := wild[len(wild)-1] == "**"
	var paths []string
	err := walk(from, s, func(path string, _ bool) {
		below := strings.TrimPrefix(path, from) // from "." there is nothing in front
		switch {
		case !matchParts(wild, splitPath(below)):
		case all && !s.kind.has(path):
			s.pass(path)
		default:
			paths = append(paths, path)
		}
	})
	return paths, err
}

// matchParts matches the parts of a path with those of a pattern.
func matchParts(pattern, path []string) bool {
	switch {
	case len(pattern) == 0:
		return len(path) == 0
	case pattern[0] == "**":
		return matchParts(pattern[1:], path) || len(path) > 0 && matchParts(pattern, path[1:])
	case len(path) == 0:
		return false
	}
	ok, _ := filepath.Match(pattern[0], path[0]) // patterns are checked before
	return ok && matchParts(pattern[1:], path[1:])
}
