package web

import (
	"context"
	"net/http"
	"slices"
	"strings"

	server "github.com/crossattn/xpipe/server/web"
	"github.com/crossattn/xpipe/studio"
)

// newWorkspace makes a workspace.
func (p *Page) newWorkspace(w http.ResponseWriter, r *http.Request) error {
	var space studio.Workspace
	var given struct {
		Name string `json:"name"`
	}
	if err := read(r, &given); err != nil {
		return err
	}
	space.Name = strings.TrimSpace(given.Name)
	if err := p.store.AddWorkspace(r.Context(), &space); err != nil {
		return err
	}
	return done(w, map[string]any{"go": "/studio/w/" + string(space.ID)})
}

// changeWorkspace renames a workspace.
func (p *Page) changeWorkspace(w http.ResponseWriter, r *http.Request) error {
	var given struct {
		Name string `json:"name"`
	}
	if err := read(r, &given); err != nil {
		return err
	}
	_, err := p.store.UpdateWorkspace(r.Context(), id(r, "workspace"), func(s *studio.Workspace) error {
		s.Name = strings.TrimSpace(given.Name)
		return nil
	})
	if err != nil {
		return err
	}
	return done(w, struct{}{})
}

// newFolder makes a folder.
func (p *Page) newFolder(w http.ResponseWriter, r *http.Request) error {
	var given struct {
		Name   string    `json:"name"`
		Parent studio.ID `json:"parent"`
	}
	if err := read(r, &given); err != nil {
		return err
	}
	f := &studio.Folder{Workspace: id(r, "workspace"), Name: strings.TrimSpace(given.Name), Parent: given.Parent}
	if err := p.store.AddFolder(r.Context(), f); err != nil {
		return err
	}
	return done(w, map[string]any{"id": f.ID})
}

// changeFolder renames or moves a folder.
func (p *Page) changeFolder(w http.ResponseWriter, r *http.Request) error {
	var given struct {
		Name   *string    `json:"name"`
		Parent *studio.ID `json:"parent"`
	}
	if err := read(r, &given); err != nil {
		return err
	}
	_, err := p.store.UpdateFolder(r.Context(), id(r, "folder"), func(f *studio.Folder) error {
		if given.Name != nil {
			f.Name = strings.TrimSpace(*given.Name)
		}
		if given.Parent != nil {
			f.Parent = *given.Parent
		}
		return nil
	})
	if err != nil {
		return err
	}
	return done(w, struct{}{})
}

// changeChat changes what is said of a chat: its title, place, tags, and whether it is pinned or archived.
func (p *Page) changeChat(w http.ResponseWriter, r *http.Request) error {
	var given struct {
		Title     *string    `json:"title"`
		Folder    *studio.ID `json:"folder"`
		Workspace *studio.ID `json:"workspace"`
		Tags      *string    `json:"tags"` // with commas between
		Pinned    *bool      `json:"pinned"`
		Archived  *bool      `json:"archived"`
	}
	if err := read(r, &given); err != nil {
		return err
	}
	_, err := p.store.UpdateChat(r.Context(), id(r, "chat"), func(c *studio.Chat) error {
		if given.Title != nil && strings.TrimSpace(*given.Title) != "" {
			c.Title = strings.TrimSpace(*given.Title)
		}
		if given.Workspace != nil && *given.Workspace != c.Workspace {
			c.Workspace, c.Folder = *given.Workspace, ""
		} else if given.Folder != nil {
			c.Folder = *given.Folder
		}
		if given.Tags != nil {
			c.Tags = splitTags(*given.Tags)
		}
		if given.Pinned != nil {
			c.Pinned = *given.Pinned
		}
		if given.Archived != nil {
			c.Archived = *given.Archived
		}
		return nil
	})
	if err != nil {
		return err
	}
	return done(w, struct{}{})
}

// splitTags reads tags with commas between.
func splitTags(text string) []string {
	var tags []string
	for tag := range strings.SplitSeq(text, ",") {
		if tag = strings.TrimPrefix(strings.TrimSpace(tag), "#"); tag != "" && !slices.Contains(tags, tag) {
			tags = append(tags, tag)
		}
	}
	return tags
}

// thing reads which thing a change is of.
func thing(r *http.Request) (studio.Thing, error) {
	var t studio.Thing
	if err := read(r, &t); err != nil {
		return t, err
	}
	if t.Kind == "" || !t.ID.Valid() {
		return t, server.Badf("it is not said what is meant: kind and id")
	}
	return t, nil
}

// over is a change of a thing.
func (p *Page) over(w http.ResponseWriter, r *http.Request, change func(context.Context, studio.Thing) error) error {
	t, err := thing(r)
	if err != nil {
		return err
	}
	if err := change(r.Context(), t); err != nil {
		return err
	}
	return done(w, t)
}

// trash puts a thing in the trash; restore takes it back; purge deletes it for good.
func (p *Page) trash(w http.ResponseWriter, r *http.Request) error {
	return p.over(w, r, p.store.Trash)
}

func (p *Page) restore(w http.ResponseWriter, r *http.Request) error {
	return p.over(w, r, p.store.Restore)
}

func (p *Page) purge(w http.ResponseWriter, r *http.Request) error {
	return p.over(w, r, p.store.Purge)
}

// trashPage shows what lies in the trash of a workspace.
func (p *Page) trashPage(w http.ResponseWriter, r *http.Request) error {
	f, err := p.frame(r.Context(), r, id(r, "workspace"), "Trash")
	if err != nil {
		return err
	}
	f.Here = "trash"
	list, err := p.store.InTrash(r.Context(), f.Workspace.ID)
	if err != nil {
		return err
	}
	spaces, err := p.store.InTrash(r.Context(), "")
	if err != nil {
		return err
	}
	return p.page(w, "trash.html", struct {
		frame
		Things []studio.Trashed
	}{f, append(list, spaces...)})
}
