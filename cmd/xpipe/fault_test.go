package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/ort"
)

// A full disk ends a run with an error that says so, and what was written before stays whole.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full")
	}
	code, _, stderr := xpipe(t, "", "caption", "--engine", "go", "--model", tinyWriter,
		"--out", "/dev/full", apple, triangle)
	if code != api.ExitOther || !strings.Contains(stderr, "no space left") || !strings.Contains(stderr, "/dev/full") {
		t.Errorf("caption: exit %d: %s", code, stderr)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer full.Close()
	for _, args := range [][]string{
		{"caption", "--engine", "go", apple},
		{"caption", "--engine", "go", "--model", tinyWriter, "--json", apple},
		{"ask", "--engine", "go", "--model", tinyWriter, triangle, "what color is it?"},
	} {
		env, _, errs := testEnvironment()
		env.stdout = full
		if code := execute(t.Context(), env, args); code != api.ExitOther || !strings.Contains(errs.String(), "no space left") {
			t.Errorf("%v: exit %d: %s", args, code, errs)
		}
	}
}

// A file that cannot be written is removed only where the command made it.
func TestWriteFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old, fresh := filepath.Join(dir, "old.png"), filepath.Join(dir, "new.png")
	if err := os.WriteFile(old, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	fails := func(w io.Writer) error {
		io.WriteString(w, "half")
		return errors.New("no more")
	}
	for path, stays := range map[string]bool{old: true, fresh: false} {
		if err := writeFile(path, fails); err == nil || err.Error() != "no more" {
			t.Errorf("%s: %v", path, err)
		}
		if _, err := os.Lstat(path); (err == nil) != stays {
			t.Errorf("%s after a failed write: %v", path, err)
		}
	}
	for _, path := range []string{old, fresh} {
		err := writeFile(path, func(w io.Writer) error { _, err := io.WriteString(w, "ok"); return err })
		if data, _ := os.ReadFile(path); err != nil || string(data) != "ok" {
			t.Errorf("%s: %q, %v", path, data, err)
		}
	}
	missing := filepath.Join(dir, "missing", "a.png")
	if err := writeFile(missing, fails); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) {
		t.Errorf("in a folder that is missing: %v", err)
	}
	if _, err := os.Stat("/dev/full"); err != nil {
		t.Skip("this system has no /dev/full")
	}
	device := filepath.Join(dir, "full.png") // a link, so that a fault here costs no device
	if err := os.Symlink("/dev/full", device); err != nil {
		t.Fatal(err)
	}
	code, _, stderr := xpipe(t, "", "attend", "--model", tinyWriter, circle, "-o", device)
	if code != api.ExitOther || !strings.Contains(stderr, "no space left") || !strings.Contains(stderr, device) {
		t.Errorf("attend: exit %d: %s", code, stderr)
	}
	if _, err := os.Lstat(device); err != nil {
		t.Errorf("what was there before is gone: %v", err)
	}
}

// A file that cannot be read becomes a line with its error; the others are captioned.
func TestUnreadableAmidBatch(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good, err := os.ReadFile(apple)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"a.png": good, "b.png": nil, "c.png": []byte("no picture"), "e.png": good[:len(good)/2], "f.png": good} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Join(dir, "nowhere"), filepath.Join(dir, "d.png")); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(dir, "out.jsonl")
	code, _, stderr := xpipe(t, "", "caption", "--engine", "go", "--model", tinyWriter,
		"--batch", "3", "--out", out, dir)
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	failed := 0
	got := lines(t, string(data))
	for _, line := range got {
		if line["error"] != nil {
			failed++
		}
	}
	if code != api.ExitOther || len(got) != 6 || failed != 4 || !strings.Contains(stderr, "4 of 6") {
		t.Errorf("exit %d, %d lines, %d of them errors: %s", code, len(got), failed, stderr)
	}
}

// auto falls back to Go where ONNX Runtime cannot be used, and says why; a library or an engine
// that was asked for by name is not replaced by another.
func TestFallback(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "libonnxruntime.so")
	if err := os.WriteFile(broken, []byte("no library"), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XPIPE_ORT_LIB", broken)
	if code, stdout, stderr := xpipe(t, "", "caption", "-v", apple); code != 0 || !strings.Contains(stdout, "apple") ||
		!strings.Contains(stderr, "engine: go, because") || !strings.Contains(stderr, broken) {
		t.Errorf("auto: exit %d: %s%s", code, stdout, stderr)
	}
	if code, _, stderr := xpipe(t, "", "caption", "--engine", "ort", apple); code != api.ExitEngine || !strings.Contains(stderr, broken) {
		t.Errorf("ort by name: exit %d: %s", code, stderr)
	}
	if code, _, stderr := xpipe(t, "", "caption", "--ort-lib", broken, apple); code != api.ExitEngine || !strings.Contains(stderr, broken) {
		t.Errorf("library by name: exit %d: %s", code, stderr)
	}
	for _, provider := range ort.Providers {
		if provider == "cpu" {
			continue
		}
		// The provider was asked for: no engine without it takes its place.
		if code, _, stderr := xpipe(t, "", "caption", "--provider", provider, apple); code != api.ExitEngine || !strings.Contains(stderr, provider) {
			t.Errorf("provider %s: exit %d: %s", provider, code, stderr)
		}
	}
}
