package web

import (
	"cmp"
	"context"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	server "github.com/crossattn/xpipe/server/web"
	"github.com/crossattn/xpipe/studio"
	"github.com/crossattn/xpipe/studio/answer"
)

// urlUnescape decodes percent-encoding.
func urlUnescape(text string) (string, error) { return url.PathUnescape(text) }

// frame is what every page has around it.
type frame struct {
	Title     string
	Theme     string // light, dark, or "" for the system's
	Here      string // which of the pages it is
	Workspace *studio.Workspace
	Spaces    []studio.Workspace
	List      *chatList
}

// chatList is the list of chats at the side.
type chatList struct {
	Workspace studio.ID
	Current   studio.ID
	Pinned    []studio.Chat
	Folders   []folderView
	Chats     []studio.Chat // in no folder
	More      int           // the offset of those after; 0: there are none
	Archived  bool
	Tag       string
	Tags      []studio.TagCount
}

type folderView struct {
	studio.Folder
	Depth int
	Chats []studio.Chat
	Open  bool
}

// The cookies: what a page looks like, and which workspace was seen last. Nothing is let in by them.
const (
	themeCookie     = "xpipe_theme"
	workspaceCookie = "xpipe_workspace"
)

// cookie sets a cookie, which goes with requests of this site's own pages alone.
func cookie(w http.ResponseWriter, name, value string) {
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: "/", HttpOnly: true, SameSite: http.SameSiteStrictMode,
		MaxAge: int(365 * 24 * time.Hour / time.Second),
	})
}

func cookieOf(r *http.Request, name string) string {
	if c, err := r.Cookie(name); err == nil {
		return c.Value
	}
	return ""
}

func themeOf(r *http.Request) string {
	if theme := cookieOf(r, themeCookie); theme == "light" || theme == "dark" {
		return theme
	}
	return ""
}

// theme sets the page's colours.
func (p *Page) theme(w http.ResponseWriter, r *http.Request) error {
	var change struct{ Theme string }
	if err := read(r, &change); err != nil {
		return err
	}
	if !slices.Contains([]string{"", "light", "dark"}, change.Theme) {
		return server.Badf("the theme is light, dark, or empty for the system's")
	}
	cookie(w, themeCookie, change.Theme)
	return done(w, struct{}{})
}

// listed is how many chats a list has at once.
const listed = 100

// frame makes what stands around a page of a workspace.
func (p *Page) frame(ctx context.Context, r *http.Request, workspace studio.ID, title string) (frame, error) {
	f := frame{Title: title, Theme: themeOf(r)}
	var err error
	if f.Workspace, err = p.store.Workspace(ctx, workspace); err != nil {
		return f, err
	}
	if f.Spaces, err = p.store.Workspaces(ctx); err != nil {
		return f, err
	}
	q := r.URL.Query()
	f.List, err = p.chats(ctx, workspace, q.Get("list") == "archived", q.Get("tag"), 0)
	return f, err
}

// chats lists the chats of a workspace: pinned ones and folders first, where the list is the beginning.
func (p *Page) chats(ctx context.Context, workspace studio.ID, archived bool, tag string, offset int) (*chatList, error) {
	list := &chatList{Workspace: workspace, Archived: archived, Tag: tag}
	none, no, yes := studio.ID(""), false, true
	var err error
	if tag != "" || archived {
		list.Chats, err = p.store.Chats(ctx, studio.ChatFilter{
			Workspace: workspace, Tag: tag, Archived: &archived, Limit: listed + 1, Offset: offset,
		})
		list.cut(offset)
		return list, err
	}
	list.Chats, err = p.store.Chats(ctx, studio.ChatFilter{
		Workspace: workspace, Folder: &none, Archived: &no, Pinned: &no, Limit: listed + 1, Offset: offset,
	})
	if err != nil {
		return nil, err
	}
	list.cut(offset)
	if offset > 0 {
		return list, nil
	}
	if list.Pinned, err = p.store.Chats(ctx, studio.ChatFilter{Workspace: workspace, Archived: &no, Pinned: &yes, Limit: listed}); err != nil {
		return nil, err
	}
	if list.Tags, err = p.store.Tags(ctx, workspace); err != nil {
		return nil, err
	}
	folders, err := p.store.Folders(ctx, workspace)
	if err != nil || len(folders) == 0 {
		return list, err
	}
	return list, p.addFolders(ctx, list, folders, "", 0)
}

// cut takes the chats away that are too many.
func (l *chatList) cut(offset int) {
	if len(l.Chats) > listed {
		l.Chats, l.More = l.Chats[:listed], offset+listed
	}
}

// deepest bounds how deep folders are shown.
const deepest = 6

func (p *Page) addFolders(ctx context.Context, list *chatList, folders []studio.Folder, parent studio.ID, depth int) error {
	no := false
	for _, f := range folders {
		if f.Parent != parent || depth > deepest {
			continue
		}
		chats, err := p.store.Chats(ctx, studio.ChatFilter{
			Workspace: list.Workspace, Folder: &f.ID, Archived: &no, Pinned: &no, Limit: listed,
		})
		if err != nil {
			return err
		}
		list.Folders = append(list.Folders, folderView{Folder: f, Depth: depth, Chats: chats})
		if err := p.addFolders(ctx, list, folders, f.ID, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// current marks the chat that is looked at.
func (l *chatList) current(chat *studio.Chat) {
	l.Current = chat.ID
	for i := range l.Folders {
		l.Folders[i].Open = l.Folders[i].ID == chat.Folder
	}
}

// modelView is a model to choose.
type modelView struct {
	Ref, Name, From, Does string
}

// auto is the reference that has the fitting model answer.
const auto = "auto"

// does says what a model does, for people.
func does(m answer.Model) string {
	switch {
	case m.Draws:
		return "draws pictures"
	case m.Upstream != "":
		return "chats; what it takes, its service says"
	}
	words := []struct{ task, text string }{
		{"chat", "chats"}, {"caption", "describes pictures"}, {"ask", "answers about pictures"},
		{"classify", "chooses among words for a picture"}, {"transcribe", "writes down speech"},
		{"read", "reads pages"}, {"regions", "finds objects"},
	}
	var list []string
	for _, w := range words {
		if slices.Contains(m.Tasks, w.task) {
			list = append(list, w.text)
		}
	}
	return strings.Join(list, ", ")
}

// models lists the models to choose among.
func (p *Page) models(ctx context.Context, workspace studio.ID) ([]modelView, error) {
	list, err := p.desk.Models(ctx, workspace)
	if err != nil {
		return nil, err
	}
	views := []modelView{{auto, "Auto", "", "the model that fits what you attach"}}
	for _, m := range list {
		if m.Upstream == "" && m.Tasks != nil && len(m.Tasks) > 0 && !slices.ContainsFunc(m.Tasks, answers) {
			continue
		}
		views = append(views, modelView{m.Ref.String(), m.Name, cmp.Or(m.From, "this machine"), does(m)})
	}
	return views, nil
}

// answers reports whether a task is one of answering.
func answers(task string) bool {
	return slices.Contains([]string{"chat", "caption", "ask", "classify", "transcribe", "read"}, task)
}

// nameOf is a model's name for people.
func nameOf(views []modelView, ref string) string {
	for _, v := range views {
		if v.Ref == ref {
			return v.Name
		}
	}
	return answer.ParseRef(ref).Name
}

// partView is an attachment.
type partView struct {
	studio.Part
	URL, Preview, Page string
	Inline             bool // whether a browser shows it as it is
}

func viewPart(workspace studio.ID, part studio.Part) partView {
	at := "/studio/w/" + string(workspace) + "/blobs/" + string(part.Blob)
	v := partView{Part: part, URL: at, Inline: slices.Contains(shown, part.Type)}
	if part.Kind == studio.KindPicture {
		v.Preview = at + "/preview?side=1024"
	}
	if part.Type == "application/pdf" || part.Type == "image/tiff" {
		v.Page = at + "/pages/"
	}
	return v
}

// messageView is a message as it is shown.
type messageView struct {
	*studio.Message
	Files    []partView
	HTML     template.HTML
	Live     bool
	Answers  bool   // it is an answer
	By       string // the model's name
	From     string // the upstream's
	Versions int
	Version  int // from 1
	Before   studio.ID
	After    studio.ID
	Chosen   bool // it is on the branch, of several side by side
	Settings []setting
	Words    bool // its words may say where they came from
}

// setting is a setting with its value, for people.
type setting struct{ Name, Value string }

// turnView is a turn of a chat: a message, or answers side by side.
type turnView struct {
	Messages []messageView
	Beside   bool
}
