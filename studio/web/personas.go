package web

import (
	"net/http"
	"strconv"
	"strings"

	server "github.com/crossattn/xpipe/server/web"
	"github.com/crossattn/xpipe/studio"
	"github.com/crossattn/xpipe/studio/answer"
)

// personas shows the personas of a workspace, one of them to be changed.
func (p *Page) personas(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f, err := p.frame(ctx, r, id(r, "workspace"), "Personas")
	if err != nil {
		return err
	}
	f.Here = "personas"
	list, err := p.store.Personas(ctx, f.Workspace.ID)
	if err != nil {
		return err
	}
	models, err := p.models(ctx, f.Workspace.ID)
	if err != nil {
		return err
	}
	page := struct {
		frame
		Personas []studio.Persona
		Models   []modelView
		Edit     studio.Persona
		Model    string
	}{frame: f, Personas: list, Models: models}
	if edit := studio.ID(r.FormValue("edit")); edit != "" {
		one, err := p.store.Persona(ctx, edit)
		if err != nil {
			return err
		}
		page.Edit = *one
		if one.Model != "" {
			page.Model = answer.Ref{Upstream: one.Upstream, Name: one.Model}.String()
		}
	}
	return p.page(w, "personas.html", page)
}

// settingsOf reads settings as forms have them: texts, of which empty ones are none.
func settingsOf(texts map[string]string) (map[string]any, error) {
	settings := map[string]any{}
	for name, text := range texts {
		text = strings.TrimSpace(text)
		switch {
		case text == "":
		case name == "temperature" || name == "max_new_tokens" || name == "seed":
			n, err := strconv.ParseFloat(text, 64)
			if err != nil || !(n >= 0 && n < 1e15) {
				return nil, server.Badf("%s is %q, no number of 0 or more", strings.ReplaceAll(name, "_", " "), server.Shortened(text))
			}
			settings[name] = n
		case name == "size" || name == "language" || name == "task":
			settings[name] = text
		default:
			return nil, server.Badf("there is no setting %q", server.Shortened(name))
		}
	}
	return settings, nil
}

// savePersona adds a persona, or changes one.
func (p *Page) savePersona(w http.ResponseWriter, r *http.Request) error {
	var given struct {
		ID           studio.ID         `json:"id"`
		Name         string            `json:"name"`
		Instructions string            `json:"instructions"`
		Model        string            `json:"model"`
		Settings     map[string]string `json:"settings"`
		Prompts      string            `json:"prompts"` // one a line
	}
	if err := read(r, &given); err != nil {
		return err
	}
	settings, err := settingsOf(given.Settings)
	if err != nil {
		return err
	}
	set := func(one *studio.Persona) error {
		one.Name, one.Instructions, one.Settings = strings.TrimSpace(given.Name), strings.TrimSpace(given.Instructions), settings
		one.Model, one.Upstream, one.Prompts = "", "", nil
		if given.Model != "" && given.Model != auto {
			ref := answer.ParseRef(given.Model)
			one.Model, one.Upstream = ref.Name, ref.Upstream
		}
		for line := range strings.Lines(given.Prompts) {
			if line = strings.TrimSpace(line); line != "" {
				one.Prompts = append(one.Prompts, line)
			}
		}
		return nil
	}
	space := id(r, "workspace")
	if given.ID != "" {
		_, err = p.store.UpdatePersona(r.Context(), given.ID, set)
	} else {
		one := &studio.Persona{Workspace: space}
		if err = set(one); err == nil {
			err = p.store.AddPersona(r.Context(), one)
		}
	}
	if err != nil {
		return err
	}
	return done(w, map[string]any{"go": "/studio/w/" + string(space) + "/personas"})
}
