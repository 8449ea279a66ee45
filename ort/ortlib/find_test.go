package ortlib

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// machine is a search over folders of its own.
func machine(t *testing.T) (*search, map[string]string) {
	env, root := map[string]string{}, t.TempDir()
	return &search{
		goos: "linux", goarch: "amd64", getenv: func(k string) string { return env[k] },
		cache: filepath.Join(root, "cache"), root: root, executable: filepath.Join(root, "app", "xpipe"),
		python: func() (string, error) { return filepath.Join(root, "site", "onnxruntime"), nil },
	}, env
}

func TestFindOrder(t *testing.T) {
	t.Parallel()
	s, env := machine(t)
	lib := fakeLibrary()
	want := func(how, path string) {
		t.Helper()
		got, err := s.find("", nil)
		if err != nil || got.Path != path || !strings.Contains(got.Found, how) {
			t.Errorf("found %v, %v; want %s by %s", got, err, path, how)
		}
	}
	_, err := s.find("", nil)
	if !errors.Is(err, ErrLibrary) {
		t.Fatalf("nothing is there, and the error is %v", err)
	}
	for _, said := range []string{Env + ": not set", "cache", "/usr/lib", "/app", "Python", "xpipe runtime install", "pip install"} {
		if !strings.Contains(err.Error(), said) {
			t.Errorf("the error does not name %q: %v", said, err)
		}
	}
	// From the last place of the order to the first.
	want("Python", write(t, s.root, "site/onnxruntime/capi/libonnxruntime.so.1.24.4", lib))
	want("system", write(t, s.root, "usr/lib/libonnxruntime.so.1.25.0", lib))
	want("system", write(t, s.root, "app/lib/libonnxruntime.so", lib))
	want("cache", write(t, s.root, "cache/1.24.4/libonnxruntime.so.1.24.4", lib))
	want("cache", write(t, s.root, "cache/1.26.1/libonnxruntime.so.1.26.1", lib)) // the newest
	env[Env] = write(t, s.root, "mine/libonnxruntime.so", lib)
	want(Env, env[Env])
	env[Env] = filepath.Join(s.root, "mine") // a folder will do
	want(Env, filepath.Join(s.root, "mine", "libonnxruntime.so"))
	path := write(t, s.root, "given.so", lib)
	if got, err := s.find(path, nil); err != nil || got.Path != path {
		t.Errorf("explicit path: %v, %v", got, err)
	}
}

func TestFindSkipsAndRefuses(t *testing.T) {
	t.Parallel()
	s, env := machine(t)
	write(t, s.root, "usr/local/lib/libonnxruntime.so.1.18.0", fakeLibrary())
	bad := write(t, s.root, "usr/lib/libonnxruntime.so.1.24.4", []byte("not a library"))
	good := write(t, s.root, "site/onnxruntime/capi/libonnxruntime.so.1.24.4", fakeLibrary())
	if got, err := s.find("", nil); err != nil || got.Path != good {
		t.Errorf("found %v, %v; want the good one after two bad", got, err)
	}
	no := errors.New("will not load")
	_, err := s.find("", func(Library) error { return no })
	if err == nil || !strings.Contains(err.Error(), "too old") || !strings.Contains(err.Error(), "no shared library") || !strings.Contains(err.Error(), "will not load") {
		t.Errorf("the error does not say what is wrong with each: %v", err)
	}
	// What a user names is used or refused, never silently replaced.
	if _, err := s.find(bad, nil); err == nil || !strings.Contains(err.Error(), bad) {
		t.Errorf("explicit bad path: %v", err)
	}
	env[Env] = filepath.Join(s.root, "nowhere.so")
	if _, err := s.find("", nil); err == nil || !strings.Contains(err.Error(), Env) || !errors.Is(err, ErrLibrary) {
		t.Errorf("bad %s: %v", Env, err)
	}
	env[Env] = s.root
	if _, err := s.find("", nil); err == nil || !strings.Contains(err.Error(), "without a library") {
		t.Errorf("%s names an empty folder: %v", Env, err)
	}
}

// The Python on PATH is asked without importing the package, and a folder called onnxruntime in the
// current folder is no answer.
func TestPythonPackage(t *testing.T) {
	bin := t.TempDir()
	t.Setenv("PATH", bin)
	if _, err := pythonPackage(); err == nil {
		t.Error("no Python, no error")
	}
	script := "#!/bin/sh\nprintf '%s\\n' /somewhere/onnxruntime\n"
	if err := os.WriteFile(filepath.Join(bin, "python3"), []byte(script), 0o755); err != nil {
		t.Fatal(err)
	}
	if got, err := pythonPackage(); err != nil || got != "/somewhere/onnxruntime" {
		t.Skipf("no shell to play Python with: %q, %v", got, err)
	}
	os.WriteFile(filepath.Join(bin, "python3"), []byte("#!/bin/sh\nexit 3\n"), 0o755)
	if _, err := pythonPackage(); err == nil || !strings.Contains(err.Error(), "did not answer") {
		t.Errorf("a failing Python: %v", err)
	}
}
