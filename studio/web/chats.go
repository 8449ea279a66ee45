package web

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	server "github.com/crossattn/xpipe/server/web"
	"github.com/crossattn/xpipe/studio"
	"github.com/crossattn/xpipe/studio/answer"
)

// chatPage is the page of a chat; of one that is to begin Chat has no ID.
type chatPage struct {
	frame
	Chat     studio.Chat
	Turns    []turnView
	Models   []modelView
	Chosen   []modelView
	Personas []studio.Persona
	Persona  *studio.Persona
	Leaf     studio.ID // what the next message follows
	Busy     bool
	Folders  []studio.Folder
	Prompts  []studio.Prompt
}

// home shows the workspace that was seen last.
func (p *Page) home(w http.ResponseWriter, r *http.Request) error {
	list, err := p.store.Workspaces(r.Context())
	if err != nil {
		return err
	}
	if len(list) == 0 { // all are in the trash
		if err := p.begin(r.Context()); err != nil {
			return err
		}
		if list, err = p.store.Workspaces(r.Context()); err != nil {
			return err
		}
	}
	last := studio.ID(cookieOf(r, workspaceCookie))
	if !slices.ContainsFunc(list, func(s studio.Workspace) bool { return s.ID == last }) {
		last = list[0].ID
	}
	return p.showChat(w, r, &studio.Chat{Workspace: last, Models: []string{auto}})
}

// workspace shows a workspace with a chat that is to begin.
func (p *Page) workspace(w http.ResponseWriter, r *http.Request) error {
	chat := &studio.Chat{Workspace: id(r, "workspace"), Models: []string{auto}, Folder: studio.ID(r.FormValue("folder"))}
	chat.Persona = studio.ID(r.FormValue("persona"))
	return p.showChat(w, r, chat)
}

// chat shows a chat.
func (p *Page) chat(w http.ResponseWriter, r *http.Request) error {
	chat, err := p.store.Chat(r.Context(), id(r, "chat"))
	if err != nil {
		return err
	}
	if chat.Trashed != nil {
		return studio.ErrNotFound
	}
	if at := studio.ID(r.FormValue("at")); at != "" { // the branch that a search found
		messages, err := p.store.Messages(r.Context(), chat.ID)
		if err != nil {
			return err
		}
		if tree := studio.NewTree(messages); tree.Message(at) != nil {
			chat.Leaf = newest(messages, at)
		}
	}
	return p.showChat(w, r, chat)
}

func (p *Page) showChat(w http.ResponseWriter, r *http.Request, chat *studio.Chat) error {
	ctx := r.Context()
	f, err := p.frame(ctx, r, chat.Workspace, cmp.Or(chat.Title, "New chat"))
	if err != nil {
		return err
	}
	f.Here = "chat"
	f.List.current(chat)
	page := chatPage{frame: f, Chat: *chat, Busy: p.runs.busy(chat.ID)}
	if page.Models, err = p.models(ctx, chat.Workspace); err != nil {
		return err
	}
	if page.Personas, err = p.store.Personas(ctx, chat.Workspace); err != nil {
		return err
	}
	for i := range page.Personas {
		if page.Personas[i].ID == chat.Persona {
			page.Persona = &page.Personas[i]
		}
	}
	if chat.ID == "" && page.Persona != nil && page.Persona.Model != "" {
		chat.Models = []string{answer.Ref{Upstream: page.Persona.Upstream, Name: page.Persona.Model}.String()}
	}
	for _, ref := range chat.Models {
		page.Chosen = append(page.Chosen, modelView{Ref: ref, Name: nameOf(page.Models, ref)})
	}
	if page.Folders, err = p.store.Folders(ctx, chat.Workspace); err != nil {
		return err
	}
	if page.Prompts, err = p.store.Prompts(ctx, chat.Workspace); err != nil {
		return err
	}
	if chat.ID != "" {
		if page.Turns, page.Leaf, err = p.turns(ctx, chat, page.Models); err != nil {
			return err
		}
	}
	cookie(w, workspaceCookie, string(chat.Workspace))
	return p.page(w, "chat.html", page)
}

// turns makes the branch of a chat that is shown.
func (p *Page) turns(ctx context.Context, chat *studio.Chat, models []modelView) (turns []turnView, leaf studio.ID, err error) {
	messages, err := p.store.Messages(ctx, chat.ID)
	if err != nil {
		return nil, "", err
	}
	ups, err := p.store.Upstreams(ctx, chat.Workspace)
	if err != nil {
		return nil, "", err
	}
	tree := studio.NewTree(messages)
	attachments := false
	for _, m := range tree.Branch(chat.Leaf) {
		var t turnView
		beside := tree.SideBySide(m.ID)
		t.Beside = len(beside) > 1
		for _, one := range beside {
			v := p.viewMessage(chat.Workspace, one, ups)
			attachments = attachments || m.Role == studio.RoleUser && len(v.Files) > 0
			v.Words = v.Answers && attachments && one.State.Final()
			v.Chosen = one.ID == m.ID
			t.Messages = append(t.Messages, v)
		}
		versions := versionsOf(tree, m.ID)
		if at := slices.IndexFunc(versions, func(ids []studio.ID) bool { return slices.Contains(ids, m.ID) }); len(versions) > 1 && at >= 0 {
			v := &t.Messages[0]
			v.Versions, v.Version = len(versions), at+1
			if at > 0 {
				v.Before = versions[at-1][0]
			}
			if at+1 < len(versions) {
				v.After = versions[at+1][0]
			}
		}
		turns, leaf = append(turns, t), m.ID
	}
	return turns, leaf, nil
}

// versionsOf are the versions of a turn: messages, or answers side by side, with one parent.
func versionsOf(tree *studio.Tree, of studio.ID) (versions [][]studio.ID) {
	runs := map[studio.ID]int{}
	for _, m := range tree.Siblings(of) {
		if at, ok := runs[m.Run]; ok && m.Run != "" {
			versions[at] = append(versions[at], m.ID)
			continue
		}
		runs[m.Run] = len(versions)
		versions = append(versions, []studio.ID{m.ID})
	}
	return versions
}

// viewMessage makes a message to be shown.
func (p *Page) viewMessage(workspace studio.ID, m *studio.Message, ups []studio.Upstream) messageView {
	v := messageView{Message: m, Answers: m.Role == studio.RoleAssistant}
	for _, part := range m.Parts {
		if part.Kind != studio.KindText {
			v.Files = append(v.Files, viewPart(workspace, part))
		}
	}
	text := m.Text()
	if live, ok := p.runs.text(m.ID); ok {
		text, v.Live = live, true
	}
	switch {
	case v.Live:
	case v.Answers && m.Answer != nil && asWritten(m.Answer):
		v.HTML = Plain(text)
	case text != "":
		v.HTML = Markdown(text)
	}
	a := m.Answer
	if a == nil {
		return v
	}
	v.By, v.From = a.Model, ""
	for _, u := range ups {
		if u.ID == a.Upstream {
			v.From = u.Name
		}
	}
	for name, value := range a.Settings {
		v.Settings = append(v.Settings, setting{strings.ReplaceAll(name, "_", " "), fmt.Sprint(value)})
	}
	slices.SortFunc(v.Settings, func(a, b setting) int { return cmp.Compare(a.Name, b.Name) })
	return v
}

// asWritten reports whether an answer is shown as it is: what was heard and read is no Markdown.
func asWritten(a *studio.Answer) bool {
	switch a.Settings["task"] {
	case answer.TaskTranscribe, answer.TaskTranslate, answer.TaskRead:
		return true
	}
	return false
}

// message serves a message alone, as a piece of a page.
func (p *Page) message(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	m, err := p.store.Message(ctx, id(r, "message"))
	if err != nil {
		return err
	}
	chat, err := p.store.Chat(ctx, m.Chat)
	if err != nil {
		return err
	}
	turns, _, err := p.turns(ctx, &studio.Chat{ID: chat.ID, Workspace: chat.Workspace, Leaf: m.ID}, nil)
	if err != nil {
		return err
	}
	for _, t := range turns {
		for _, v := range t.Messages {
			if v.ID == m.ID {
				return p.page(w, "message", v)
			}
		}
	}
	return studio.ErrNotFound
}

// saying is a message that is said.
type saying struct {
	Text   string        `json:"text"`
	Parts  []studio.Part `json:"parts"` // attachments, as /studio/files gave them
	Parent *studio.ID    `json:"parent"`
	asking
}

// asking says who is to answer, and how.
type asking struct {
	Models   []string       `json:"models"`
	Persona  studio.ID      `json:"persona"`
	Settings map[string]any `json:"settings"`
}

// parts are a message's parts: attachments before the text.
func (s *saying) parts() []studio.Part {
	parts := slices.Clone(s.Parts)
	if text := strings.TrimSpace(s.Text); text != "" {
		parts = append(parts, studio.TextPart(text))
	}
	return parts
}

// newChat begins a chat with its first message.
func (p *Page) newChat(w http.ResponseWriter, r *http.Request) error {
	var s struct {
		saying
		Folder studio.ID `json:"folder"`
	}
	if err := read(r, &s); err != nil {
		return err
	}
	parts := s.parts()
	if len(parts) == 0 {
		return server.Badf("the message is empty")
	}
	chat := &studio.Chat{
		Workspace: id(r, "workspace"), Folder: s.Folder, Title: studio.Title(parts), Models: modelsOf(s.Models), Persona: s.Persona,
	}
	if err := p.store.AddChat(r.Context(), chat); err != nil {
		return err
	}
	if _, err := p.add(r.Context(), chat, "", parts, s.asking); err != nil {
		p.store.Purge(context.WithoutCancel(r.Context()), studio.Thing{Kind: studio.ThingChat, ID: chat.ID})
		return err
	}
	return done(w, map[string]any{"go": "/studio/chats/" + string(chat.ID)})
}

// modelsOf are the models that a request names; without any the fitting one.
func modelsOf(models []string) []string {
	if len(models) == 0 {
		return []string{auto}
	}
	return models
}

// say adds a message to a chat and has it answered. Without a parent it follows the branch that is shown; one
// that has the parent of another is its edited version.
func (p *Page) say(w http.ResponseWriter, r *http.Request) error {
	var s saying
	if err := read(r, &s); err != nil {
		return err
	}
	ctx := r.Context()
	chat, err := p.store.Chat(ctx, id(r, "chat"))
	if err != nil {
		return err
	}
	parent, err := p.parent(ctx, chat, s.Parent)
	if err != nil {
		return err
	}
	answers, err := p.add(ctx, chat, parent, s.parts(), s.asking)
	if err != nil {
		return err
	}
	return done(w, map[string]any{"answers": answers})
}

// parent is what a message follows.
func (p *Page) parent(ctx context.Context, chat *studio.Chat, given *studio.ID) (studio.ID, error) {
	messages, err := p.store.Messages(ctx, chat.ID)
	if err != nil {
		return "", err
	}
	tree := studio.NewTree(messages)
	if given == nil {
		if branch := tree.Branch(chat.Leaf); len(branch) > 0 {
			return branch[len(branch)-1].ID, nil
		}
		return "", nil
	}
	if *given != "" && tree.Message(*given) == nil {
		return "", studio.ErrNotFound
	}
	return *given, nil
}

// add adds a message, and an answer of each model, which begins to be written.
func (p *Page) add(
	ctx context.Context, chat *studio.Chat, parent studio.ID, parts []studio.Part, a asking,
) ([]studio.ID, error) {
	said := &studio.Message{Chat: chat.ID, Parent: parent, Role: studio.RoleUser, State: studio.Done, Parts: parts}
	if err := p.store.AddMessage(ctx, said); err != nil {
		return nil, err
	}
	return p.ask(ctx, chat, said.ID, a)
}

// ask has a message of a chat answered by one model or several.
func (p *Page) ask(ctx context.Context, chat *studio.Chat, said studio.ID, a asking) ([]studio.ID, error) {
	models := modelsOf(a.Models)
	if len(models) > studio.MostModels {
		return nil, server.Badf("%d models are more than the %d that answer side by side", len(models), studio.MostModels)
	}
	var persona *studio.Persona
	if a.Persona != "" {
		var err error
		if persona, err = p.store.Persona(ctx, a.Persona); err != nil {
			return nil, err
		}
	}
	settings := map[string]any{}
	if persona != nil {
		for name, value := range persona.Settings {
			settings[name] = value
		}
	}
	for name, value := range a.Settings {
		settings[name] = value
	}
	messages, err := p.store.Messages(ctx, chat.ID)
	if err != nil {
		return nil, err
	}
	tree := studio.NewTree(messages)
	branch := tree.Branch(said)
	if len(branch) == 0 || branch[len(branch)-1].ID != said {
		return nil, studio.ErrNotFound
	}
	var run studio.ID
	if len(models) > 1 {
		run = studio.NewID()
	}
	var ids []studio.ID
	var begin []func()
	for _, name := range models {
		q := answer.Question{Workspace: chat.Workspace, Persona: persona, Settings: settings}
		q.Branch = ownAnswers(tree, branch, name)
		if q.Model = answer.ParseRef(name); name == auto {
			q.Model = p.desk.Fitting(ctx, chat.Workspace, q.Branch)
		}
		m := &studio.Message{
			Chat: chat.ID, Parent: said, Role: studio.RoleAssistant, State: studio.Waiting, Run: run, Parts: []studio.Part{},
			Answer: &studio.Answer{Model: q.Model.Name, Upstream: q.Model.Upstream},
		}
		if err := p.store.AddMessage(ctx, m); err != nil {
			return nil, err
		}
		ids = append(ids, m.ID)
		begin = append(begin, func() { p.runs.start(m, q) })
	}
	_, err = p.store.UpdateChat(ctx, chat.ID, func(c *studio.Chat) error {
		c.Leaf, c.Models, c.Persona = ids[0], models, a.Persona
		return nil
	})
	if err != nil {
		return nil, err
	}
	for _, start := range begin {
		start()
	}
	return ids, nil
}

// ownAnswers is a branch as a model is to read it: of answers side by side it reads its own.
func ownAnswers(tree *studio.Tree, branch []*studio.Message, model string) []*studio.Message {
	ref := answer.ParseRef(model)
	branch = slices.Clone(branch)
	for i, m := range branch {
		for _, other := range tree.SideBySide(m.ID) {
			if a := other.Answer; a != nil && a.Model == ref.Name && a.Upstream == ref.Upstream {
				branch[i] = other
			}
		}
	}
	return branch
}

// again has the message before an answer answered once more: a version of the answer.
func (p *Page) again(w http.ResponseWriter, r *http.Request) error {
	var a asking
	if err := read(r, &a); err != nil {
		return err
	}
	ctx := r.Context()
	m, err := p.store.Message(ctx, id(r, "message"))
	if err != nil {
		return err
	}
	if m.Role != studio.RoleAssistant {
		return server.Badf("what people write is not asked again, but edited")
	}
	chat, err := p.store.Chat(ctx, m.Chat)
	if err != nil {
		return err
	}
	if len(a.Models) == 0 {
		a.Models = []string{answer.Ref{Upstream: m.Answer.Upstream, Name: m.Answer.Model}.String()}
	}
	ids, err := p.ask(ctx, chat, m.Parent, a)
	if err != nil {
		return err
	}
	return done(w, map[string]any{"answers": ids})
}

// stop ends an answer that is being written.
func (p *Page) stop(w http.ResponseWriter, r *http.Request) error {
	if !p.runs.stop(id(r, "message")) {
		return server.Badf("this answer is not being written")
	}
	return done(w, struct{}{})
}

// showBranch shows the newest branch that goes through a message.
func (p *Page) showBranch(w http.ResponseWriter, r *http.Request) error {
	var change struct {
		Message studio.ID `json:"message"`
		Exactly bool      `json:"exactly"` // the branch ends there
	}
	if err := read(r, &change); err != nil {
		return err
	}
	ctx := r.Context()
	messages, err := p.store.Messages(ctx, id(r, "chat"))
	if err != nil {
		return err
	}
	tree := studio.NewTree(messages)
	if tree.Message(change.Message) == nil {
		return studio.ErrNotFound
	}
	leaf := change.Message
	if !change.Exactly {
		leaf = newest(messages, leaf)
	}
	if _, err := p.store.UpdateChat(ctx, id(r, "chat"), func(c *studio.Chat) error { c.Leaf = leaf; return nil }); err != nil {
		return err
	}
	return done(w, struct{}{})
}

// newest is the end of the branch through a message in which something was said last; of answers side by side,
// none of which was gone on with, the first.
func newest(messages []studio.Message, id studio.ID) studio.ID {
	last, follows := id, map[studio.ID]bool{id: true}
	for i := range messages { // parents before children
		if m := &messages[i]; follows[m.Parent] && m.ID != id {
			follows[m.ID], last = true, m.ID
		}
	}
	if beside := studio.NewTree(messages).SideBySide(last); len(beside) > 1 && last != id {
		return beside[0].ID
	}
	return last
}

// listChats serves further chats of the list at the side, as a piece of a page.
func (p *Page) listChats(w http.ResponseWriter, r *http.Request) error {
	offset, err := strconv.Atoi(cmp.Or(r.FormValue("offset"), "0"))
	if err != nil || offset < 0 {
		return server.Badf("offset is a number of 0 or more")
	}
	list, err := p.chats(r.Context(), id(r, "workspace"), r.FormValue("list") == "archived", r.FormValue("tag"), offset)
	if err != nil {
		return err
	}
	return p.page(w, "morechats", list)
}

// Answers reports whether a model is one of those that answer by default.
func (c chatPage) Answers(ref string) bool { return slices.Contains(c.Chat.Models, ref) }
