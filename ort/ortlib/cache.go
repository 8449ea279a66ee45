package ortlib

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/crossattn/xpipe/ort/ortfile"
)

// CacheDir returns the folder whose subfolders Install fills, one a version.
func CacheDir() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", errorf("this user has no cache folder: %w", err)
	}
	return filepath.Join(dir, "xpipe", "onnxruntime"), nil
}

// foundInCache is Library.Found of what CacheDir holds.
const foundInCache = "cache of `xpipe runtime install`"

// receiptName is the file in an installed version's folder that says what was installed.
const receiptName = "install.json"

// receipt is what receiptName holds.
type receipt struct {
	Version   string            `json:"version"`
	Source    string            `json:"source"`
	Installed time.Time         `json:"installed"`
	SHA256    map[string]string `json:"sha256"` // of each file in the folder
}

// Installed is a version in the cache.
type Installed struct {
	Library
	Source  string `json:"source"`            // what it was installed from
	Problem string `json:"problem,omitempty"` // "" if its files are as they were installed
}

// List returns the versions in the cache, newest first. Each file is read and compared with what
// was installed.
func List() ([]Installed, error) {
	cache, err := CacheDir()
	if err != nil {
		return nil, err
	}
	var list []Installed
	for _, lib := range installedIn(cache, runtime.GOOS) {
		item := Installed{Library: lib}
		r, err := readReceipt(filepath.Dir(lib.Path))
		if err != nil {
			item.Problem = err.Error()
		} else {
			item.Source, item.Problem = r.Source, r.check(filepath.Dir(lib.Path))
		}
		list = append(list, item)
	}
	return list, nil
}

// Remove deletes a version from the cache.
func Remove(version string) error {
	cache, err := CacheDir()
	if err != nil {
		return err
	}
	return remove(cache, version, runtime.GOOS)
}

func remove(cache, version, goos string) error {
	var have []string
	for _, lib := range installedIn(cache, goos) {
		have = append(have, lib.Version)
	}
	if !slices.Contains(have, version) {
		return errorf("version %q is not installed; installed: %s", version, orNone(have))
	}
	// The folder is renamed first, in one step, so that no other process finds half of it.
	doomed, err := os.MkdirTemp(cache, tempPrefix+"*")
	if err != nil {
		return errorf("%w", err)
	}
	defer os.RemoveAll(doomed)
	if err := os.Rename(filepath.Join(cache, version), filepath.Join(doomed, version)); err != nil {
		return errorf("%w", err)
	}
	return nil
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none"
	}
	return strings.Join(list, ", ")
}

// installedIn lists the libraries in a cache, newest first.
func installedIn(cache, goos string) []Library {
	entries, err := os.ReadDir(cache)
	if err != nil {
		return nil
	}
	var libs []Library
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), tempPrefix) {
			continue
		}
		for _, path := range (ortfile.Machine{OS: goos}).In(filepath.Join(cache, e.Name())) {
			libs = append(libs, Library{Path: path, Version: e.Name(), Found: foundInCache})
			break
		}
	}
	slices.SortFunc(libs, func(a, b Library) int { return CompareVersions(b.Version, a.Version) })
	return libs
}

func readReceipt(dir string) (receipt, error) {
	var r receipt
	data, err := os.ReadFile(filepath.Join(dir, receiptName))
	if err == nil {
		err = json.Unmarshal(data, &r)
	}
	if err != nil {
		return r, errorf("the note of its installation cannot be read: %w", err)
	}
	return r, nil
}

// check compares the files of an installed version with its receipt.
func (r receipt) check(dir string) string {
	for name, want := range r.SHA256 {
		got, err := fileSHA256(filepath.Join(dir, filepath.Base(name)))
		switch {
		case err != nil:
			return err.Error()
		case got != want:
			return name + " has changed since it was installed; install it again"
		}
	}
	return ""
}

func fileSHA256(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}
