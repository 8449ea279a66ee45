// Package mini carries the small default models inside the program: a bundle a model, as models/train makes
// them. It is a package of its own so that a program which only imports pipeline does not grow by their size.
// What each can and cannot do is in the README.md of its bundle.
package mini

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// Default is the name of the bundle that captions pictures and answers questions about them.
const Default = "blip2-mini"

//go:embed all:blip2-mini
var files embed.FS

// Names lists the embedded bundles, sorted.
func Names() []string {
	entries, err := files.ReadDir(".")
	if err != nil {
		return nil
	}
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	slices.Sort(names)
	return names
}

// FS returns the embedded bundle of the given name, rooted at its xpipe.json. An unknown name is an error
// that lists the names there are.
func FS(name string) (fs.FS, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("no embedded model %q; there are: %s", name, strings.Join(Names(), ", "))
	}
	return fs.Sub(files, name)
}
