// Package mini embeds the small default models in the program, one bundle each, as tools/train
// makes them. It is a package of its own so that a program which only imports pipeline does not
// grow by their size. NAME.md in this folder is a model's card: its tasks, figures and failures.
package mini

import (
	"embed"
	"fmt"
	"io/fs"
	"slices"
	"strings"
)

// The names of the bundles, by task.
const (
	Captions = "blip2-mini"    // captions, questions about pictures
	Labels   = "clip-mini"     // matching and classifying without training, embeddings
	Shots    = "flamingo-mini" // learning from examples in the prompt
	Regions  = "lxmert-mini"   // questions about positions of objects, from regions
)

// Default is the bundle that commands use where the user names none.
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

// FS returns the embedded bundle of the given name, as a file system with xpipe.json at its root.
// An unknown name gives an error that lists the known ones.
func FS(name string) (fs.FS, error) {
	if !slices.Contains(Names(), name) {
		return nil, fmt.Errorf("no embedded model %q; there are: %s",
			name, strings.Join(Names(), ", "))
	}
	return fs.Sub(files, name)
}
