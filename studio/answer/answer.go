// Package answer has models answer what is said in a chat, and says of each word of an answer where in the
// attachments it came from. Models are those of the server, which package serving holds open, and those of
// upstreams, which package upstream asks. It knows no HTTP and keeps nothing.
package answer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/studio"
	"github.com/crossattn/xpipe/studio/upstream"
)

// Store is what a Desk needs of a studio's.
type Store interface {
	OpenBlob(ctx context.Context, blob studio.Hash) (*os.File, error)
	PutBlob(ctx context.Context, content io.Reader, limit int64) (*studio.Blob, error)
	Upstream(ctx context.Context, id studio.ID) (*studio.Upstream, error)
	Upstreams(ctx context.Context, workspace studio.ID) ([]studio.Upstream, error)
	Key(ctx context.Context, upstream studio.ID) (studio.Secret, error)
}

// Desk is where questions are answered. It is safe for concurrent use.
type Desk struct {
	Serving *serving.Service
	Store   Store
	// Fetch gets pictures that an upstream gives by their address; nil: they are errors.
	Fetch func(ctx context.Context, u *url.URL) ([]byte, error)

	documents documents
}

// Question is what a model is to answer.
type Question struct {
	Workspace studio.ID
	Model     Ref
	Persona   *studio.Persona // nil: none
	// Settings are temperature, max_new_tokens, seed, size (of drawn pictures), and language and task (of what
	// is heard); those that the model has no use for are passed over.
	Settings map[string]any
	// Branch is the conversation, its last message the one to answer.
	Branch []*studio.Message
}

// Reply is an answer, or what there was of it when it ended.
type Reply struct {
	Parts  []studio.Part
	Answer studio.Answer
}

// The tasks that the setting "task" of an answer may name: what was done for it.
const (
	TaskWrite      = "write"
	TaskTranscribe = "transcribe"
	TaskTranslate  = "translate"
	TaskRead       = "read"
	TaskClassify   = "classify"
	TaskDraw       = "draw"
)

// Ref names a model: one of the server by its name, or one of an upstream.
type Ref struct {
	Upstream studio.ID // "": it runs here
	Name     string
}

// ParseRef reads what String made.
func ParseRef(text string) Ref {
	if id, name, ok := strings.Cut(text, "/"); ok && studio.ID(id).Valid() {
		return Ref{studio.ID(id), name}
	}
	return Ref{Name: text}
}

func (r Ref) String() string {
	if r.Upstream == "" {
		return r.Name
	}
	return string(r.Upstream) + "/" + r.Name
}

// Model is a model that may be asked.
type Model struct {
	Ref
	From  string   // the upstream's name; "" for those of the server
	Tasks []string // as api.TasksOf has them; none where only opening tells, and for those of upstreams
	Bytes int64
	Draws bool
}

// Models lists the models that may be asked in a workspace. None is opened for it, and no upstream asked.
func (d *Desk) Models(ctx context.Context, workspace studio.ID) ([]Model, error) {
	var list []Model
	for _, m := range d.Serving.Catalog.Declared() {
		list = append(list, Model{Ref: Ref{Name: m.Name}, Tasks: m.Tasks, Bytes: m.Bytes})
	}
	ups, err := d.Store.Upstreams(ctx, workspace)
	if err != nil {
		return nil, err
	}
	for _, u := range ups {
		for _, name := range u.Models {
			list = append(list, Model{Ref: Ref{u.ID, name}, From: u.Name, Draws: draws(name)})
		}
	}
	return list, nil
}

// ErrCannot is the error of a question that the model has no answer to; the message says what it does answer.
var ErrCannot = errors.New("this model cannot answer that")

func cannot(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCannot, fmt.Sprintf(format, args...))
}

// Answer answers a question. It gives emit each piece of the text as it comes. Where ctx ends, or the model
// fails on the way, the reply holds what came until then, beside the error.
func (d *Desk) Answer(ctx context.Context, q Question, emit func(piece string)) (Reply, error) {
	if len(q.Branch) == 0 || q.Branch[len(q.Branch)-1].Role != studio.RoleUser {
		return Reply{}, cannot("there is nothing to answer")
	}
	w := &writer{emit: emit, start: time.Now()}
	w.reply.Answer = studio.Answer{
		Model: q.Model.Name, Upstream: q.Model.Upstream, Settings: map[string]any{},
	}
	if q.Persona != nil {
		w.reply.Answer.Persona, w.reply.Answer.PersonaName = q.Persona.ID, q.Persona.Name
	}
	var err error
	if q.Model.Upstream != "" {
		err = d.elsewhere(ctx, q, w)
	} else {
		err = d.here(ctx, q, w)
	}
	return w.end(), err
}

// writer gathers a reply.
type writer struct {
	emit  func(string)
	start time.Time
	text  strings.Builder
	reply Reply
}

// say adds to the text.
func (w *writer) say(piece string) {
	if piece == "" {
		return
	}
	if w.text.Len() == 0 {
		w.reply.Answer.FirstToken = time.Since(w.start).Seconds()
	}
	w.text.WriteString(piece)
	if w.emit != nil {
		w.emit(piece)
	}
}

// used notes a setting that had its effect.
func (w *writer) used(name string, value any) { w.reply.Answer.Settings[name] = value }

// end makes the reply of what was said.
func (w *writer) end() Reply {
	w.reply.Answer.Seconds = time.Since(w.start).Seconds()
	if text := w.text.String(); text != "" {
		w.reply.Parts = append([]studio.Part{studio.TextPart(text)}, w.reply.Parts...)
	}
	for _, word := range w.reply.Answer.Words {
		if word.To > w.text.Len() { // of a text that was cut
			w.reply.Answer.Words = nil
			break
		}
	}
	w.reply.Answer.HasWords = len(w.reply.Answer.Words) > 0
	return w.reply
}

// number reads a setting that is a number, as JSON or a form has it.
func number(settings map[string]any, name string) (float64, bool) {
	switch v := settings[name].(type) {
	case float64:
		return v, true
	case int:
		return float64(v), true
	}
	return 0, false
}

// client returns what asks an upstream, with its name.
func (d *Desk) client(ctx context.Context, id studio.ID) (*upstream.Client, error) {
	u, err := d.Store.Upstream(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("the upstream of this model is not there any more: %w", err)
	}
	key, err := d.Store.Key(ctx, id)
	if err != nil && !errors.Is(err, studio.ErrNotFound) {
		return nil, err
	}
	return &upstream.Client{Base: u.URL, Key: string(key), Fetch: d.Fetch}, nil
}

// Fitting is the model that answers a conversation where none is named, by what was attached last and what there
// is: nothing is opened to find it.
func (d *Desk) Fitting(ctx context.Context, workspace studio.ID, branch []*studio.Message) Ref {
	catalog := d.Serving.Catalog
	text := ""
	if len(branch) > 0 {
		text = branch[len(branch)-1].Text()
	}
	models, _ := d.Models(ctx, workspace) // without it one of the server answers
	chats := func(m Model) bool {
		return m.Upstream != "" && !m.Draws || slices.Contains(m.Tasks, "chat")
	}
	latest := attached(branch, studio.KindPicture, studio.KindPage, studio.KindSound, studio.KindFilm, studio.KindFile)
	kind := studio.KindText
	if latest != nil {
		kind = latest[0].Kind
	}
	switch kind {
	case studio.KindSound:
		return Ref{Name: catalog.For("transcribe")}
	case studio.KindPage:
		if i := slices.IndexFunc(models, chats); i >= 0 && text != "" {
			return models[i].Ref
		}
		return Ref{Name: catalog.For("read")}
	case studio.KindPicture, studio.KindFilm:
		if serving.AsksForCaption(text) {
			return Ref{Name: catalog.For("caption")}
		}
		return Ref{Name: catalog.For("ask")}
	}
	if i := slices.IndexFunc(models, chats); i >= 0 {
		return models[i].Ref
	}
	return Ref{Name: catalog.For("ask")}
}

// UpstreamModels asks an upstream which models it has.
func (d *Desk) UpstreamModels(ctx context.Context, id studio.ID) ([]string, error) {
	c, err := d.client(ctx, id)
	if err != nil {
		return nil, err
	}
	return c.Models(ctx)
}
