package models

import (
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
)

// rootFiles are what makes a folder itself a model.
var rootFiles = []string{ManifestName, "config.json", genAIName, "open_clip_config.json", "modules.json"}

const genAIName = "genai_config.json"

// How far and among how many entries a package is looked for in a folder that is no model itself.
const (
	packageDepth   = 3
	packageEntries = 10_000
)

// packageFolder returns the folder of onnxruntime-genai's package among the files of a repository that
// is no model itself, as those are that have a package for each kind of device
// (cpu_and_mobile/cpu-int4-rtn-block-32/genai_config.json); "." where there is none. Several give an error
// that lists them and wraps ErrBundle. A folder without a graph, of which nothing more was fetched, is none.
func packageFolder(names []string) (string, error) {
	configs, graphs := map[string]bool{}, map[string]bool{}
	for _, name := range names {
		switch {
		case slices.Contains(rootFiles, name), name == "refs/main": // the hub's own folder of a repository
			return ".", nil
		case path.Base(name) == genAIName:
			configs[path.Dir(name)] = true
		case path.Ext(name) == ".onnx":
			graphs[path.Dir(name)] = true
		}
	}
	maps.DeleteFunc(configs, func(folder string, _ bool) bool { return !graphs[folder] })
	found := slices.Sorted(maps.Keys(configs))
	switch len(found) {
	case 0:
		return ".", nil
	case 1:
		return found[0], nil
	}
	return "", fmt.Errorf("%w: there are %d packages of onnxruntime-genai here, in %s; name the folder of one",
		ErrBundle, len(found), strings.Join(found, ", "))
}

// packageIn returns the folder of a file system that packageFolder finds.
func packageIn(fsys fs.FS) (string, error) {
	for _, name := range rootFiles {
		if _, err := fs.Stat(fsys, name); err == nil {
			return ".", nil
		}
	}
	var names []string
	seen := 0
	err := fs.WalkDir(fsys, ".", func(name string, entry fs.DirEntry, err error) error {
		seen++
		switch {
		case err != nil && name == ".":
			return err
		case err != nil: // it may be unreadable, and no part of a model
			return nil
		case seen > packageEntries:
			return fs.SkipAll
		case !entry.IsDir():
			names = append(names, name)
		case strings.Count(name, "/") >= packageDepth:
			return fs.SkipDir
		}
		return nil
	})
	if err != nil {
		return "", fmt.Errorf("%w: %w", ErrBundle, err)
	}
	return packageFolder(names)
}
