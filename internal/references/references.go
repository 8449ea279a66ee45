// Package references runs the Python scripts under testdata whose results the tests of several
// packages compare with.
//
// Results are kept in build/references: a script runs again once it, a script beside it, what it is
// given or a version in testdata/requirements.txt has changed. What is random in them has a seed, so
// a run would give the same.
package references

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Script is a script with what it is given.
type Script struct {
	Path  string // of the .py file, below testdata of the module
	Args  []string
	Stdin []byte
	Check string // Python that fails where a package is missing or has another version
}

// Output returns what the script prints. Without Python and the packages that the script needs, and
// without a result that was kept, the test is skipped, or fails where XPIPE_REQUIRE_REFS is 1.
func (s Script) Output(t testing.TB) []byte {
	t.Helper()
	dir := s.kept(t, func(dir string) {
		if err := os.WriteFile(filepath.Join(dir, "stdout"), s.run(t), 0o644); err != nil {
			t.Fatal(err)
		}
	})
	data, err := os.ReadFile(filepath.Join(dir, "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// Folder returns a folder that the script wrote: it gets the path before its other arguments. Tests
// only read it. Where there is no result, Folder does what Output does.
func (s Script) Folder(t testing.TB) string {
	t.Helper()
	return s.kept(t, func(dir string) {
		t.Logf("%s", s.run(t, dir))
	})
}

// kept returns the folder of the script's result, which fill makes if there is none.
func (s Script) kept(t testing.TB, fill func(dir string)) string {
	t.Helper()
	root, err := Root()
	if err != nil {
		t.Fatal(err)
	}
	h := sha256.New()
	fmt.Fprintf(h, "%q %q %q\n", s.Path, s.Args, s.Stdin)
	files, _ := filepath.Glob(filepath.Join(filepath.Dir(s.Path), "*.py"))
	for _, name := range append(files, filepath.Join(root, "testdata", "requirements.txt")) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(h, "%q\n", data)
	}
	name := strings.TrimSuffix(filepath.Base(s.Path), ".py") + "-" + hex.EncodeToString(h.Sum(nil))[:16]
	all := filepath.Join(root, "build", "references")
	dir := filepath.Join(all, name)
	if _, err := os.Stat(dir); err == nil {
		return dir
	}
	if err := os.MkdirAll(all, 0o755); err != nil {
		t.Fatal(err)
	}
	// Only a whole result gets its name: tests of other packages may ask for it right now.
	part, err := os.MkdirTemp(all, name+".part-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(part)
	fill(part)
	if err := os.Rename(part, dir); err != nil {
		if _, missing := os.Stat(dir); missing != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// run returns what the script prints.
func (s Script) run(t testing.TB, args ...string) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command(Python(t, s.Check), append(append([]string{s.Path}, args...), s.Args...)...)
	// Where the tokenizers panic, walking the stack would take longer than all else.
	cmd.Env = append(os.Environ(), "TOKENIZERS_PARALLELISM=false", "RUST_BACKTRACE=0")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(s.Stdin), &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", s.Path, err, &stderr)
	}
	return out
}

// Python returns an interpreter in which check runs. Without one the test is skipped, or fails where
// XPIPE_REQUIRE_REFS is 1.
func Python(t testing.TB, check string) string {
	t.Helper()
	path, err := Find(check)
	if err != nil && os.Getenv("XPIPE_REQUIRE_REFS") == "1" {
		t.Fatal(err)
	}
	if err != nil {
		t.Skip(err)
	}
	return path
}

var (
	foundMu sync.Mutex
	found   = map[string]func() (string, error){} // by check
)

// Find returns an interpreter in which check runs, XPIPE_PYTHON or that of the environment which
// make test-env installs, or the error that says why there is none. It tries each check once.
func Find(check string) (string, error) {
	foundMu.Lock()
	once, ok := found[check]
	if !ok {
		once = sync.OnceValues(func() (string, error) { return find(check) })
		found[check] = once
	}
	foundMu.Unlock()
	return once()
}

func find(check string) (string, error) {
	path := os.Getenv("XPIPE_PYTHON")
	if path == "" {
		root, err := Root()
		if err != nil {
			return "", err
		}
		path = filepath.Join(root, "build", "venv", "bin", "python3")
	}
	if out, err := exec.Command(path, "-c", check).CombinedOutput(); err != nil {
		return "", fmt.Errorf("no Python in which %q runs: run make test-env, or set XPIPE_PYTHON (%s: %w)\n%s",
			check, path, err, out)
	}
	return path, nil
}

// Root is the folder of go.mod.
func Root() (string, error) {
	dir, err := os.Getwd()
	for err == nil {
		if _, e := os.Stat(filepath.Join(dir, "go.mod")); e == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", errors.New("no go.mod above the working directory")
		}
		dir = filepath.Dir(dir)
	}
	return "", err
}
