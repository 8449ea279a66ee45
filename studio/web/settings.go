package web

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/crossattn/xpipe/studio"
)

// settings shows upstreams, colours, and how much is held.
func (p *Page) settings(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f, err := p.frame(ctx, r, id(r, "workspace"), "Settings")
	if err != nil {
		return err
	}
	f.Here = "settings"
	ups, err := p.store.Upstreams(ctx, f.Workspace.ID)
	if err != nil {
		return err
	}
	models, err := p.models(ctx, f.Workspace.ID)
	if err != nil {
		return err
	}
	usage, err := p.store.Usage(ctx)
	if err != nil {
		return err
	}
	page := struct {
		frame
		Upstreams []studio.Upstream
		Edit      studio.Upstream
		Models    []modelView
		Usage     *studio.Usage
	}{frame: f, Upstreams: ups, Models: models, Usage: usage}
	if i := slices.IndexFunc(ups, func(u studio.Upstream) bool { return string(u.ID) == r.FormValue("edit") }); i >= 0 {
		page.Edit = ups[i]
	}
	return p.page(w, "settings.html", page)
}

// saveUpstream adds an upstream, or changes one. The key is kept where none is given.
func (p *Page) saveUpstream(w http.ResponseWriter, r *http.Request) error {
	var given struct {
		ID     studio.ID `json:"id"`
		Name   string    `json:"name"`
		URL    string    `json:"url"`
		Key    string    `json:"key"`
		Models string    `json:"models"` // one a line, or with commas between
	}
	if err := read(r, &given); err != nil {
		return err
	}
	ctx := r.Context()
	set := func(u *studio.Upstream) error {
		u.Name, u.URL = strings.TrimSpace(given.Name), strings.TrimSpace(given.URL)
		u.Models = nil
		for _, name := range strings.FieldsFunc(given.Models, func(r rune) bool { return r == ',' || r == '\n' || r == '\r' }) {
			if name = strings.TrimSpace(name); name != "" && !slices.Contains(u.Models, name) {
				u.Models = append(u.Models, name)
			}
		}
		return u.Check()
	}
	u := &studio.Upstream{}
	var err error
	if given.ID != "" {
		u, err = p.store.UpdateUpstream(ctx, given.ID, set)
	} else if err = set(u); err == nil {
		err = p.store.AddUpstream(ctx, u)
	}
	if err != nil {
		return err
	}
	if key := strings.TrimSpace(given.Key); key != "" {
		if err := p.store.SetKey(ctx, u.ID, studio.Secret(key)); err != nil {
			return err
		}
	}
	return done(w, map[string]any{"id": u.ID, "go": "/studio/w/" + r.PathValue("workspace") + "/settings?edit=" + string(u.ID)})
}

// listTime bounds the asking of an upstream for its models.
const listTime = 20 * time.Second

// upstreamModels asks an upstream which models it has.
func (p *Page) upstreamModels(w http.ResponseWriter, r *http.Request) error {
	var nothing struct{}
	if err := read(r, &nothing); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), listTime)
	defer cancel()
	names, err := p.desk.UpstreamModels(ctx, id(r, "upstream"))
	if err != nil {
		return err
	}
	return done(w, map[string]any{"models": names})
}

// removeUpstream removes an upstream with its key.
func (p *Page) removeUpstream(w http.ResponseWriter, r *http.Request) error {
	var nothing struct{}
	if err := read(r, &nothing); err != nil {
		return err
	}
	if err := p.store.RemoveUpstream(r.Context(), id(r, "upstream")); err != nil {
		return err
	}
	return done(w, nothing)
}
