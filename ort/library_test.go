//go:build cgo && !noort

package ort

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/ort/ortlib"
	"github.com/crossattn/xpipe/ort/orttest"
)

// childEnv makes this test program load one library and say what came of it, so that a crash is
// seen as one.
const childEnv = "XPIPE_ORT_TEST_CHILD"

func TestMain(m *testing.M) {
	if library, ok := os.LookupEnv(childEnv); ok {
		os.Exit(child(library))
	}
	os.Exit(m.Run())
}

// child loads the library, provokes errors in it, and reports on stdout; stderr belongs to ONNX
// Runtime.
func child(library string) int {
	e, err := New(WithLibrary(library))
	if err != nil {
		if !errors.Is(err, engine.ErrEngine) {
			fmt.Printf("not an engine's error: ")
		}
		fmt.Println(err)
		return 0
	}
	unknown := doubler()
	unknown.NodeTo("NoSuchOperator", []string{"x"}, []string{"z"}, nil)
	if _, err := e.Open(context.Background(), unknown.Source(), engine.Options{}); err == nil {
		fmt.Println("an unknown operator was accepted")
	}
	s, err := e.Open(context.Background(), cacheGraph(1).Source(), engine.Options{})
	if err != nil {
		fmt.Println(err)
		return 0
	}
	defer s.Close()
	if _, err := s.Run(context.Background(), tensors{"past.0": ramp(2, 4, 1, 8), "new": ramp(3, 4, 1, 8)}); err == nil {
		fmt.Println("batches of 2 and 3 were concatenated")
	}
	fmt.Println("loaded", e.Library())
	return 0
}

// runChild returns what the child says, and fails if it crashed or wrote to stderr.
func runChild(t *testing.T, library string) string {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childEnv+"="+library)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Errorf("%s: %v\n%s%s", library, err, out, stderr.String())
	}
	return string(out)
}

// A library is loaded without a word on stderr, and its errors come as errors only.
func TestLoadIsSilent(t *testing.T) {
	t.Parallel()
	if out := runChild(t, orttest.Library(t)); !strings.HasPrefix(out, "loaded ONNX Runtime 1.") {
		t.Error(out)
	}
}

func TestBadLibraries(t *testing.T) {
	t.Parallel()
	whole, err := os.ReadFile(libraryFile(t))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	try := func(name string, data []byte, problem string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o755); err != nil {
			t.Fatal(err)
		}
		if out := runChild(t, path); strings.Count(out, "\n") != 1 || !strings.Contains(out, path) || !strings.Contains(out, problem) || strings.Contains(out, "not an engine's") {
			t.Errorf("%s: %q, want one line with %q", name, out, problem)
		}
	}
	try("text", []byte("I am no library"), "is no shared library")
	try("empty", nil, "too short")
	for _, n := range []int{100, 1 << 12, 1 << 20, len(whole) / 2, len(whole) - 1000, len(whole) - 1} {
		try(fmt.Sprint("cut at ", n), whole[:n], "damaged or cut short")
	}
	if out := runChild(t, filepath.Join(dir, "missing")); !strings.Contains(out, "no such file") {
		t.Error(out)
	}
	if out := runChild(t, t.TempDir()); !strings.Contains(out, "without a library") {
		t.Error(out)
	}
	if runtime.GOOS != "linux" {
		return
	}
	// The same file with another processor's number in its header.
	foreign := append([]byte{}, whole...)
	foreign[18], foreign[19] = 0x02, 0x00 // SPARC
	try("sparc", foreign, "EM_SPARC")

	// Libraries that load, but are not what they seem.
	cc, err := exec.LookPath("cc")
	if err != nil {
		t.Log("no C compiler to make fake libraries with")
		return
	}
	build := func(name, source string) []byte {
		src, lib := filepath.Join(dir, name+".c"), filepath.Join(dir, name+".so")
		if err := os.WriteFile(src, []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.Command(cc, "-shared", "-fPIC", "-o", lib, src).CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		data, err := os.ReadFile(lib)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	const base = `#include <stdio.h>
static const void *get_api(unsigned v) { fprintf(stderr, "The requested API version [%%u] is not available\n", v); return 0; }
static const char *version(void) { return %q; }
static struct { const void *(*a)(unsigned); const char *(*v)(void); } base = { get_api, version };
const void *OrtGetApiBase(void) { return &base; }
`
	try("other", build("other", "int answer(void) { return 42; }\n"), "lacks OrtGetApiBase")
	// Old ones are not asked for an API they lack: they would write to stderr.
	try("old", build("old", fmt.Sprintf(base, "1.23.2")), "1.23.2, too old: xpipe needs 1.24")
	try("unlinked", build("unlinked", "extern int nowhere_to_be_found; int *OrtGetApiBase(void) { return &nowhere_to_be_found; }\n"), "cannot be loaded: ")
}

// libraryFile is the library itself where orttest.Library may be its folder.
func libraryFile(t *testing.T) string {
	lib, err := ortlib.Find(orttest.Library(t), nil)
	if err != nil {
		t.Fatal(err)
	}
	return lib.Path
}

func TestOneLibraryPerProcess(t *testing.T) {
	t.Parallel()
	e := testEngine(t)
	if e.Name() != Name || ortlib.CheckVersion(e.Library().Version) != nil || e.Library().Path == "" || e.Library().Found == "" {
		t.Errorf("library %+v", e.Library())
	}
	if p := e.Providers(); len(p) == 0 || p[len(p)-1] != "CPUExecutionProvider" {
		t.Errorf("providers %v", p)
	}
	for _, opts := range [][]Option{nil, {WithLibrary(libraryFile(t))}, {WithLibrary(filepath.Dir(libraryFile(t)))}} {
		again, err := New(opts...)
		if err != nil || again.Library() != e.Library() {
			t.Errorf("the loaded library again: %v, %v", again, err)
		}
	}
	if _, err := New(WithLibrary("/elsewhere/libonnxruntime.so")); !errors.Is(err, engine.ErrEngine) || !strings.Contains(err.Error(), "already loaded") {
		t.Errorf("another library: %v", err)
	}
}

// The places in shim.c are those of the C API's header, which onnxruntime_go brings along.
func TestShimPlaces(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/yalue/onnxruntime_go").Output()
	if err != nil {
		t.Skip("the go command cannot say where onnxruntime_go lies: ", err)
	}
	header, err := os.ReadFile(filepath.Join(strings.TrimSpace(string(out)), "onnxruntime_c_api.h"))
	if err != nil {
		t.Fatal(err)
	}
	shim, err := os.ReadFile("shim.c")
	if err != nil {
		t.Fatal(err)
	}
	_, body, _ := strings.Cut(string(header), "\nstruct OrtApi {")
	body, _, ok := strings.Cut(body, "\n};")
	if !ok {
		t.Fatal("no struct OrtApi in the header")
	}
	body = regexp.MustCompile(`(?s)/\*.*?\*/|//[^\n]*|\n#[^\n]*`).ReplaceAllString(body, "")
	places := map[string]int{}
	name := regexp.MustCompile(`^(?:ORT_API2_STATUS\(\s*(\w+)|ORT_API_T\([^,]*,\s*(\w+)|ORT_CLASS_RELEASE\(\s*(\w+)|.*?\(\s*ORT_API_CALL\s*\*\s*(\w+))`)
	for _, declaration := range strings.Split(body, ";") {
		declaration = strings.Join(strings.Fields(declaration), " ")
		if declaration == "" {
			continue
		}
		m := name.FindStringSubmatch(declaration)
		if m == nil {
			t.Fatalf("cannot read %q", declaration)
		}
		if m[3] != "" {
			m[3] = "Release" + m[3]
		}
		places[m[1]+m[2]+m[3]+m[4]] = len(places)
	}
	checked := 0
	for _, m := range regexp.MustCompile(`\tORT_(\w+) = (\d+),`).FindAllStringSubmatch(string(shim), -1) {
		if place, ok := places[m[1]]; !ok || fmt.Sprint(place) != m[2] {
			t.Errorf("shim.c has %s at %s, the header at %d (%v)", m[1], m[2], place, ok)
		}
		checked++
	}
	if used := len(regexp.MustCompile(`CALL\(`).FindAllString(string(shim), -1)); checked < 25 || used < 25 {
		t.Errorf("%d places checked, %d calls seen", checked, used)
	}
	if !strings.Contains(string(header), "#define ORT_API_VERSION 24") || !strings.Contains(string(shim), "#define XORT_API_VERSION 24") {
		t.Error("shim.c and onnxruntime_go ask for different versions of the API")
	}
}
