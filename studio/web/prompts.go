package web

import (
	"net/http"
	"slices"
	"strings"

	server "github.com/crossattn/xpipe/server/web"
	"github.com/crossattn/xpipe/studio"
)

// prompts shows the saved prompts of a workspace, and the tables that were made by them.
func (p *Page) prompts(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	f, err := p.frame(ctx, r, id(r, "workspace"), "Prompts")
	if err != nil {
		return err
	}
	f.Here = "prompts"
	list, err := p.store.Prompts(ctx, f.Workspace.ID)
	if err != nil {
		return err
	}
	jobs, err := p.store.Jobs(ctx, f.Workspace.ID)
	if err != nil {
		return err
	}
	page := struct {
		frame
		Prompts []studio.Prompt
		Jobs    []studio.Job
		Edit    studio.Prompt
	}{frame: f, Prompts: list, Jobs: jobs}
	if edit := studio.ID(r.FormValue("edit")); edit != "" {
		one, err := p.store.Prompt(ctx, edit)
		if err != nil {
			return err
		}
		page.Edit = *one
	}
	page.Edit.Text += r.FormValue("text")
	return p.page(w, "prompts.html", page)
}

// savePrompt adds a prompt, or changes one. A variable whose name ends a kind of attachment, or is one, such as
// {{picture}} or {{front_picture}}, is a slot of that kind.
func (p *Page) savePrompt(w http.ResponseWriter, r *http.Request) error {
	var given struct {
		ID     studio.ID `json:"id"`
		Name   string    `json:"name"`
		Text   string    `json:"text"`
		Tags   string    `json:"tags"`
		Pinned bool      `json:"pinned"`
	}
	if err := read(r, &given); err != nil {
		return err
	}
	set := func(one *studio.Prompt) error {
		one.Name, one.Text = strings.TrimSpace(given.Name), strings.TrimSpace(given.Text)
		one.Tags, one.Pinned = splitTags(given.Tags), given.Pinned
		known := one.Variables
		one.Variables = nil
		for _, v := range one.Places() {
			if i := slices.IndexFunc(known, func(k studio.Variable) bool { return k.Name == v.Name }); i >= 0 {
				v = known[i]
			} else {
				v.Kind = kindOfVariable(v.Name)
			}
			one.Variables = append(one.Variables, v)
		}
		return nil
	}
	space := id(r, "workspace")
	one := &studio.Prompt{Workspace: space}
	var err error
	if given.ID != "" {
		one, err = p.store.UpdatePrompt(r.Context(), given.ID, set)
	} else if err = set(one); err == nil {
		err = p.store.AddPrompt(r.Context(), one)
	}
	if err != nil {
		return err
	}
	return done(w, map[string]any{"go": "/studio/prompts/" + string(one.ID)})
}

// slotNames are the ends of names of variables that are slots.
var slotNames = []struct {
	end  string
	kind studio.Kind
}{
	{"picture", studio.KindPicture}, {"image", studio.KindPicture}, {"photo", studio.KindPicture},
	{"page", studio.KindPage}, {"document", studio.KindPage}, {"pdf", studio.KindPage},
	{"sound", studio.KindSound}, {"recording", studio.KindSound}, {"film", studio.KindFilm}, {"video", studio.KindFilm},
}

func kindOfVariable(name string) studio.Kind {
	for _, s := range slotNames {
		if strings.HasSuffix(strings.ToLower(name), s.end) {
			return s.kind
		}
	}
	return studio.KindText
}

// prompt shows a prompt with its places to fill in.
func (p *Page) prompt(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	one, err := p.store.Prompt(ctx, id(r, "prompt"))
	if err != nil {
		return err
	}
	f, err := p.frame(ctx, r, one.Workspace, one.Name)
	if err != nil {
		return err
	}
	f.Here = "prompts"
	models, err := p.models(ctx, one.Workspace)
	if err != nil {
		return err
	}
	personas, err := p.store.Personas(ctx, one.Workspace)
	if err != nil {
		return err
	}
	places := one.Places()
	slots := slices.DeleteFunc(slices.Clone(places), func(v studio.Variable) bool { return v.Kind == studio.KindText })
	return p.page(w, "prompt.html", struct {
		frame
		Prompt   *studio.Prompt
		Places   []studio.Variable
		Slots    []studio.Variable
		Models   []modelView
		Personas []studio.Persona
	}{f, one, places, slots, models, personas})
}

// filling fills the places of a prompt and says who is to answer.
type filling struct {
	Texts map[string]string        `json:"texts"`
	Files map[string][]studio.Part `json:"files"`
	asking
}

// fillPrompt begins a chat with a prompt whose places are filled in.
func (p *Page) fillPrompt(w http.ResponseWriter, r *http.Request) error {
	var given filling
	if err := read(r, &given); err != nil {
		return err
	}
	ctx := r.Context()
	one, err := p.store.Prompt(ctx, id(r, "prompt"))
	if err != nil {
		return err
	}
	parts, err := one.Render(studio.Values{Texts: given.Texts, Files: given.Files})
	if err != nil {
		return err
	}
	chat := &studio.Chat{Workspace: one.Workspace, Title: one.Name, Models: modelsOf(given.Models), Persona: given.Persona}
	if err := p.store.AddChat(ctx, chat); err != nil {
		return err
	}
	if _, err := p.add(ctx, chat, "", parts, given.asking); err != nil {
		return err
	}
	return done(w, map[string]any{"go": "/studio/chats/" + string(chat.ID)})
}

// newJob runs a prompt over files: each fills one slot in turn.
func (p *Page) newJob(w http.ResponseWriter, r *http.Request) error {
	var given struct {
		filling
		Slot string        `json:"slot"`
		Over []studio.Part `json:"over"`
	}
	if err := read(r, &given); err != nil {
		return err
	}
	ctx := r.Context()
	one, err := p.store.Prompt(ctx, id(r, "prompt"))
	if err != nil {
		return err
	}
	slot := slices.IndexFunc(one.Places(), func(v studio.Variable) bool { return v.Name == given.Slot && v.Kind != studio.KindText })
	switch {
	case slot < 0:
		return server.Badf("the prompt has no slot %q", server.Shortened(given.Slot))
	case len(given.Over) == 0:
		return server.Badf("there are no files to run over: add some")
	case len(given.Over) > mostRows:
		return server.Badf("%d files are more than %d", len(given.Over), mostRows)
	}
	job := &studio.Job{
		Workspace: one.Workspace, Name: one.Name, Prompt: *one, Slot: given.Slot, Models: modelsOf(given.Models),
		Values: studio.Values{Texts: given.Texts, Files: given.Files}, Persona: given.Persona, State: studio.Waiting,
	}
	for i, part := range given.Over {
		job.Rows = append(job.Rows, studio.JobRow{Number: i, Input: part, State: studio.Waiting})
	}
	files := map[string][]studio.Part{}
	for name, list := range given.Files {
		files[name] = list
	}
	files[given.Slot] = given.Over[:1]
	if _, err := one.Render(studio.Values{Texts: given.Texts, Files: files}); err != nil {
		return err
	}
	if err := p.store.AddJob(ctx, job); err != nil {
		return err
	}
	p.jobs.start(job.ID)
	return done(w, map[string]any{"go": "/studio/jobs/" + string(job.ID)})
}

// mostRows bounds the files of a job.
const mostRows = 10_000
