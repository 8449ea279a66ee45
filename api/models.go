package api

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/models/hub"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/tokenize/chat"
)

// ModelInfo is the line of models for one model.
type ModelInfo struct {
	Name     string        `json:"name"` // by which it is found: see Find
	Family   models.Family `json:"family,omitempty"`
	Tasks    []string      `json:"tasks"` // see TasksOf
	Bytes    int64         `json:"bytes"`
	Licence  string        `json:"licence,omitempty"` // "" where it is not known
	Embedded bool          `json:"embedded"`
	Problem  string        `json:"problem,omitempty"` // why it cannot be used
	// Placeless says that it reads pages and gives no places, once it was opened: see pipeline.Abilities.
	Placeless bool `json:"-"`
}

// embedded says of each embedded model what opening it would, which takes whisper-mini half a second.
// ATTRIBUTION.md names the licences of the data that they learned from.
var embedded = map[string]ModelInfo{
	mini.BLIP2:    {Family: family.BLIP2, Tasks: []string{"caption", "ask", "attend"}, Licence: "Apache-2.0"},
	mini.CLIP:     {Family: family.CLIP, Tasks: []string{"match", "classify", "embed", "attend"}, Licence: "Apache-2.0"},
	mini.Flamingo: {Family: family.Flamingo, Tasks: []string{"ask", "shots", "attend"}, Licence: "Apache-2.0"},
	mini.LXMERT:   {Family: family.LXMERT, Tasks: []string{"ask", "attend", "regions"}, Licence: "Apache-2.0"},
	mini.OCR:      {Family: family.OCR, Tasks: []string{"read"}, Licence: "Apache-2.0"},    // Baidu's
	mini.Whisper:  {Family: family.Whisper, Tasks: []string{"transcribe"}, Licence: "MIT"}, // OpenAI's
}

// ListModels describes the embedded models and those in the hub's cache, or those in the folders
// below dir where dir is not empty. A folder without xpipe.json or graphs is none; nor is a
// repository of the cache without a file that a model has. The error is the file system's, or ctx's.
func ListModels(ctx context.Context, dir string) ([]ModelInfo, error) {
	names := mini.Names()
	if dir == "" {
		cached, err := CachedModels()
		if err != nil {
			return nil, err
		}
		names = append(names, cached...)
	} else {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, WithKind(err, KindInput)
		}
		names = nil
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if info, err := os.Stat(path); err == nil && info.IsDir() && LooksLikeModel(path) {
				names = append(names, path)
			}
		}
	}
	var list []ModelInfo
	for _, name := range names {
		m, err := Find(name)
		if err != nil {
			return nil, err
		}
		list = append(list, m.Info(ctx))
		if err := ctx.Err(); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// CachedModels lists the names, org/name or org/name@revision, of what the hub's cache has with graphs.
func CachedModels() ([]string, error) {
	settings, err := HubSettings()
	if err != nil {
		return nil, err
	}
	cache := hub.Cache{Dir: settings.Cache}
	repos, err := cache.Repos()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, repo := range repos {
		for _, revision := range repo.Revisions {
			ref := hub.Ref{Repo: repo.Repo, Revision: revision}
			dir, err := cache.Snapshot(ref)
			if err == nil && LooksLikeModel(dir) && hasGraphs(dir) {
				names = append(names, ref.String())
			}
		}
	}
	return names, nil
}

// hasGraphs tells models that xpipe may run from the many that other programs keep in the cache.
func hasGraphs(dir string) bool {
	for _, pattern := range []string{"*.onnx", "*/*.onnx"} {
		if found, _ := filepath.Glob(filepath.Join(dir, pattern)); len(found) > 0 {
			return true
		}
	}
	return false
}

// RemoveModel deletes a model, org/name, from the hub's cache: every revision, and what other
// programs fetched of it. Errors wrap hub.ErrName or hub.ErrNotCached, or are the file system's.
func RemoveModel(name string) error {
	settings, err := HubSettings()
	if err != nil {
		return err
	}
	return hub.Cache{Dir: settings.Cache}.Remove(name)
}

// LooksLikeModel says whether a folder has the files by which models.Open tells a model.
func LooksLikeModel(dir string) bool {
	for _, name := range []string{models.ManifestName, "config.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// largeModel is from how many bytes on a model is not opened to see what it can do.
const largeModel = 256 << 20

// tryOut opens the model and asks what it can do.
func (m Model) tryOut(ctx context.Context, info *ModelInfo) error {
	e, _, err := EngineConfig{}.Open(Engines[0])
	if err != nil {
		return err
	}
	p, err := m.Open(ctx, pipeline.WithEngine(e), pipeline.WithoutVerification())
	if err != nil {
		return err
	}
	can := p.Abilities()
	info.Family, info.Tasks, info.Placeless = p.Bundle().Family, TasksOf(can), can.Placeless
	if made := p.Tasks(); !slices.Contains(made, "caption") { // it answers, and refuses to caption
		info.Tasks = slices.DeleteFunc(info.Tasks, func(task string) bool { return task == "caption" })
	}
	return p.Close()
}

// describe takes the family from the model's configuration, and its tasks where xpipe.json has them.
func (m Model) describe(info *ModelInfo) error {
	b, err := m.Bundle(models.WithoutVerification())
	if err != nil {
		return err
	}
	info.Family = b.Family
	for _, task := range b.Tasks {
		switch task { // in the words of TasksOf
		case "answer":
			task = "ask"
		case "converse":
			task = "shots"
		}
		info.Tasks = append(info.Tasks, task)
	}
	if b.Family == family.Whisper || b.Family == family.Moonshine {
		info.Tasks = append(info.Tasks, "transcribe") // which is all that they do
	}
	if template, err := chat.Load(b.File); err == nil && template != nil {
		info.Tasks = append(info.Tasks, "chat")
	}
	return b.Close()
}

// fileSystem has the model's files.
func (m Model) fileSystem() fs.FS {
	if m.files != nil {
		return m.files
	}
	return os.DirFS(m.folder()) // which follows the links of a hub's cache
}

// Bytes returns the size of the model's files, as far as they can be read.
func (m Model) Bytes() (total int64) {
	files := m.fileSystem()
	fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			if file, err := fs.Stat(files, name); err == nil && file.Mode().IsRegular() {
				total += file.Size()
			}
		}
		return nil // what cannot be read is the problem of opening
	})
	return total
}

// Info opens the model, on the Go engine and without comparing hashes, and describes it. Of one
// that is larger than 256 MiB it reads the configuration alone, and an embedded one it knows.
func (m Model) Info(ctx context.Context) ModelInfo {
	info := m.onDisk()
	if m.Embedded {
		info.Family, info.Tasks = embedded[m.Name].Family, slices.Clone(embedded[m.Name].Tasks)
		return info
	}
	var err error
	if info.Bytes > largeModel {
		err = m.describe(&info)
	} else {
		err = m.tryOut(ctx, &info)
	}
	if err != nil {
		info.Problem = OneLine(err)
	}
	return info
}

// Declared describes the model by its files, without opening it. It has no tasks where these name none:
// what else a model with a chat template does, only opening tells.
func (m Model) Declared() ModelInfo {
	info := m.onDisk()
	if err := m.describe(&info); err != nil {
		info.Problem = OneLine(err)
	}
	if slices.Equal(info.Tasks, []string{"chat"}) {
		info.Tasks = []string{}
	}
	return info
}

// onDisk is what can be said of a model from outside.
func (m Model) onDisk() ModelInfo {
	info := ModelInfo{Name: m.Name, Embedded: m.Embedded, Tasks: []string{}, Bytes: m.Bytes()}
	if m.Embedded {
		info.Licence = embedded[m.Name].Licence
	} else if card, err := fs.ReadFile(m.fileSystem(), models.CardName); err == nil {
		info.Licence = cardLicence(string(card))
	}
	return info
}

// cardLicence reads the licence of a model's card: the key "license" of the YAML before its text.
func cardLicence(card string) string {
	head, ok := strings.CutPrefix(strings.ReplaceAll(card, "\r\n", "\n"), "---\n")
	if !ok {
		return ""
	}
	head, _, _ = strings.Cut(head, "\n---")
	for line := range strings.Lines(head) {
		if value, ok := strings.CutPrefix(line, "license:"); ok {
			return strings.Trim(strings.TrimSpace(value), `"'`)
		}
	}
	return ""
}

// TasksOf are the words for what a model can do: verbs of the command, and "shots" for examples in
// the prompt, "regions" for finding objects and "lines" for reading lines that the embedded model finds.
func TasksOf(can pipeline.Abilities) []string {
	tasks := []string{}
	add := func(able bool, names ...string) {
		if able {
			tasks = append(tasks, names...)
		}
	}
	// A model that reads text alone has only chat, and one that hears only transcribe.
	sees := slices.ContainsFunc(can.Media, func(k media.Kind) bool { return k != media.Sounds })
	add(can.Write && sees, "caption")
	add(can.Write && sees || can.Pick, "ask")
	add(can.Chat, "chat")
	add(can.Examples, "shots")
	add(can.Match, "match", "classify")
	add(can.Embed, "embed")
	add(can.Attend, "attend")
	add(can.Transcribe, "transcribe")
	add(can.Regions, "regions")
	add(can.Read, "read")
	add(can.ReadLines, "lines")
	return tasks
}
