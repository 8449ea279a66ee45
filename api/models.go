package api

import (
	"context"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
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
}

// embeddedLicence is that of the embedded models; ATTRIBUTION.md names those of their data.
const embeddedLicence = "Apache-2.0"

// ListModels describes the embedded models, or those in the folders below dir where dir is not
// empty. A folder without xpipe.json or graphs is none. The error is the file system's, or ctx's.
func ListModels(ctx context.Context, dir string) ([]ModelInfo, error) {
	names := mini.Names()
	if dir != "" {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, WithKind(err, KindInput)
		}
		names = nil
		for _, e := range entries {
			path := filepath.Join(dir, e.Name())
			if info, err := os.Stat(path); err == nil && info.IsDir() && looksLikeModel(path) {
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

// looksLikeModel says whether a folder has the files by which models.Open tells a model.
func looksLikeModel(dir string) bool {
	for _, name := range []string{models.ManifestName, "config.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// Info opens the model, on the Go engine and without comparing hashes, and describes it.
func (m Model) Info(ctx context.Context) ModelInfo {
	info := ModelInfo{Name: m.Name, Embedded: m.Embedded, Tasks: []string{}}
	files := m.files
	if files == nil {
		files = os.DirFS(m.Name)
	}
	fs.WalkDir(files, ".", func(_ string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			if file, err := d.Info(); err == nil {
				info.Bytes += file.Size()
			}
		}
		return nil // what cannot be read is the problem of opening
	})
	if m.Embedded {
		info.Licence = embeddedLicence
	}
	e, _, err := EngineConfig{}.Open(Engines[0])
	if err == nil {
		var p *pipeline.Pipeline
		p, err = m.Open(ctx, pipeline.WithEngine(e), pipeline.WithoutVerification())
		if err == nil {
			info.Family, info.Tasks = p.Bundle().Family, TasksOf(p.Abilities())
			err = p.Close()
		}
	}
	if err != nil {
		info.Problem = OneLine(err)
	}
	return info
}

// TasksOf are the words for what a model can do: verbs of the command, and "shots" for examples in
// the prompt and "regions" for finding objects.
func TasksOf(can pipeline.Abilities) []string {
	tasks := []string{}
	add := func(able bool, names ...string) {
		if able {
			tasks = append(tasks, names...)
		}
	}
	add(can.Write, "caption")
	add(can.Write || can.Pick, "ask")
	add(can.Examples, "shots")
	add(can.Match, "match", "classify")
	add(can.Embed, "embed")
	add(can.Attend, "attend")
	add(can.Regions, "regions")
	return tasks
}
