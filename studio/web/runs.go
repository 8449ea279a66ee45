package web

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
	"time"

	server "github.com/crossattn/xpipe/server/web"
	"github.com/crossattn/xpipe/studio"
	"github.com/crossattn/xpipe/studio/answer"
)

// runs are the answers that are being written. They go on whoever looks at them or goes away.
type runs struct {
	page *Page

	mu       sync.Mutex
	live     map[studio.ID]*live                   // by message
	watchers map[studio.ID]map[chan event]struct{} // by chat
	done     sync.WaitGroup
	ctx      context.Context
	end      context.CancelFunc
}

// live is an answer that is being written.
type live struct {
	chat   studio.ID
	text   strings.Builder
	cancel context.CancelCauseFunc
}

// event tells those who look at a chat of what happens in it.
type event struct {
	Kind    string    `json:"-"` // text, piece, done or title
	Message studio.ID `json:"message,omitempty"`
	Text    string    `json:"text"`
}

func newRuns(p *Page) *runs {
	r := &runs{page: p, live: map[studio.ID]*live{}, watchers: map[studio.ID]map[chan event]struct{}{}}
	r.ctx, r.end = context.WithCancel(context.Background())
	return r
}

// errStopped is the cause of the end of an answer that its reader stopped.
var errStopped = errors.New("stopped")

// saved is how often what there is of an answer is kept.
const saved = time.Second

// kept bounds the time in which the end of an answer is kept, also when the program ends.
const kept = 10 * time.Second

// start has a message answered: one that is waiting, in the store.
func (r *runs) start(m *studio.Message, q answer.Question) {
	ctx, cancel := context.WithCancelCause(r.ctx)
	l := &live{chat: m.Chat, cancel: cancel}
	r.mu.Lock()
	r.live[m.ID] = l
	r.mu.Unlock()
	id := m.ID
	r.done.Go(func() {
		defer cancel(nil)
		r.run(ctx, id, l, q)
	})
}

// run writes an answer and keeps it.
func (r *runs) run(ctx context.Context, id studio.ID, l *live, q answer.Question) {
	store := r.page.store
	last := time.Now()
	reply, err := r.page.desk.Answer(ctx, q, func(piece string) {
		r.mu.Lock()
		l.text.WriteString(piece)
		text := l.text.String()
		r.tell(l.chat, event{"piece", id, piece})
		r.mu.Unlock()
		if time.Since(last) < saved {
			return
		}
		last = time.Now()
		if _, err := store.UpdateMessage(ctx, id, func(m *studio.Message) error {
			m.State, m.Parts = studio.Writing, []studio.Part{studio.TextPart(text)}
			return nil
		}); err != nil && ctx.Err() == nil {
			r.page.log.Warn("studio: what there is of an answer could not be kept", "error", err)
		}
	})
	state, message := studio.Done, ""
	switch {
	case ctx.Err() != nil: // by the reader, or the end of the program
		state = studio.Stopped
	case err != nil:
		_, message = statusOf(err)
		state = studio.Failed
	}
	keep, cancel := context.WithTimeout(context.WithoutCancel(ctx), kept)
	defer cancel()
	m, err := store.UpdateMessage(keep, id, func(m *studio.Message) error {
		m.State, m.Error, m.Parts, m.Answer = state, message, reply.Parts, &reply.Answer
		return nil
	})
	if err != nil && !errors.Is(err, studio.ErrNotFound) {
		r.page.log.Error("studio: an answer could not be kept", "error", err)
	}
	r.mu.Lock()
	delete(r.live, id)
	r.tell(l.chat, event{"done", id, ""})
	r.mu.Unlock()
	if err == nil && state == studio.Done && reply.Answer.Seconds < traced.Seconds() {
		r.trace(ctx, m, q)
	}
}

// traced is how long an answer may have taken for its words to be traced at once, without being asked for: the
// model is open then, and it takes about as long again.
const traced = 20 * time.Second

// trace finds and keeps where an answer's words came from.
func (r *runs) trace(ctx context.Context, m *studio.Message, q answer.Question) {
	if m.Answer.Settings["task"] != answer.TaskWrite && m.Answer.Settings["task"] != answer.TaskClassify {
		return // it knows already
	}
	if err := r.page.traceWords(ctx, m, q); err != nil && ctx.Err() == nil {
		r.page.log.Info("studio: an answer's words could not be traced", "error", err)
	}
}

// stop ends an answer. It reports whether it was being written.
func (r *runs) stop(message studio.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.live[message]
	if l != nil {
		l.cancel(errStopped)
	}
	return l != nil
}

// text is what there is of an answer that is being written.
func (r *runs) text(message studio.ID) (string, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if l := r.live[message]; l != nil {
		return l.text.String(), true
	}
	return "", false
}

// tell tells those who look at a chat. The lock is held. Who is too slow misses pieces, and is sent the whole
// text again.
func (r *runs) tell(chat studio.ID, e event) {
	for c := range r.watchers[chat] {
		select {
		case c <- e:
		default:
			delete(r.watchers[chat], c)
			close(c)
		}
	}
}

// watch returns what happens in a chat, beginning with the texts there are. leave ends it; the channel is closed
// for who is too slow.
func (r *runs) watch(chat studio.ID) (begin []event, events chan event, leave func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	events = make(chan event, 256)
	if r.watchers[chat] == nil {
		r.watchers[chat] = map[chan event]struct{}{}
	}
	r.watchers[chat][events] = struct{}{}
	for id, l := range r.live {
		if l.chat == chat {
			begin = append(begin, event{"text", id, l.text.String()})
		}
	}
	return begin, events, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.watchers[chat], events)
		if len(r.watchers[chat]) == 0 {
			delete(r.watchers, chat)
		}
	}
}

// busy reports whether anything is being written in a chat.
func (r *runs) busy(chat studio.ID) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.live {
		if l.chat == chat {
			return true
		}
	}
	return false
}

func (r *runs) close() {
	r.end()
	r.done.Wait()
}

// alive is how often a stream of events says that it lives.
const alive = 15 * time.Second

// events streams what happens in a chat, until nothing more does.
func (p *Page) events(w http.ResponseWriter, r *http.Request) error {
	chat := id(r, "chat")
	if _, err := p.store.Chat(r.Context(), chat); err != nil {
		return err
	}
	begin, events, leave := p.runs.watch(chat)
	defer leave()
	stream := server.Events(w)
	for _, e := range begin {
		if stream.Send(e.Kind, e) != nil {
			return nil
		}
	}
	beat := time.NewTicker(alive)
	defer beat.Stop()
	for p.runs.busy(chat) || len(events) > 0 {
		var err error
		select {
		case e, ok := <-events:
			if !ok { // too slow: it comes again and begins anew
				return nil
			}
			err = stream.Send(e.Kind, e)
		case <-beat.C:
			err = stream.Send("alive", struct{}{})
		case <-p.runs.ctx.Done():
			return nil
		case <-r.Context().Done():
			return nil
		}
		if err != nil {
			return nil // the client is gone
		}
	}
	stream.Send("idle", struct{}{})
	return nil
}
