package web

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"time"

	server "github.com/crossattn/xpipe/server/web"
	"github.com/crossattn/xpipe/studio"
	"github.com/crossattn/xpipe/studio/answer"
)

// words serves where the words of an answer came from. Those that are not known yet are traced for it, by the
// model that wrote them.
func (p *Page) words(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	m, err := p.store.Message(ctx, id(r, "message"))
	if err != nil {
		return err
	}
	if m.Answer == nil || !m.State.Final() {
		return server.Badf("this is no answer that is finished")
	}
	if !traceable(m.Answer) || r.FormValue("trace") == "" {
		return p.sendWords(w, m)
	}
	messages, err := p.store.Messages(ctx, m.Chat)
	if err != nil {
		return err
	}
	chat, err := p.store.Chat(ctx, m.Chat)
	if err != nil {
		return err
	}
	q := answer.Question{Workspace: chat.Workspace, Model: answer.Ref{Upstream: m.Answer.Upstream, Name: m.Answer.Model}}
	branch := studio.NewTree(messages).Branch(m.Parent)
	q.Branch = branch
	if m.Answer.Persona != "" {
		if q.Persona, err = p.store.Persona(ctx, m.Answer.Persona); err != nil && !errors.Is(err, studio.ErrNotFound) {
			return err
		}
	}
	if err := p.traceWords(ctx, m, q); err != nil {
		return err
	}
	return p.sendWords(w, m)
}

// traceable reports whether it may be found out where an answer's words came from, and was not yet.
func traceable(a *studio.Answer) bool {
	return !slices.ContainsFunc(a.Words, func(w studio.Word) bool { return len(w.Sources) > 0 }) && a.Settings["traced"] == nil
}

// traceWords finds where an answer's words came from, and keeps it. Who asks for what is being traced waits for
// it.
func (p *Page) traceWords(ctx context.Context, m *studio.Message, q answer.Question) error {
	found, err, _ := p.tracing.Do(string(m.ID), func() (any, error) {
		ctx, cancel := context.WithTimeout(p.runs.ctx, traceTime) // it is kept for others, too
		defer cancel()
		words, err := p.desk.Trace(ctx, q, m)
		if err != nil || words == nil {
			return words, err
		}
		_, err = p.store.UpdateMessage(ctx, m.ID, func(kept *studio.Message) error {
			if kept.Answer != nil {
				kept.Answer.Words, kept.Answer.HasWords = words, true
			}
			return nil
		})
		return words, err
	})
	if words, ok := found.([]studio.Word); ok && words != nil {
		m.Answer.Words, m.Answer.HasWords = words, true
	}
	return errors.Join(err, ctx.Err())
}

// traceTime bounds the tracing of an answer's words.
const traceTime = 2 * time.Minute

func (p *Page) sendWords(w http.ResponseWriter, m *studio.Message) error {
	words := m.Answer.Words
	if words == nil {
		words = []studio.Word{}
	}
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(map[string]any{"words": words, "traceable": traceable(m.Answer)})
}
