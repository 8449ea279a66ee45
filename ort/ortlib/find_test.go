package ortlib

import (
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestCompareVersions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"1.24.4", "1.24", 4}, {"1.24", "1.24.0", 0}, {"1.9.1", "1.24", -15}, {"1.32.0", "1.24.4", 8},
		{"2.0", "1.99", 1}, {"1.24.0-rc1", "1.24", 0}, {"1.24.0.dev20260101", "1.24", 0}, {"", "1", -1},
	} {
		if got := CompareVersions(c.a, c.b); got != c.want {
			t.Errorf("CompareVersions(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
	if err := CheckVersion("1.23.2"); !errors.Is(err, ErrLibrary) || !strings.Contains(err.Error(), "1.23.2") {
		t.Errorf("CheckVersion(1.23.2) = %v", err)
	}
}

func TestInspect(t *testing.T) {
	t.Parallel()
	good := fakeLibrary()
	dir := t.TempDir()
	for _, c := range []struct {
		name    string
		data    []byte
		problem string // "" if it is good
	}{
		{"libonnxruntime.so.1.24.4", good, ""},
		{"libonnxruntime.so", good, ""},
		{"libonnxruntime.so.1.18.0", good, "too old"},
		{"empty", nil, "too short"},
		{"text", []byte("this is no library at all"), "no shared library"},
		{"cut in half", good[:len(good)/2], "damaged"},
		{"end missing", good[:len(good)-1], "damaged"},
		{"other", fakeELF(elf.EM_X86_64, "sqlite3_open"), "lacks OrtGetApiBase"},
		{"arm", fakeELF(elf.EM_AARCH64, entryPoint), "for arm64 processors"},
		{"riscv", fakeELF(elf.EM_MIPS, entryPoint), "for EM_MIPS processors"},
		{"dll", append([]byte("MZ"), good...), "for windows"},
		{"dylib", []byte("\xcf\xfa\xed\xfe\x0c\x00\x00\x01"), "for darwin"},
	} {
		_, err := inspect(write(t, dir, c.name, c.data), "linux", "amd64")
		switch {
		case c.problem == "" && err != nil:
			t.Errorf("%s: %v", c.name, err)
		case c.problem != "" && (!errors.Is(err, ErrLibrary) || !strings.Contains(err.Error(), c.problem)):
			t.Errorf("%s: error %v, want one with %q", c.name, err, c.problem)
		}
	}
	// Every prefix and every flipped byte: an error or not, but no panic.
	path := filepath.Join(dir, "fuzzed")
	for i := range good {
		bad := append([]byte{}, good...)
		bad[i] ^= 0xff
		os.WriteFile(path, bad, 0o644)
		inspect(path, "linux", "amd64")
		os.WriteFile(path, good[:i], 0o644)
		if _, err := inspect(path, "linux", "amd64"); err == nil {
			t.Errorf("the first %d of %d bytes pass for a library", i, len(good))
		}
	}
	if _, err := inspect(dir, "linux", "amd64"); err == nil {
		t.Error("a folder passes for a library")
	}
	if _, err := inspect(filepath.Join(dir, "missing"), "linux", "amd64"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	for _, goos := range []string{"windows", "darwin"} {
		for _, data := range [][]byte{append([]byte("MZ"), make([]byte, 200)...), append([]byte("\xcf\xfa\xed\xfe"), make([]byte, 200)...), []byte("\xca\xfe\xba\xbe\x00\x00\x00\x01")} {
			os.WriteFile(path, data, 0o644)
			if _, err := inspect(path, goos, "arm64"); err == nil {
				t.Errorf("rubbish passes for a library on %s", goos)
			}
		}
	}
}

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

// Libraries of other names (providers, Python bindings) are no candidates, and links to one library
// count once.
func TestLibrariesIn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := write(t, dir, "libonnxruntime.so.1.24.4", fakeLibrary())
	for _, name := range []string{"libonnxruntime_providers_cuda.so", "onnxruntime_pybind11_state.so", "libonnxruntime.dylib", "onnxruntime.dll"} {
		write(t, dir, name, nil)
	}
	for _, link := range []string{"libonnxruntime.so", "libonnxruntime.so.1"} {
		if err := os.Symlink("libonnxruntime.so.1.24.4", filepath.Join(dir, link)); err != nil {
			t.Skip("no symbolic links here: ", err)
		}
	}
	os.Symlink("gone", filepath.Join(dir, "libonnxruntime.so.2"))
	resolved, err := filepath.EvalSymlinks(target)
	if err != nil {
		t.Fatal(err)
	}
	if got := librariesIn(dir, "linux"); len(got) != 1 || got[0] != resolved {
		t.Errorf("librariesIn = %v", got)
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
