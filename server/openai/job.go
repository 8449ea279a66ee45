package openai

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/grammar"
	"github.com/crossattn/xpipe/server/serving"
)

// job is what a request wants written, whichever route it came by.
type job struct {
	sampling
	turns     []turn
	prompt    string // the text to go on from, in place of turns
	found     string // the answer, where a line of a document is it
	tools     toolbox
	shape     *grammar.Grammar           // that the text is to have; nil: any
	variables map[string]json.RawMessage // of the chat template
}

// unreadHeader tells what of a conversation the model does not read, in an answer that is given all the
// same: see plain.
const unreadHeader = "Xpipe-Unread"

// request makes a model's request of a conversation. What it says of unread parts is a header.
func (j *job) request(ctx context.Context, m *serving.Model, header http.Header) (pipeline.Request, error) {
	if len(j.tools.functions) > 0 && !m.Can.Tools {
		return pipeline.Request{}, badParam("tools", unsupported, "the chat template of model %s has no place for tools", m.Name)
	}
	switch {
	case j.turns == nil:
		return pipeline.Request{Prompt: j.prompt}, nil
	case m.Can.Chat:
		return j.conversation(ctx, m)
	case len(j.variables) > 0:
		return pipeline.Request{}, badParam("chat_template_kwargs", unsupported, "model %s has no chat template", m.Name)
	case m.Can.Write || m.Can.Pick:
		return j.plain(ctx, m, header)
	}
	return pipeline.Request{}, aboutParam("model", fmt.Errorf(
		"%w: model %s writes no text; /v1/models says what each model does", pipeline.ErrUnsupported, m.Name))
}

// conversation lays turns out for a chat template, with pictures and sounds where they stand.
func (j *job) conversation(ctx context.Context, m *serving.Model) (pipeline.Request, error) {
	r := pipeline.Request{Variables: j.variables}
	if tools := j.tools.variables(); tools != nil {
		r.Variables = map[string]json.RawMessage{}
		for name, v := range j.variables {
			r.Variables[name] = v
		}
		r.Variables["tools"] = tools["tools"]
	}
	for i, t := range j.turns {
		first := len(r.Parts)
		for k, p := range t.parts {
			one := pipeline.Part{Text: p.text, Role: t.role}
			if p.kind != "" {
				item, err := itemOf(ctx, m, p)
				if err != nil {
					return r, aboutParam(fmt.Sprintf("messages[%d].content[%d]", i, k), err)
				}
				one.Item = item
			}
			r.Parts = append(r.Parts, one)
		}
		if len(t.parts) == 0 {
			r.Parts = append(r.Parts, pipeline.Part{Role: t.role})
		}
		r.Parts[first].Begins, r.Parts[first].Extra = true, t.extra
	}
	return r, nil
}

// itemOf decodes a picture or sound for a model.
func itemOf(ctx context.Context, m *serving.Model, p part) (media.Item, error) {
	if p.kind == media.Pictures {
		return m.Picture(ctx, p.data)
	}
	if !m.Can.Takes(media.Sounds) {
		return nil, fmt.Errorf("%w: model %s takes no sound", pipeline.ErrUnsupported, m.Name)
	}
	return m.Sound(ctx, p.data)
}

// plain makes a request of a conversation with a model that has no chat template: such a model answers
// one question about one picture. It is the last question, about the picture that was shown last, so
// that programs which send all of a conversation each time get an answer to what is asked now. What is
// not read of the rest is told in a header. A model that learns from examples takes the questions and
// answers before as such.
func (j *job) plain(ctx context.Context, m *serving.Model, header http.Header) (pipeline.Request, error) {
	var r pipeline.Request
	last := len(j.turns) - 1
	if j.turns[last].role != pipeline.RoleUser {
		return r, badParam("messages", invalidValue,
			"model %s has no chat template and answers questions: the last message has to be the user's", m.Name)
	}
	system, earlier := 0, 0
	var shown *part // the picture that was shown last
	var shownAt string
	for i := range j.turns {
		t := &j.turns[i]
		var pictures int
		for k, p := range t.parts {
			if p.kind != "" {
				pictures++
				shown, shownAt = &t.parts[k], fmt.Sprintf("messages[%d].content[%d]", i, k)
			}
		}
		if pictures > 1 && (i == last || m.Can.Examples) {
			return r, badParam(fmt.Sprintf("messages[%d].content", i), unsupported,
				"model %s takes one picture with a question, and here are %d", m.Name, pictures)
		}
		switch {
		case t.role == pipeline.RoleSystem:
			system++
		case i < last && m.Can.Examples:
			if err := addShot(ctx, m, &r, j.turns[i:], shown); err != nil {
				return r, aboutParam(fmt.Sprintf("messages[%d].content", i), err)
			}
		case i < last:
			earlier++
		}
	}
	if shown == nil {
		return r, badParam("messages", missing, "model %s has no chat template and answers about pictures: "+
			"send one, as an image_url with a data: URL", m.Name)
	}
	item, err := itemOf(ctx, m, *shown)
	if err != nil {
		return r, aboutParam(shownAt, err)
	}
	r.Item, r.Question = item, j.turns[last].text()
	if serving.AsksForCaption(r.Question) && slices.Contains(m.P.Tasks(), "caption") {
		r.Question = ""
	}
	noteUnread(header, system, earlier)
	return r, nil
}

// addShot makes an example of a question and the answer behind it.
func addShot(ctx context.Context, m *serving.Model, r *pipeline.Request, turns []turn, shown *part) error {
	if turns[0].role != pipeline.RoleUser || turns[1].role != pipeline.RoleAssistant || shown == nil {
		return nil
	}
	item, err := itemOf(ctx, m, *shown)
	if err != nil {
		return err
	}
	r.Shots = append(r.Shots, pipeline.Shot{Item: item, Question: turns[0].text(), Text: turns[1].text()})
	return nil
}

func noteUnread(header http.Header, system, earlier int) {
	var unread []string
	if system > 0 {
		unread = append(unread, fmt.Sprintf("%d system", system))
	}
	if earlier > 0 {
		unread = append(unread, fmt.Sprintf("%d earlier", earlier))
	}
	if unread != nil {
		header.Set(unreadHeader, "messages: "+strings.Join(unread, ", "))
	}
}
