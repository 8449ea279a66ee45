package ortlib

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/crossattn/xpipe/ort/ortfile"
)

// Find returns the first library that can be used: the explicit path if there is one, else the one
// XPIPE_ORT_LIB names, else the newest in the cache that Install fills, else one in the usual
// places of the system, else that of the onnxruntime package of the Python on PATH. A path may name
// a folder.
//
// accept, if not nil, decides last on a candidate that Inspect found good; package ort loads it
// there. A library named explicitly or by XPIPE_ORT_LIB is used or refused; the search goes on
// after a candidate that cannot be used only where neither names one. The error lists every place
// and says what to do.
func Find(explicit string, accept func(Library) error) (Library, error) {
	return systemSearch().find(explicit, accept)
}

// search is a machine as Find sees it.
type search struct {
	goos, goarch string
	getenv       func(string) string
	cache        string // folder of installed libraries; "" where there is none
	executable   string // path of this program; "" if unknown
	root         string // put before absolute system folders, for tests
	python       func() (folder string, err error)
}

func systemSearch() *search {
	s := &search{goos: runtime.GOOS, goarch: runtime.GOARCH, getenv: os.Getenv,
		python: pythonPackage}
	s.cache, _ = CacheDir()
	if exe, err := os.Executable(); err == nil {
		if resolved, err := filepath.EvalSymlinks(exe); err == nil {
			exe = resolved
		}
		s.executable = exe
	}
	return s
}

// place is one step of the search: candidates to try, or why there are none.
type place struct {
	how   string
	paths []string
	why   string
}

func (s *search) find(explicit string, accept func(Library) error) (Library, error) {
	for _, named := range []struct{ how, path string }{
		{"the path given", explicit}, {Env, s.getenv(Env)},
	} {
		if named.path != "" {
			return s.machine().Named(named.how, named.path, accept)
		}
	}
	looked := []string{Env + ": not set"}
	for _, next := range []func() place{s.installed, s.system, s.pip} {
		p := next()
		lib, problems := s.machine().First(p.how, p.paths, accept)
		if lib.Path != "" {
			return lib, nil
		}
		for _, problem := range problems {
			looked = append(looked, p.how+": "+problem)
		}
		if len(p.paths) == 0 {
			looked = append(looked, p.how+": "+p.why)
		}
	}
	return Library{}, &SearchError{Looked: looked}
}

func (s *search) machine() ortfile.Machine { return ortfile.Machine{OS: s.goos, Arch: s.goarch} }

func (s *search) installed() place {
	p := place{how: foundInCache, why: s.cache + " is empty"}
	if s.cache == "" {
		p.why = "this user has no cache folder"
	}
	for _, lib := range installedIn(s.cache, s.goos) {
		p.paths = append(p.paths, lib.Path)
	}
	return p
}

func (s *search) system() place {
	p := place{how: "system"}
	var folders []string
	add := func(names ...string) {
		for _, f := range names {
			if f != "" && filepath.IsAbs(f) && !slices.Contains(folders, f) {
				folders = append(folders, f)
			}
		}
	}
	if s.executable != "" {
		dir := filepath.Dir(s.executable)
		add(dir, filepath.Join(dir, "lib"), filepath.Join(dir, "..", "lib"))
	}
	absolute := func(names ...string) {
		for _, f := range names {
			add(filepath.Join(s.root, f))
		}
	}
	switch s.goos {
	case "windows":
		// Not System32: the onnxruntime.dll that Windows itself brings is old.
		for _, base := range []string{s.getenv("ProgramFiles"), s.getenv("LOCALAPPDATA")} {
			if base != "" {
				base = filepath.Join(base, "onnxruntime")
				add(base, filepath.Join(base, "lib"), filepath.Join(base, "bin"))
			}
		}
		for _, f := range filepath.SplitList(s.getenv("PATH")) {
			if !strings.EqualFold(filepath.Base(f), "system32") {
				add(f)
			}
		}
	case "darwin":
		add(filepath.SplitList(s.getenv("DYLD_LIBRARY_PATH"))...)
		absolute("/opt/homebrew/lib", "/opt/homebrew/opt/onnxruntime/lib",
			"/usr/local/lib", "/usr/local/opt/onnxruntime/lib", "/opt/local/lib")
	default:
		add(filepath.SplitList(s.getenv("LD_LIBRARY_PATH"))...)
		triplet := map[string]string{"amd64": "x86_64-linux-gnu",
			"arm64": "aarch64-linux-gnu"}[s.goarch]
		absolute("/usr/local/lib", "/usr/local/lib64", "/usr/lib/"+triplet,
			"/usr/lib", "/usr/lib64", "/lib/"+triplet, "/lib64",
			"/usr/local/onnxruntime/lib", "/opt/onnxruntime/lib", "/home/linuxbrew/.linuxbrew/lib")
	}
	for _, f := range folders {
		p.paths = append(p.paths, s.librariesIn(f)...)
	}
	p.why = "nothing in " + strings.Join(folders, ", ")
	return p
}

func (s *search) pip() place {
	p := place{how: "onnxruntime package of Python"}
	folder, err := s.python()
	if err != nil {
		p.why = err.Error()
		return p
	}
	p.paths = s.librariesIn(filepath.Join(folder, "capi"))
	p.why = "no library in " + folder
	return p
}

// librariesIn lists the libraries in a folder, newest first.
func (s *search) librariesIn(folder string) []string { return s.machine().In(folder) }

// pythonTimeout is for a cold start from a slow disk.
const pythonTimeout = 15 * time.Second

// pythonPackage asks the Python on PATH where its onnxruntime package lies. It does not import the
// package: that takes a second, and a broken one may crash. It drops the current folder from
// Python's path, so that no code is taken from there.
func pythonPackage() (string, error) {
	const ask = `import sys
sys.path[:] = [p for p in sys.path if p]
from importlib.util import find_spec
spec = find_spec("onnxruntime")
print(spec.submodule_search_locations[0] if spec and spec.submodule_search_locations else "")`
	var python string
	for _, name := range []string{"python3", "python"} {
		if path, err := exec.LookPath(name); err == nil {
			python = path
			break
		}
	}
	if python == "" {
		return "", errors.New("no python3 on PATH")
	}
	ctx, cancel := context.WithTimeout(context.Background(), pythonTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, python, "-c", ask)
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		return "", errors.New(python + " did not answer: " + err.Error())
	}
	folder := strings.TrimSpace(string(out))
	if folder == "" {
		return "", errors.New(python + " has none")
	}
	return folder, nil
}
