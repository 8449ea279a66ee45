package openai

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/serving"
)

// The reasons for which a text ends.
const (
	finishStop   = "stop"
	finishLength = "length"
	finishCalls  = "tool_calls"
)

// written is a text that answers a request.
type written struct {
	text   string
	tokens []pipeline.Token // of text
	calls  []toolCall
	finish string
	stop   string // of the request's, the one that ended the text; "": none
}

// outcome is all that was written for a request.
type outcome struct {
	texts  []written
	prompt int // tokens that were read
	tokens int // that were written, ends included
}

// write does a job. It calls emit, where that is not nil, with the pieces of each text as they come; an
// error of emit ends the writing, and is the error.
func (j *job) write(
	ctx context.Context, m *serving.Model, header http.Header, emit func(text int, p piece) error,
) (*outcome, error) {
	if emit == nil {
		emit = func(int, piece) error { return nil }
	}
	if j.found != "" {
		return j.giveFound(emit)
	}
	if m.Can.Transcribe && !m.Can.Chat {
		return j.hear(ctx, m, header, emit)
	}
	r, err := j.request(ctx, m, header)
	if err != nil {
		return nil, err
	}
	j.whole = j.shape != nil
	writers := make([]writer, j.choices())
	for i := range writers {
		writers[i] = writer{stops: j.Stop, tools: &j.tools, bare: j.turns == nil}
	}
	var failed error
	give := func(text int, p piece) bool {
		if failed == nil && !p.empty() {
			failed = emit(text, p)
		}
		return failed == nil
	}
	texts, err := m.WriteEach(ctx, r, func(text int, t pipeline.Token) bool {
		return give(text, writers[text].add(t))
	}, j.options(m), pipeline.WithGrammar(j.shape))
	if failed != nil {
		return nil, failed
	}
	if j.shape != nil && errors.Is(err, pipeline.ErrOption) { // it needs more tokens than there may be
		err = aboutParam(j.maxName, err)
	}
	if err != nil {
		return nil, err
	}
	out := &outcome{prompt: texts[0].PromptTokens}
	for i, t := range texts {
		w := &writers[i]
		if len(t.Tokens) == 0 && t.Text != "" { // from a fixed list of answers
			give(i, w.add(pipeline.Token{Text: t.Text, LogProb: t.LogProb}))
		}
		last := w.finish()
		give(i, last)
		// A text of a form is whole, and ends by itself also where there is no room for an end.
		one := written{text: w.out.String(), calls: last.calls, finish: finishOf(m, t, w.ended || j.whole), stop: w.stop}
		for _, p := range w.tokens[:w.passed] {
			one.tokens = append(one.tokens, p.Token)
		}
		if len(last.calls) > 0 {
			one.finish = finishCalls
		}
		out.texts = append(out.texts, one)
		out.tokens += len(t.IDs)
	}
	return out, failed
}

// finishOf says why a text ends: by itself or by a text that ends it, or because it may be no longer.
func finishOf(m *serving.Model, t *pipeline.Text, stopped bool) string {
	own := func(stop string) bool { return strings.Contains(t.Text, stop) }
	if stopped || len(t.IDs) != len(t.Tokens) || len(t.Tokens) == 0 ||
		slices.ContainsFunc(m.P.Generation().StopStrings, own) {
		return finishStop
	}
	return finishLength
}

// hear answers a message to a model that does nothing but transcribe: what is said in the sound that
// came last.
func (j *job) hear(
	ctx context.Context, m *serving.Model, header http.Header, emit func(int, piece) error,
) (*outcome, error) {
	var sound *part
	unread := 0
	for i := range j.turns {
		for k, p := range j.turns[i].parts {
			switch {
			case p.kind == media.Sounds:
				sound = &j.turns[i].parts[k]
			case p.kind != "":
				return nil, badParam("messages", unsupported, "model %s hears; it takes no picture", m.Name)
			case strings.TrimSpace(p.text) != "":
				unread++
			}
		}
	}
	if sound == nil {
		return nil, badParam("messages", missing, "model %s writes down what is said: send a sound, as input_audio", m.Name)
	}
	if param := j.drawing(); param != "" {
		return nil, badParam(param, unsupported, "model %s transcribes whole sounds: %q means nothing to it", m.Name, param)
	}
	if unread > 0 {
		header.Set(unreadHeader, "texts beside the sound")
	}
	heard, err := m.Sound(ctx, sound.data)
	if err != nil {
		return nil, aboutParam("messages", err)
	}
	var failed error
	begun := false
	t, err := m.P.Transcribe(ctx, heard, func(o *pipeline.Transcription) {
		if j.Temperature != nil {
			o.Temperatures = []float64{*j.Temperature}
		}
		if j.Seed != nil {
			o.Seed = uint64(*j.Seed)
		}
		o.Emit = func(s pipeline.Segment) bool {
			text := s.Text
			if !begun {
				text = strings.TrimLeft(text, " ")
			}
			begun = true
			failed = emit(0, piece{text: text})
			return failed == nil
		}
	})
	if failed != nil {
		return nil, failed
	}
	if err != nil {
		return nil, err
	}
	return &outcome{texts: []written{{text: strings.TrimSpace(t.Text), finish: finishStop}}, tokens: len(t.IDs)}, nil
}
