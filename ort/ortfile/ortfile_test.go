package ortfile

import (
	"debug/elf"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/internal/fakelib"
)

var amd64 = Machine{"linux", "amd64"}

func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

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
	good := fakelib.Library()
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
		{"other", fakelib.ELF(elf.EM_X86_64, "sqlite3_open"), "lacks OrtGetApiBase"},
		{"arm", fakelib.ELF(elf.EM_AARCH64, fakelib.EntryPoint), "for arm64 processors"},
		{"riscv", fakelib.ELF(elf.EM_MIPS, fakelib.EntryPoint), "for EM_MIPS processors"},
		{"dll", append([]byte("MZ"), good...), "for windows"},
		{"dylib", []byte("\xcf\xfa\xed\xfe\x0c\x00\x00\x01"), "for darwin"},
	} {
		_, err := amd64.Inspect(write(t, dir, c.name, c.data))
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
		amd64.Inspect(path)
		os.WriteFile(path, good[:i], 0o644)
		if _, err := amd64.Inspect(path); err == nil {
			t.Errorf("the first %d of %d bytes pass for a library", i, len(good))
		}
	}
	if _, err := amd64.Inspect(dir); err == nil {
		t.Error("a folder passes for a library")
	}
	if _, err := amd64.Inspect(filepath.Join(dir, "missing")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing file: %v", err)
	}
	for _, goos := range []string{"windows", "darwin"} {
		for _, data := range [][]byte{append([]byte("MZ"), make([]byte, 200)...), append([]byte("\xcf\xfa\xed\xfe"), make([]byte, 200)...), []byte("\xca\xfe\xba\xbe\x00\x00\x00\x01")} {
			os.WriteFile(path, data, 0o644)
			if _, err := (Machine{goos, "arm64"}).Inspect(path); err == nil {
				t.Errorf("rubbish passes for a library on %s", goos)
			}
		}
	}
}

// Libraries of other names (providers, Python bindings) are no candidates, and links to one library
// count once.
func TestLibrariesIn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	target := write(t, dir, "libonnxruntime.so.1.24.4", fakelib.Library())
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
	if got := amd64.In(dir); len(got) != 1 || got[0] != resolved {
		t.Errorf("In = %v", got)
	}
}

// A library that is named is used or refused; nothing else is looked at.
func TestNamed(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(Env, "")
	if _, err := Named("", nil); !errors.Is(err, ErrLibrary) || !strings.Contains(err.Error(), Env) {
		t.Errorf("nothing is named: %v", err)
	}
	if This.OS != "linux" || This.Arch != "amd64" {
		t.Skip("the file below is for Linux, x86-64")
	}
	good := write(t, dir, "libonnxruntime.so.1.24.4", fakelib.Library())
	for _, path := range []string{good, dir} {
		lib, err := Named(path, nil)
		if err != nil || lib.Path != good || lib.Version != "1.24.4" || lib.Found != "the path given" {
			t.Errorf("%s: %+v, %v", path, lib, err)
		}
	}
	t.Setenv(Env, good)
	if lib, err := Named("", nil); err != nil || lib.Path != good || lib.Found != Env {
		t.Errorf("%+v, %v", lib, err)
	}
	no := errors.New("it crashed")
	if _, err := Named("", func(Library) error { return no }); err == nil || !strings.Contains(err.Error(), Env+": it crashed. To get") {
		t.Error(err)
	}
	if _, err := Named(t.TempDir(), nil); err == nil || !strings.Contains(err.Error(), "without a library") {
		t.Error(err)
	}
}
