package ollama

import (
	"context"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// answer is a line of an answer, or the whole of one. Durations are nanoseconds.
type answer struct {
	Model      string     `json:"model"`
	CreatedAt  time.Time  `json:"created_at"`
	Response   *string    `json:"response,omitempty"` // of generate
	Message    *said      `json:"message,omitempty"`  // of chat
	Done       bool       `json:"done"`
	DoneReason string     `json:"done_reason,omitempty"`
	LogProbs   []logProbs `json:"logprobs,omitempty"`
	*figures
}

// figures are what the last line says of the work.
type figures struct {
	TotalDuration      time.Duration `json:"total_duration"`
	LoadDuration       time.Duration `json:"load_duration"`
	PromptEvalCount    int           `json:"prompt_eval_count"`
	PromptEvalDuration time.Duration `json:"prompt_eval_duration"`
	EvalCount          int           `json:"eval_count"`
	EvalDuration       time.Duration `json:"eval_duration"`
}

// candidate is a token with the logarithm of its probability.
type candidate struct {
	Token   string  `json:"token"`
	LogProb float64 `json:"logprob"`
	Bytes   []int   `json:"bytes,omitempty"`
}

// logProbs are a token that was written, and those that might have been.
type logProbs struct {
	candidate
	Top []candidate `json:"top_logprobs,omitempty"`
}

func newCandidate(text string, logProb float64) candidate {
	c := candidate{Token: text, LogProb: logProb}
	for _, b := range []byte(text) {
		c.Bytes = append(c.Bytes, int(b))
	}
	return c
}

// answer makes a line of some text.
func (j *job) answer(text string) answer {
	a := answer{Model: j.modelName(), CreatedAt: time.Now().UTC()}
	if j.chat {
		a.Message = &said{Role: pipeline.RoleAssistant, Content: text}
	} else {
		a.Response = &text
	}
	return a
}

// write answers a job: with one value, or a line for each piece of the text and a last one with figures.
func (h handlers) write(w http.ResponseWriter, r *http.Request, j job) error {
	web.NoteAttr(r.Context(), slog.String("model", j.Model))
	if err := j.check(); err != nil {
		return err
	}
	if j.loads() && j.KeepAlive.given && j.KeepAlive.d == 0 {
		if _, err := h.service.Catalog.Find(j.Model); err != nil {
			return notFound(j.Model, err)
		}
		h.keep(j.Model, j.KeepAlive)
		a := j.answer("")
		a.Done, a.DoneReason = true, "unload"
		return web.WriteJSON(w, http.StatusOK, a)
	}
	start := time.Now()
	m, release, err := h.service.Use(r.Context(), j.Model)
	if err != nil {
		return notFound(j.Model, err)
	}
	defer release()
	h.keep(j.Model, j.KeepAlive)
	t := &task{job: &j, model: m, start: start, loaded: time.Now()}
	if j.loads() {
		a := j.answer("")
		a.Done, a.DoneReason = true, "load"
		return web.WriteJSON(w, http.StatusOK, a)
	}
	if err := t.prepare(r.Context()); err != nil {
		return err
	}
	if j.Stream == nil || *j.Stream {
		return t.stream(w, r)
	}
	var whole strings.Builder
	var tokens []logProbs
	last, err := t.run(r.Context(), func(a answer) error {
		whole.WriteString(a.text())
		tokens = append(tokens, a.LogProbs...)
		return nil
	})
	if err != nil {
		return err
	}
	last.setText(whole.String() + last.text())
	last.LogProbs = append(tokens, last.LogProbs...)
	return web.WriteJSON(w, http.StatusOK, last)
}

func (a *answer) text() string {
	if a.Message != nil {
		return a.Message.Content
	}
	return *a.Response
}

func (a *answer) setText(text string) {
	if a.Message != nil {
		a.Message.Content = text
	} else {
		a.Response = &text
	}
}

// task is a job with its model.
type task struct {
	*job
	model   *serving.Model
	request pipeline.Request
	g       pipeline.Generation

	start, loaded, prepared time.Time
}

// prepare makes a request for the model of what a client sent. Errors are mostly the client's.
func (t *task) prepare(ctx context.Context) (err error) {
	if t.tools != nil && !t.model.Can.Tools {
		return web.Badf("%q does not support tools: its chat template has none", t.Model)
	}
	if t.g, err = t.Options.generation(t.model.P, t.model.Can.Chat); err != nil {
		return err
	}
	if t.LogProbs {
		t.g.TopLogProbs = t.TopLogProbs
	}
	if t.g.Grammar, err = t.grammar(); err != nil {
		return err
	}
	messages := make([]pipeline.Message, len(t.messages))
	for i, m := range t.messages {
		messages[i] = pipeline.Message{Role: m.Role, Text: m.Content}
		for at, text := range m.Images {
			data, err := picture(text)
			if err != nil {
				return web.Badf("images[%d]: %w", at, err)
			}
			item, err := t.model.Picture(ctx, data)
			if err != nil {
				return err
			}
			messages[i].Items = append(messages[i].Items, item)
		}
	}
	t.request = t.model.Conversation(messages)
	if t.raw {
		t.request = rawRequest(messages[0])
	}
	t.prepared = time.Now()
	return nil
}

// rawRequest takes a text as the model reads it.
func rawRequest(m pipeline.Message) pipeline.Request {
	if len(m.Items) == 0 {
		return pipeline.Request{Prompt: m.Text}
	}
	var r pipeline.Request
	for _, item := range m.Items {
		r.Parts = append(r.Parts, pipeline.Part{Item: item})
	}
	r.Parts = append(r.Parts, pipeline.Part{Text: m.Text})
	return r
}

// run writes the text. give is called with each piece but the last, which run returns with its figures.
func (t *task) run(ctx context.Context, give func(answer) error) (answer, error) {
	pieces := serving.Pieces{Stops: t.g.StopStrings}
	var held []logProbs // of tokens whose text is held back
	var stopped bool
	var gone error
	text, err := t.model.Write(ctx, t.request, func(token pipeline.Token) bool {
		var out string
		if t.LogProbs {
			held = append(held, logProbsOf(token))
		}
		if !stopped {
			out, stopped = pieces.Push(token.Text)
		}
		if out != "" {
			a := t.answer(out)
			a.LogProbs, held = held, nil
			gone = give(a)
		}
		return gone == nil
	}, func(g *pipeline.Generation) { *g = t.g })
	if err == nil {
		err = gone
	}
	if err != nil {
		return answer{}, err
	}
	best, rest := text[0], ""
	switch {
	case len(best.Tokens) == 0: // one of a fixed list of answers, or nothing
		rest = best.Text
	case !stopped:
		rest = pieces.End()
	}
	last := t.answer(rest)
	last.LogProbs, last.Done, last.DoneReason = held, true, "length"
	if stopped || t.ended(best) {
		last.DoneReason = "stop"
	}
	ended := time.Now()
	last.figures = &figures{
		TotalDuration: ended.Sub(t.start), LoadDuration: t.loaded.Sub(t.start),
		PromptEvalCount:    best.PromptTokens,
		PromptEvalDuration: t.prepared.Sub(t.loaded) + best.Stats.Preprocess + best.Stats.Encode + best.Stats.FirstToken,
		EvalCount:          len(best.Tokens), EvalDuration: best.Stats.Generate - best.Stats.FirstToken,
	}
	return last, nil
}

// ended reports whether the model ended a text, rather than a bound.
func (t *task) ended(text *pipeline.Text) bool {
	if len(text.IDs) == 0 || t.model.Can.Pick {
		return true
	}
	return slices.Contains(t.g.EOS, text.IDs[len(text.IDs)-1])
}

func logProbsOf(token pipeline.Token) logProbs {
	l := logProbs{candidate: newCandidate(token.Text, token.LogProb)}
	for _, c := range token.Top {
		l.Top = append(l.Top, newCandidate(c.Text, c.LogProb))
	}
	return l
}

// stream writes a line for each piece. The first one is written once there is a token, so that errors
// before have a status.
func (t *task) stream(w http.ResponseWriter, r *http.Request) error {
	var lines *web.Stream
	send := func(a answer) error {
		if lines == nil {
			lines = web.Lines(w)
		}
		return lines.Send("", a)
	}
	last, err := t.run(r.Context(), send)
	if err != nil {
		if lines == nil {
			return err
		}
		return sendFailure(lines, err)
	}
	// Clients take the text from lines that are not done, some from no others.
	if last.text() != "" {
		piece := t.answer(last.text())
		piece.LogProbs, last.LogProbs = last.LogProbs, nil
		if err := send(piece); err != nil {
			return err
		}
		last.setText("")
	}
	return send(last)
}
