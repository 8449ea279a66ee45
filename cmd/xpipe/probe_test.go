package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/engine/enginetest"
	"github.com/crossattn/xpipe/ort"
	"github.com/crossattn/xpipe/ort/ortlib"
	"github.com/crossattn/xpipe/ort/orttest"
	"github.com/crossattn/xpipe/pipeline"
)

// runEnv makes the test program the command itself, as which it starts itself; timeoutEnv is then
// its probeTimeout.
const (
	runEnv     = "XPIPE_TEST_RUN"
	timeoutEnv = "XPIPE_TEST_PROBE_TIMEOUT"
)

func TestMain(m *testing.M) {
	if os.Getenv(runEnv) != "" {
		if d, err := time.ParseDuration(os.Getenv(timeoutEnv)); err == nil {
			probeTimeout = d
		}
		main()
	}
	debug.SetGCPercent(400) // commands run in this process, one after another, and leave models
	shareGraphs()
	os.Exit(m.Run())
}

// shareGraphs lets the commands of this process open each graph once.
func shareGraphs() {
	for i, row := range api.Engines {
		api.Engines[i].Open = func(c engine.Config) (engine.Engine, engine.Description, error) {
			eng, description, err := row.Open(c)
			if err != nil {
				return nil, description, err
			}
			shared, _ := sharedEngines.LoadOrStore(row.Name+" "+libraryOf(description),
				enginetest.Share(eng))
			return shared.(engine.Engine), description, nil
		}
	}
}

// sharedEngines are engines of enginetest.Share, by their names and libraries.
var sharedEngines sync.Map

func libraryOf(d engine.Description) string {
	if d.Library == nil {
		return ""
	}
	return d.Library.Path
}

// fakeLibraries are C sources of libraries that look like ONNX Runtime's, and the words of the
// error that each gives.
var fakeLibraries = []struct{ name, source, says string }{
	{"aborts while it is loaded", `#include <stdlib.h>
__attribute__((constructor)) static void start(void) { abort(); }
const void *OrtGetApiBase(void) { return 0; }`, "crashed when it was loaded (SIGABRT"},
	{"reads nowhere while it is loaded", `static int *volatile nowhere;
__attribute__((constructor)) static void start(void) { *nowhere = 1; }
const void *OrtGetApiBase(void) { return 0; }`, "crashed when it was loaded (SIGSEGV"},
	{"reads nowhere when it is asked for its version", `static int *volatile nowhere;
static const void *get_api(unsigned v) { return 0; }
static const char *version(void) { *nowhere = 1; return "1.24.4"; }
static struct { const void *(*a)(unsigned); const char *(*v)(void); } base = { get_api, version };
const void *OrtGetApiBase(void) { return &base; }`, "crashed when it was loaded (SIGSEGV"},
	{"ends the process", `#include <unistd.h>
__attribute__((constructor)) static void start(void) { _exit(0x21); }
const void *OrtGetApiBase(void) { return 0; }`, "crashed when it was loaded (exit status 33"},
	{"never returns", `#include <unistd.h>
__attribute__((constructor)) static void start(void) { for (;;) pause(); }
const void *OrtGetApiBase(void) { return 0; }`, "does not come back"},
	{"is old", `static const void *get_api(unsigned v) { return 0; }
static const char *version(void) { return "1.10.0"; }
static struct { const void *(*a)(unsigned); const char *(*v)(void); } base = { get_api, version };
const void *OrtGetApiBase(void) { return &base; }`, "1.10.0, too old: xpipe needs " + ortlib.MinVersion},
	{"lacks the API", `static const void *get_api(unsigned v) { return 0; }
static const char *version(void) { return "9.9.9"; }
static struct { const void *(*a)(unsigned); const char *(*v)(void); } base = { get_api, version };
const void *OrtGetApiBase(void) { return &base; }`, "does not offer the C API"},
}

// A library that crashes ends neither the command nor the search: auto goes on with the Go engine
// and warns; an engine named by the user gives an error that says what to do.
func TestCrashingLibraries(t *testing.T) {
	if !ort.Built {
		t.Skip("this program is built without cgo and loads no library")
	}
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Skip("NOT TESTED: there is no C compiler (cc) to make bad libraries with")
	}
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	emptyCache(t)
	t.Setenv(runEnv, "1")
	// In a process of its own: this one may have loaded a library that works.
	run := func(args ...string) (code int, stdout, stderr string) {
		var out, errs strings.Builder
		cmd := exec.CommandContext(t.Context(), executable, args...)
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), out.String(), errs.String()
	}
	for i, fake := range fakeLibraries {
		t.Run(fake.name, func(t *testing.T) {
			dir := t.TempDir()
			source, library := filepath.Join(dir, "fake.c"), filepath.Join(dir, "libonnxruntime.so")
			if err := os.WriteFile(source, []byte(fake.source), 0o666); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(cc, "-shared", "-fPIC", "-o", library, source).CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, out)
			}
			t.Setenv(ortlib.Env, library)
			if fake.name == "never returns" {
				t.Setenv(timeoutEnv, "2s")
			}
			code, _, stderr := run("caption", "--engine", "ort", apple)
			if code != api.ExitEngine || !strings.Contains(stderr, fake.says) || !strings.Contains(stderr, library) || !strings.Contains(stderr, "runtime install") {
				t.Errorf("ort by name: exit %d: %s", code, stderr)
			}
			if i > 0 { // captioning takes a while
				return
			}
			code, stdout, stderr := run("caption", apple)
			if code != api.ExitOK || strings.TrimSpace(stdout) == "" || !strings.Contains(stderr, "warning: engine: go, because") || !strings.Contains(stderr, fake.says) {
				t.Errorf("auto: exit %d: %s%s", code, stdout, stderr)
			}
		})
	}
	if name, err := probedFileName(); err != nil || len(loadProbed()) != 0 {
		t.Errorf("%s: %v, %v", name, loadProbed(), err)
	}
}

// An explicit --engine auto warns that the Go engine was taken; without the flag there is no
// warning.
func TestAutoSaysSo(t *testing.T) {
	t.Parallel()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		says bool
	}{{nil, false}, {[]string{"--engine", "go"}, false}, {[]string{"--engine", "auto"}, true}} {
		cmd := exec.CommandContext(t.Context(), self, append([]string{"caption", "--model", tinyWriter, circle}, c.args...)...)
		cmd.Env = []string{runEnv + "=1", "HOME=" + t.TempDir(), "PATH=" + t.TempDir()} // where no library is found, but for the system's
		var errs bytes.Buffer
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil || len(out) == 0 {
			t.Fatalf("%v: %v, %s", c.args, err, errs.String())
		}
		if says := strings.Contains(errs.String(), "engine: go, because"); says != c.says {
			t.Errorf("%v: %q", c.args, errs.String())
		}
	}
}

// A good library is tried by a child once, and again when its file has changed.
func TestProbeOnce(t *testing.T) {
	library := orttest.Library(t)
	if !ort.Built {
		t.Skip("this program is built without cgo and loads no library")
	}
	lib, err := ortlib.Find(library, nil)
	if err != nil {
		t.Fatal(err)
	}
	emptyCache(t)
	t.Setenv(runEnv, "1")
	env, _, _ := testEnvironment()
	if env.executable, err = os.Executable(); err != nil {
		t.Fatal(err)
	}
	row, err := api.FindEngine(ort.Name)
	if err != nil {
		t.Fatal(err)
	}
	if err := env.tryLibrary(row, lib.Path); err != nil {
		t.Fatal(err)
	}
	known := loadProbed()
	if now, err := statProbed(lib.Path); err != nil || len(known) != 1 || known[lib.Path] != now {
		t.Errorf("%v, %v", known, err)
	}
	env.executable = filepath.Join(t.TempDir(), "nothing") // which starts no child
	if err := env.tryLibrary(row, lib.Path); err != nil {
		t.Error(err)
	}
	known[lib.Path] = probedFile{}
	if err := known.save(); err != nil {
		t.Fatal(err)
	}
	if err := env.tryLibrary(row, lib.Path); err == nil {
		t.Errorf("a changed library was not tried again: %v", err)
	}
	name, err := probedFileName()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("{"), 0o666); err != nil || len(loadProbed()) != 0 {
		t.Errorf("a damaged cache: %v, %v", loadProbed(), err)
	}
}

// A list of providers goes on to the next: cuda is no provider of the Go engine.
func TestProviderList(t *testing.T) {
	t.Parallel()
	code, stdout, stderr := xpipe(t, "", "caption", "--engine", "go", "--model", tinyWriter,
		"--provider", "cuda,cpu", apple)
	if code != api.ExitOK || stdout == "" || strings.Count(stderr, "going on with provider cpu") != 1 {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
}

func TestVersion(t *testing.T) {
	for _, c := range []struct {
		info debug.BuildInfo
		want string
	}{
		{debug.BuildInfo{}, "(devel)"},
		{debug.BuildInfo{Main: debug.Module{Version: "v1.2.3"}}, "v1.2.3"},
		{debug.BuildInfo{Main: debug.Module{Version: "(devel)"}, Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "0123456789abcdef0123"}}}, "devel-0123456789ab"},
		{debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs.revision", Value: "0123"}, {Key: "vcs.modified", Value: "true"}}}, "devel-0123+dirty"},
	} {
		if got := versionOf(&c.info); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
	defer func() { stamp = "" }()
	stamp = "v9.9.9"
	if code, stdout, _ := xpipe(t, "", "--version"); code != api.ExitOK || !strings.Contains(stdout, "v9.9.9") {
		t.Errorf("exit %d: %s", code, stdout)
	}
}

// Warnings are one line, and JSON where that is asked for.
func TestWarning(t *testing.T) {
	t.Parallel()
	var errs bytes.Buffer
	env := &environment{stderr: &errs}
	env.warnf("one\ntwo %d", 3)
	env.json = true
	env.warnf("four")
	if got := errs.String(); got != "xpipe: warning: one; two 3\n{\"warning\":\"four\"}\n" {
		t.Errorf("%q", got)
	}
}

// The command line keeps to the limits of the pipeline's pictures.
func TestPictureLimits(t *testing.T) {
	t.Parallel()
	huge := filepath.Join(t.TempDir(), "huge.png")
	f, err := os.Create(huge)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := f.Truncate(pipeline.DefaultLimits().ImageBytes + 1); err != nil { // a hole, that takes no place
		t.Fatal(err)
	}
	if code, _, stderr := xpipe(t, "", "caption", "--engine", "go", huge); code != api.ExitInput || !strings.Contains(stderr, "the limit is 536870912") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
