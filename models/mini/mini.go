// Package mini carries the small default models inside the program: a bundle a model, as
// tools/train makes them. It is a package of its own so that a program which only imports pipeline
// does not grow by their size. What each can and cannot do is on its card, NAME.md in this folder.
package mini

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// The bundle of each family, by what it is there for.
const (
	Captions = "blip2-mini"    // captions, questions about pictures
	Labels   = "clip-mini"     // matching and classifying without training, embeddings
	Shots    = "flamingo-mini" // learning from examples in the prompt
	Regions  = "lxmert-mini"   // questions about what stands where, from regions
)

// Default is the bundle for whoever names none.
const Default = Captions

//go:embed all:*-mini
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

// FS returns the embedded bundle of the given name, rooted at its xpipe.json. An unknown name is an
// error that lists the names there are.
func FS(name string) (fs.FS, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("no embedded model %q; there are: %s",
			name, strings.Join(Names(), ", "))
	}
	return fs.Sub(files, name)
}
