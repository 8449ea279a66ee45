package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/ort"
	"github.com/crossattn/xpipe/ort/ortlib"
	"github.com/crossattn/xpipe/ort/orttest"
)

// emptyCache gives the verbs a cache of their own, on any system.
func emptyCache(t *testing.T) {
	dir := t.TempDir()
	for _, key := range []string{"XDG_CACHE_HOME", "HOME", "LocalAppData"} {
		t.Setenv(key, dir)
	}
	t.Setenv(ortlib.Env, "")
}

func testEnvironment() (env *environment, stdout, stderr *bytes.Buffer) {
	stdout, stderr = &bytes.Buffer{}, &bytes.Buffer{}
	return &environment{stdin: strings.NewReader(""), stdout: stdout, stderr: stderr}, stdout, stderr
}

func TestRuntimeVerbs(t *testing.T) {
	library := orttest.Library(t)
	emptyCache(t)
	env, stdout, _ := testEnvironment()
	ctx := t.Context()
	if err := runRuntimeList(env); err != nil || stdout.Len() > 0 {
		t.Fatalf("list of an empty cache: %v, %q", err, stdout)
	}
	if err := runRuntimeInstall(ctx, env, ortlib.InstallOptions{From: library}); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(stdout.String(), "installed ONNX Runtime 1.") {
		t.Errorf("install says %q", stdout)
	}
	stdout.Reset()
	if err := runRuntimePath(env); err != nil {
		t.Fatal(err)
	}
	path := strings.TrimSpace(stdout.String())
	if _, err := ortlib.Inspect(path); err != nil || !strings.Contains(path, "xpipe") {
		t.Errorf("path is %q: %v", path, err)
	}
	env.json = true
	for _, verb := range []func(*environment) error{runRuntimePath, runRuntimeList} {
		stdout.Reset()
		var lib ortlib.Installed
		if err := errors.Join(verb(env), json.Unmarshal(stdout.Bytes(), &lib)); err != nil || lib.Path != path || lib.Problem != "" {
			t.Errorf("%s: %v", stdout, err)
		}
	}
	if err := os.Truncate(path, 1000); err != nil {
		t.Fatal(err)
	}
	stdout.Reset()
	if err := runRuntimeList(env); err != nil || !strings.Contains(stdout.String(), "has changed") {
		t.Errorf("list of a damaged library: %v, %q", err, stdout)
	}
	if err := runRuntimeRemove(env, nil, true); err != nil {
		t.Error(err)
	}
	stdout.Reset()
	if err := runRuntimeList(env); err != nil || stdout.Len() > 0 {
		t.Errorf("list after remove --all: %v, %q", err, stdout)
	}
}

func TestRuntimeErrors(t *testing.T) {
	emptyCache(t)
	t.Setenv("PATH", t.TempDir()) // no Python
	env, _, _ := testEnvironment()
	ctx := t.Context()
	for name, c := range map[string]struct {
		err  error
		exit int
	}{
		"not pinned":   {runRuntimeInstall(ctx, env, ortlib.InstallOptions{}), api.ExitEngine},
		"no pip":       {runRuntimeInstall(ctx, env, ortlib.InstallOptions{From: "pip"}), api.ExitEngine},
		"missing file": {runRuntimeInstall(ctx, env, ortlib.InstallOptions{From: "nowhere.whl"}), api.ExitInput},
		"no library":   {runRuntimeInstall(ctx, env, ortlib.InstallOptions{From: t.TempDir()}), api.ExitEngine},
		"plain http":   {runRuntimeInstall(ctx, env, ortlib.InstallOptions{From: "http://localhost/a.tgz"}), api.ExitEngine},
		"nothing":      {runRuntimeRemove(env, nil, false), api.ExitUsage},
		"both":         {runRuntimeRemove(env, []string{"1.24.4"}, true), api.ExitUsage},
		"unknown":      {runRuntimeRemove(env, []string{"1.24.4"}, false), api.ExitEngine},
	} {
		if got := api.KindOf(c.err).Exit; got != c.exit {
			t.Errorf("%s: exit code %d, want %d: %v", name, got, c.exit, c.err)
		}
	}
}

func TestDoctor(t *testing.T) {
	library := orttest.Library(t)
	emptyCache(t)
	env, stdout, _ := testEnvironment()
	env.json = true
	if err := runDoctor(t.Context(), env, doctorOptions{libraries: libraries{ort.Name: library}}); err != nil {
		t.Fatal(err)
	}
	var r api.Diagnosis
	if err := json.Unmarshal(stdout.Bytes(), &r); err != nil {
		t.Fatal(err)
	}
	native, onnx := r.Engines["go"], r.Engines["ort"]
	if !r.OK || !r.Model.OK || r.Model.Files == 0 || !native.Trial.OK || r.CPU.Threads == 0 || r.Go == "" || len(r.Tools) != 2 {
		t.Errorf("report %s", stdout)
	}
	if onnx.Built && (r.Engine != "ort" || onnx.Library == nil || !onnx.Trial.OK || len(onnx.Providers) == 0) {
		t.Errorf("engine ort: %+v", onnx)
	}
	var before struct { // the table of engines
		GoEngine  api.EngineState `json:"go_engine"`
		OrtEngine api.EngineState `json:"ort_engine"`
	}
	if err := json.Unmarshal(stdout.Bytes(), &before); err != nil || !reflect.DeepEqual(before.GoEngine, native) || !reflect.DeepEqual(before.OrtEngine, onnx) {
		t.Errorf("%v: the keys go_engine and ort_engine differ from engines: %s", err, stdout)
	}
	env.json = false
	stdout.Reset()
	if err := runDoctor(t.Context(), env, doctorOptions{libraries: libraries{ort.Name: library}}); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"xpipe", "cpu", "model", "captioned a picture", "python3", "ffmpeg"} {
		if !strings.Contains(stdout.String(), word) {
			t.Errorf("the report does not speak of %q:\n%s", word, stdout)
		}
	}
}

// The report says what to do about each missing thing.
func TestDoctorAdvice(t *testing.T) {
	t.Parallel()
	d := api.Diagnosis{
		Engines: map[string]api.EngineState{ort.Name: {
			Trial: api.CaptionTrial{Problem: "broken"}, Looked: []string{"here: nothing"},
		}},
		Advice: []engine.Advice{{Missing: "engine ort", Do: "install it"}},
	}
	env, stdout, _ := testEnvironment()
	if err := printDiagnosis(env, d); err != nil {
		t.Fatal(err)
	}
	for _, word := range []string{"not usable: broken", "looked at here: nothing", "to do", "install it", "NOT USABLE"} {
		if !strings.Contains(stdout.String(), word) {
			t.Errorf("the report does not say %q:\n%s", word, stdout)
		}
	}
	if err := libraryError(fs.ErrInvalid); !errors.Is(err, engine.ErrEngine) {
		t.Error(err)
	}
}
