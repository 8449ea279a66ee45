package serving

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models/hub"
	"github.com/crossattn/xpipe/models/mini"
)

// Catalog says which models clients may name: those that the operator named, the embedded ones, those
// in the operator's folder, and those in the hub's cache. A name from a client never is a path of the
// machine.
type Catalog struct {
	// Named are models as --model takes them: names, folders, org/name of the hub. A folder is known to
	// clients by its last part.
	Named []string
	// Dir is a folder of models, known by their folders' names; "": there is none.
	Dir string
	// Aliases are further names: of a client's choice, for a model that is here.
	Aliases map[string]string

	mu    sync.Mutex
	infos map[string]api.ModelInfo
}

// Entry is a model that clients may name.
type Entry struct {
	Name  string // for clients
	model api.Model
}

// Path returns where the model lies, as api.Find takes it.
func (e Entry) Path() string { return e.model.Name }

// clientName is the name by which clients know what --model named.
func clientName(named string) string {
	if slices.Contains(mini.Names(), named) {
		return named
	}
	if info, err := os.Stat(named); err == nil && info.IsDir() {
		if whole, err := filepath.Abs(named); err == nil {
			return filepath.Base(whole)
		}
	}
	return named
}

// Given lists the models that the operator named, by the names for clients.
func (c *Catalog) Given() []string {
	names := make([]string, len(c.Named))
	for i, named := range c.Named {
		names[i] = clientName(named)
	}
	return names
}

// Find returns the model that a client names. A tag of Ollama's kind, ":latest", does not count.
// Errors wrap api.ErrNoModel.
func (c *Catalog) Find(name string) (Entry, error) {
	name = strings.TrimSuffix(name, ":latest")
	if alias, ok := c.Aliases[name]; ok {
		name = alias
	}
	for _, named := range c.Named {
		if name == clientName(named) || name == named && !filepath.IsAbs(named) {
			m, err := api.Find(named)
			return Entry{clientName(named), m}, err
		}
	}
	if slices.Contains(mini.Names(), name) {
		m, err := api.Find(name)
		return Entry{name, m}, err
	}
	if m, ok := c.inDir(name); ok {
		return Entry{name, m}, nil
	}
	if ref, err := hub.ParseRef(name); err == nil && strings.Count(ref.Repo, "/") == 1 && !isFile(name) {
		if m, err := api.Find(name); err == nil {
			return Entry{name, m}, nil
		}
	}
	return Entry{}, c.unknown(name)
}

// inDir finds a model in the operator's folder.
func (c *Catalog) inDir(name string) (api.Model, bool) {
	if c.Dir == "" || !fs.ValidPath(name) || name == "." || path.Clean(name) != name ||
		strings.ContainsAny(name, `\:`) {
		return api.Model{}, false
	}
	root, err := os.OpenRoot(c.Dir)
	if err != nil {
		return api.Model{}, false
	}
	defer root.Close()
	if info, err := root.Stat(name); err != nil || !info.IsDir() { // no link leads out of a root
		return api.Model{}, false
	}
	m, err := api.Find(filepath.Join(c.Dir, filepath.FromSlash(name)))
	return m, err == nil
}

// isFile reports whether a name of the hub's kind is a path here, which api.Find would take first.
func isFile(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

// unknown is the error for a name of no model. It does not quote what other clients asked for, nor
// where models lie.
func (c *Catalog) unknown(name string) error {
	names := c.Names()
	return fmt.Errorf("%w: there is no model %q here%s", api.ErrNoModel, name, api.DidYouMean(name, names))
}

// Names lists the models that clients may name, those that the operator named first, each once.
func (c *Catalog) Names() []string {
	names := append(c.Given(), mini.Names()...)
	if entries, err := os.ReadDir(c.Dir); c.Dir != "" && err == nil {
		for _, e := range entries {
			if _, ok := c.inDir(e.Name()); ok && api.LooksLikeModel(filepath.Join(c.Dir, e.Name())) {
				names = append(names, e.Name())
			}
		}
	}
	if cached, err := api.CachedModels(); err == nil {
		names = append(names, cached...)
	}
	var each []string
	for _, name := range names {
		if !slices.Contains(each, name) {
			each = append(each, name)
		}
	}
	return each
}

// defaults are the embedded models that do a task where a request names none.
var defaults = map[string]string{
	"caption": mini.BLIP2, "ask": mini.BLIP2, "attend": mini.BLIP2, "chat": mini.BLIP2,
	"match": mini.CLIP, "classify": mini.CLIP, "embed": mini.CLIP, "transcribe": mini.Whisper,
	"read": mini.OCR,
}

// For returns the model for a task, a verb of the command, where a request names none: the first that the
// operator named and that does it, else an embedded one. To read, a model has to give places.
func (c *Catalog) For(task string) string {
	for _, name := range c.Given() {
		info, err := c.Describe(context.Background(), name)
		if err == nil && slices.Contains(info.Tasks, task) && !(task == "read" && info.Placeless) {
			return info.Name
		}
	}
	return defaults[task]
}

// Listed is a model as a list shows it.
type Listed struct {
	api.ModelInfo
	Modified time.Time
}

// List describes the models that clients may name and that can be used, by what their files say: only
// those that name no tasks are opened for it, once.
func (c *Catalog) List(ctx context.Context) ([]Listed, error) {
	var list []Listed
	for _, name := range c.Names() {
		info, err := c.declared(name)
		if err == nil && info.Problem == "" && len(info.Tasks) == 0 {
			info, err = c.Describe(ctx, name)
		}
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			return nil, err
		}
		if err == nil && info.Problem == "" {
			list = append(list, info)
		}
	}
	return list, nil
}

// Declared describes the models that clients may name by their files alone: none is opened for it, and those
// that are of no use are left out.
func (c *Catalog) Declared() []Listed {
	var list []Listed
	for _, name := range c.Names() {
		if info, err := c.declared(name); err == nil && info.Problem == "" {
			list = append(list, info)
		}
	}
	return list
}

// declared describes one model by what was found out of it before, or else by its files.
func (c *Catalog) declared(name string) (Listed, error) {
	e, err := c.Find(name)
	if err != nil {
		return Listed{}, err
	}
	c.mu.Lock()
	info, known := c.infos[e.Path()]
	c.mu.Unlock()
	if !known {
		info = e.model.Declared()
	}
	info.Name = e.Name
	return Listed{info, e.modified()}, nil
}

// Describe describes one model, which is opened for it, once.
func (c *Catalog) Describe(ctx context.Context, name string) (Listed, error) {
	e, err := c.Find(name)
	if err != nil {
		return Listed{}, err
	}
	c.mu.Lock()
	info, ok := c.infos[e.Path()]
	c.mu.Unlock()
	if !ok {
		info = e.model.Info(ctx)
		if err := ctx.Err(); err != nil {
			return Listed{}, err
		}
		c.mu.Lock()
		if c.infos == nil {
			c.infos = map[string]api.ModelInfo{}
		}
		c.infos[e.Path()] = info
		c.mu.Unlock()
	}
	info.Name = e.Name
	return Listed{info, e.modified()}, nil
}

// modified is when a model's folder was written; that of an embedded one is when the program was.
func (e Entry) modified() time.Time {
	at := e.model.Name
	if e.model.Embedded {
		at, _ = os.Executable()
	}
	if info, err := os.Stat(at); err == nil {
		return info.ModTime()
	}
	return time.Time{}
}
