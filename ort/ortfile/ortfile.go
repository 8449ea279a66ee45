// Package ortfile knows the shared library of ONNX Runtime as a file: its names, its version, and
// whether this machine can load it. It reads the files it is given and searches nowhere; package
// ortlib searches. It is plain Go and loads nothing, so that it also works in programs built
// without cgo.
package ortfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// Env names the environment variable with the path of the library.
const Env = "XPIPE_ORT_LIB"

// MinVersion is the oldest release that can be used: C API 24 came with it.
const MinVersion = "1.24"

// Advice says what to do on a machine without the library.
const Advice = "`xpipe runtime install --from pip` (other ways: `xpipe runtime install --help`), " +
	"or `pip install 'onnxruntime>=" + MinVersion + "'`, or set " + Env + " to the path of a library"

// ErrLibrary is wrapped by every error of this package and of ortlib: a library that is missing,
// damaged, made for another machine or too old; a download that is not the file asked for.
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

// Machine is the system and processor that a library must be made for, in Go's words.
type Machine struct{ OS, Arch string }

// This is the machine that the program is built for.
var This = Machine{runtime.GOOS, runtime.GOARCH}

// Named finds the library at a path, which may be its folder's, or where path is "" the one that
// the environment variable Env names. accept, if not nil, decides last on a library that Inspect
// found good. Named looks nowhere else.
func Named(path string, accept func(Library) error) (Library, error) {
	how := "the path given"
	if path == "" {
		how, path = Env, os.Getenv(Env)
	}
	if path == "" {
		return Library{}, errorf("none is named: give its path, or set %s to it", Env)
	}
	return This.Named(how, path, accept)
}

// Named is the function Named for a machine; how says where the path comes from.
func (m Machine) Named(how, path string, accept func(Library) error) (Library, error) {
	paths, problem := []string{path}, ""
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		paths = m.In(path)
		problem = path + " is a folder without a library of ONNX Runtime"
	}
	lib, problems := m.First(how, paths, accept)
	if lib.Path != "" {
		return lib, nil
	}
	if len(problems) > 0 {
		problem = problems[0]
	}
	return Library{}, errorf("%s: %s. To get one that works: %s", how, problem, Advice)
}

// First returns the first of some files that Inspect finds good and that accept, if not nil, takes.
// Where there is none it returns the zero Library, and says what is wrong with each.
func (m Machine) First(
	how string, paths []string, accept func(Library) error,
) (lib Library, problems []string) {
	for _, path := range paths {
		if absolute, err := filepath.Abs(path); err == nil {
			path = absolute
		}
		lib := Library{Path: path, Found: how}
		var err error
		if lib.Version, err = m.Inspect(path); err == nil && accept != nil {
			err = accept(lib)
		}
		if err == nil {
			return lib, nil
		}
		problems = append(problems, strings.TrimPrefix(err.Error(), ErrLibrary.Error()+": "))
	}
	return Library{}, problems
}

// In lists the libraries in a folder, newest first. Files with equal names behind symbolic links
// count once.
func (m Machine) In(folder string) []string {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil
	}
	var paths, seen []string
	for _, e := range entries {
		if !m.IsName(e.Name()) {
			continue
		}
		path := filepath.Join(folder, e.Name())
		target, err := filepath.EvalSymlinks(path)
		if err != nil || slices.Contains(seen, target) {
			continue
		}
		seen = append(seen, target)
		paths = append(paths, target)
	}
	slices.SortStableFunc(paths, func(a, b string) int {
		return CompareVersions(versionInName(b), versionInName(a))
	})
	return paths
}

// IsName tells the library's own file name from those of providers, bindings and the like.
func (m Machine) IsName(name string) bool {
	switch m.OS {
	case "windows":
		return strings.EqualFold(name, "onnxruntime.dll")
	case "darwin":
		return strings.HasPrefix(name, "libonnxruntime.") && strings.HasSuffix(name, ".dylib")
	}
	return name == "libonnxruntime.so" || strings.HasPrefix(name, "libonnxruntime.so.")
}

// SearchError says that no place has a library that can be used. It wraps ErrLibrary.
type SearchError struct {
	Looked []string // each place, and what is wrong there
}

func (e *SearchError) Error() string {
	return fmt.Sprintf("%v: none found. To get one: %s. Looked at: %s", ErrLibrary, Advice,
		strings.Join(e.Looked, "; "))
}

func (e *SearchError) Unwrap() error { return ErrLibrary }
