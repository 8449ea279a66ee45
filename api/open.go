package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/models/hub"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/vision"
)

// ErrNoModel says that there is no model of a name. Such errors wrap models.ErrBundle, too.
var ErrNoModel = errors.New("no such model")

// Model is a model that was found by its name and is not opened yet.
type Model struct {
	// Name is what it was found by.
	Name string
	// Embedded says that the model is part of the program.
	Embedded bool

	files fs.FS  // nil: the file or folder at path
	path  string // "" stands for Name
}

// finders are the kinds of names, tried in order; each returns false where a name is none of its
// kind.
var finders = []func(name string) (Model, bool){findEmbedded, findPath, findCached}

// Find returns the model that a name stands for: that of an embedded model (mini.Names), of a file
// or folder, or else org/name or org/name@revision, of a model in the cache of Hugging Face's hub.
// Nothing is fetched. Errors wrap ErrNoModel and models.ErrBundle.
func Find(name string) (Model, error) {
	for _, find := range finders {
		if m, ok := find(name); ok {
			return m, nil
		}
	}
	err := noModel(name, "file or folder")
	if ref, notHub := hub.ParseRef(name); notHub == nil {
		err = fmt.Errorf("%w; nor is %s in the cache of the hub, and it is not fetched", err, ref)
	}
	return Model{}, err
}

func findEmbedded(name string) (Model, bool) {
	files, err := mini.FS(name)
	return Model{Name: name, Embedded: true, files: files}, err == nil
}

func findPath(name string) (Model, bool) {
	_, err := os.Stat(name)
	return Model{Name: name}, err == nil
}

// findCached finds a model that other programs fetched from the hub.
func findCached(name string) (Model, bool) {
	ref, err := hub.ParseRef(name)
	if err != nil {
		return Model{}, false
	}
	settings, err := HubSettings()
	if err != nil {
		return Model{}, false
	}
	dir, err := hub.Cache{Dir: settings.Cache}.Snapshot(ref)
	return Model{Name: name, path: dir}, err == nil
}

// noModelError is ErrNoModel under a message that begins with models.ErrBundle's.
type noModelError struct{ error }

func (e noModelError) Unwrap() []error { return []error{ErrNoModel, e.error} }

func noModel(name, what string) error {
	return noModelError{fmt.Errorf(
		"%w: there is no embedded model and no %s named %q%s (embedded are %s)",
		models.ErrBundle, what, name, DidYouMean(name, mini.Names()),
		strings.Join(mini.Names(), ", "))}
}

// String names the model for people.
func (m Model) String() string {
	if m.Embedded {
		return m.Name + " (embedded)"
	}
	return m.Name
}

// Open opens the model, with the errors of pipeline.Open.
func (m Model) Open(ctx context.Context, opts ...pipeline.Option) (*pipeline.Pipeline, error) {
	if m.files != nil {
		return pipeline.OpenFS(ctx, m.files, opts...)
	}
	return pipeline.Open(ctx, m.folder(), opts...)
}

// Bundle opens the model's files alone, with the errors of models.Open.
func (m Model) Bundle(opts ...models.Option) (*models.Bundle, error) {
	opts = append(opts, family.Families.Known())
	if m.files != nil {
		return models.OpenFS(m.files, opts...)
	}
	return models.Open(m.folder(), opts...)
}

// ReadsTextAlone reports whether the model takes no pictures or other items, which its configuration
// says. It is false for one that cannot be opened.
func (m Model) ReadsTextAlone(opts ...models.Option) bool {
	b, err := m.Bundle(append(opts, models.WithoutVerification())...)
	if err != nil {
		return false
	}
	defer b.Close()
	row, err := family.Families.Find(b.Family)
	return err == nil && row.TextOnly
}

// folder is where the model lies that is not embedded.
func (m Model) folder() string { return cmp.Or(m.path, m.Name) }

// Open finds a model by its name, as Find does, and opens it. It is the one function that opens
// whatever --model of the command takes; pipeline.Open opens folders, and package mini has the
// embedded models.
func Open(ctx context.Context, name string, opts ...pipeline.Option) (*pipeline.Pipeline, error) {
	m, err := Find(name)
	if err != nil {
		return nil, err
	}
	return m.Open(ctx, opts...)
}

// OpenBundle finds a model by its name and opens its files.
func OpenBundle(name string, opts ...models.Option) (*models.Bundle, error) {
	m, err := Find(name)
	if err != nil {
		return nil, err
	}
	return m.Bundle(opts...)
}

// OpenGraph opens a graph: the file at a path, or where there is none MODEL/ROLE, a model's graph of
// that role. Errors name it and wrap engine.ErrGraph or engine.ErrEngine.
func OpenGraph(
	ctx context.Context, e engine.Engine, path string, opts engine.Options,
) (engine.Session, error) {
	info, err := os.Stat(path)
	if err != nil {
		at := strings.LastIndexByte(path, '/')
		if at > 0 && !strings.HasSuffix(path, ".onnx") {
			if m, noModel := Find(path[:at]); noModel == nil {
				return openRole(ctx, e, m, path[at+1:], opts)
			}
		}
		return nil, fmt.Errorf("%w: %w", engine.ErrGraph, err)
	}
	if info.IsDir() {
		return nil, fmt.Errorf("%w: %s is a folder; give the .onnx file in it",
			engine.ErrGraph, path)
	}
	session, err := e.Open(ctx, engine.FileSource(path), opts)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return session, nil
}

// openRole opens the graph of a role of a model.
func openRole(
	ctx context.Context, e engine.Engine, m Model, role string, opts engine.Options,
) (engine.Session, error) {
	bundle, err := m.Bundle()
	if err != nil {
		return nil, err
	}
	defer bundle.Close()
	if !bundle.Has(role) {
		roles := slices.Sorted(maps.Keys(bundle.Graphs))
		return nil, fmt.Errorf("%w: %s has no graph %q%s (it has %s)", engine.ErrGraph, m.Name,
			role, DidYouMean(role, roles), strings.Join(roles, ", "))
	}
	source, err := bundle.Graph(role)
	if err != nil {
		return nil, err
	}
	session, err := e.Open(ctx, source, opts)
	if err != nil {
		return nil, fmt.Errorf("%s/%s: %w", m.Name, role, err)
	}
	return session, nil
}

// OpenPreprocessor reads how a model prepares its pictures, and names the file of its folder that
// says so. The model need not be whole: no graph of it is read. Errors wrap models.ErrBundle.
func OpenPreprocessor(name string) (*vision.Preprocessor, string, error) {
	m, found := findEmbedded(name)
	if !found {
		if info, err := os.Stat(name); err != nil || !info.IsDir() {
			return nil, "", noModel(name, "folder")
		}
		m.files = os.DirFS(name)
	}
	read := func(file string) ([]byte, error) { return fs.ReadFile(m.files, file) }
	// Where the model is whole, it knows of more folders.
	if bundle, err := m.Bundle(models.WithoutVerification()); err == nil {
		defer bundle.Close()
		read = bundle.File
	}
	data, file, err := vision.ReadConfig(read)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %s: %w", models.ErrBundle, name, err)
	}
	p, err := vision.ParseConfig(data)
	if err != nil {
		path := filepath.Join(name, file)
		return nil, "", fmt.Errorf("%w: %s: %w", models.ErrBundle, path, err)
	}
	return p, file, nil
}
