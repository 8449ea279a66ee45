// Package ortlib knows the shared library of ONNX Runtime as a file: where such libraries lie on a
// machine, whether a file is one that this machine can load, and how to install one in the user's
// cache. It is plain Go and loads nothing, so that it works, and can give advice, in programs built
// without cgo. Package ort loads and runs what this package finds.
package ortlib

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// Env names the environment variable with the path of the library.
const Env = "XPIPE_ORT_LIB"

// MinVersion is the oldest release that can be used: C API 24 came with it.
const MinVersion = "1.24"

// ErrLibrary is wrapped by every error of this package: a library that is missing, damaged, made
// for another machine or too old; a download that is not the file asked for.
var ErrLibrary = errors.New("ONNX Runtime library")

func errorf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrLibrary}, args...)...)
}

// Library is one found on this machine.
type Library struct {
	Path    string `json:"path"`
	Version string `json:"version"` // such as "1.24.4"; "" where the file does not tell
	Found   string `json:"found"`   // how it was found, for people
}

// String describes the library, and how it was found, in one line.
func (l Library) String() string {
	version := l.Version
	if version == "" {
		version = "of unknown version"
	}
	return fmt.Sprintf("ONNX Runtime %s at %s (%s)", version, l.Path, l.Found)
}

// CheckVersion reports a version older than MinVersion; "" passes, since the library itself is
// asked once it is loaded.
func CheckVersion(version string) error {
	if err := checkVersion(version); err != nil {
		return errorf("%w", err)
	}
	return nil
}

func checkVersion(version string) error {
	if version == "" || CompareVersions(version, MinVersion) >= 0 {
		return nil
	}
	return problem("is version " + version + ", too old: xpipe needs " + MinVersion + " or newer")
}

// CompareVersions orders versions by their numbers: negative where a is older, positive where it is
// newer. Text after the numbers is ignored.
func CompareVersions(a, b string) int {
	x, y := versionNumbers(a), versionNumbers(b)
	for i := range max(len(x), len(y)) {
		var p, q int
		if i < len(x) {
			p = x[i]
		}
		if i < len(y) {
			q = y[i]
		}
		if p != q {
			return p - q
		}
	}
	return 0
}

func versionNumbers(version string) []int {
	var numbers []int
	for part := range strings.SplitSeq(version, ".") {
		digits := len(part) - len(strings.TrimLeft(part, "0123456789"))
		n, err := strconv.Atoi(part[:digits])
		if err != nil {
			break
		}
		numbers = append(numbers, n)
		if digits < len(part) {
			break
		}
	}
	return numbers
}
