package api

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/models/hub"
	"github.com/crossattn/xpipe/models/hub/fetch"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/pipeline/family"
)

// Pull says what of a repository on the hub to fetch.
type Pull struct {
	Ref      hub.Ref
	Settings hub.Settings // HubSettings
	Variant  string       // as models.WithVariant; "" for the plain graphs, or the only ones
	// Include are patterns (path.Match, of the whole path or the file's name) of files to fetch too.
	// Where the model is of no family that xpipe knows, they are all that is fetched.
	Include  []string
	Progress func(fetch.Progress) // may be nil
}

// Pulled is the line of pull.
type Pulled struct {
	Model    Name   `json:"model"`
	Revision string `json:"revision"`
	Commit   string `json:"commit"`
	Dir      Name   `json:"dir"` // of the snapshot
	Files    []Name `json:"files"`
	Bytes    int64  `json:"bytes"`             // of the files
	Licence  string `json:"licence,omitempty"` // the tag of the model's card
}

// HubSettings reads what the environment says of the hub and its cache.
func HubSettings() (hub.Settings, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return hub.Settings{}, err
	}
	return hub.Environment(os.Getenv, home)
}

// Do fetches the files into the hub's cache. The small ones come first: they say which of the others
// are needed. Errors are those of package fetch, or wrap models.ErrBundle.
func (p Pull) Do(ctx context.Context) (Pulled, error) {
	client := fetch.NewClient(p.Settings)
	info, err := client.Info(ctx, p.Ref)
	if err != nil {
		return Pulled{}, err
	}
	var small []fetch.File
	var names []string
	for _, f := range info.Files {
		names = append(names, f.Path)
		if models.IsSmall(f.Path) {
			small = append(small, f)
		}
	}
	dir, err := client.Pull(ctx, info, small, nil)
	if err != nil {
		return Pulled{}, err
	}
	done := Pulled{
		Model: Name(p.Ref.Repo), Revision: p.Ref.Revision, Commit: info.Commit, Dir: Name(dir), Licence: info.License,
	}
	fetchAll := func(wanted []string) error {
		var files []fetch.File
		for _, f := range info.Files {
			if slices.Contains(wanted, f.Path) && !slices.Contains(done.Files, Name(f.Path)) {
				files = append(files, f)
				done.Files = append(done.Files, Name(f.Path))
				done.Bytes += f.Size
			}
		}
		if len(files) == 0 {
			return nil
		}
		_, err := client.Pull(ctx, info, files, p.Progress)
		return err
	}
	needed, err := p.needed(names, dir, func(name string) error { return fetchAll([]string{name}) })
	if err != nil {
		return Pulled{}, fmt.Errorf("%s: %w", p.Ref, err)
	}
	if err := fetchAll(needed); err != nil {
		return done, err
	}
	weights, err := weightsOf(needed, dir)
	if err != nil {
		return done, err
	}
	return done, fetchAll(weights)
}

// weightsOf lists the files that graphs of a snapshot say their weights lie in, whatever they are called.
// A graph that cannot be read is reported when it is opened.
func weightsOf(names []string, dir string) ([]string, error) {
	folder, _, err := hub.SnapshotFS(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	var weights []string
	for _, name := range names {
		if path.Ext(name) != ".onnx" {
			continue
		}
		graph, err := onnx.Load(onnx.Source{FS: folder, Name: name})
		if err != nil {
			continue
		}
		weights = append(weights, graph.ExternalFiles()...)
		graph.Close()
	}
	return weights, nil
}

// needed lists the files of the variant and those that are included. fetch gets a graph whose name does
// not say what it is.
func (p Pull) needed(names []string, dir string, fetch func(name string) error) ([]string, error) {
	folder, ok, err := hub.SnapshotFS(dir)
	if err == nil && !ok {
		err = fmt.Errorf("%s is no snapshot", dir)
	}
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	opts := []models.Option{family.Families.Known(), models.WithGraphs(func(name string) (fs.FS, error) {
		return folder, fetch(name)
	})}
	if p.Variant != "" {
		opts = append(opts, models.WithVariant(p.Variant))
	}
	read := func(name string) ([]byte, error) {
		if !models.IsSmall(name) {
			return nil, fs.ErrNotExist
		}
		return fs.ReadFile(folder, name)
	}
	needed, err := models.Needed(names, read, opts...)
	if err != nil && len(p.Include) == 0 {
		return nil, fmt.Errorf("%w; --include PATTERN fetches files all the same", err)
	}
	for _, pattern := range p.Include {
		found := false
		for _, name := range names {
			whole, err := path.Match(pattern, name)
			if err != nil {
				return nil, Usagef("--include %q: %w", pattern, err)
			}
			base, _ := path.Match(pattern, path.Base(name))
			if whole || base {
				needed, found = append(needed, name), true
			}
		}
		if !found {
			return nil, Usagef("--include %q fits none of the %d files", pattern, len(names))
		}
	}
	return needed, nil
}
