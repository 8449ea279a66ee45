package openai

import (
	"net/http"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// responseStream writes an answer as events, each with its name and number.
type responseStream struct {
	w      http.ResponseWriter
	stream *web.Stream
	number int
	answer *response
	logs   bool
	item   string // the message that is being written; "": none yet
}

// event is what an event has beside its name and number.
type event map[string]any

// send sends an event. The first one is preceded by those that begin an answer.
func (s *responseStream) send(name string, e event) error {
	if s.stream == nil {
		s.stream = web.Events(s.w)
		for _, first := range []string{"response.created", "response.in_progress"} {
			if err := s.send(first, event{"response": s.answer}); err != nil {
				return err
			}
		}
	}
	e["type"], e["sequence_number"] = name, s.number
	s.number++
	return s.stream.Send(name, e)
}

// open begins the message.
func (s *responseStream) open() error {
	if s.item != "" {
		return nil
	}
	s.item = newID("msg_")
	empty := outputMessage{s.item, "message", "in_progress", pipeline.RoleAssistant, []outputText{}}
	if err := s.send("response.output_item.added", event{"output_index": 0, "item": empty}); err != nil {
		return err
	}
	return s.send("response.content_part.added", s.inText(event{"part": newOutputText(written{}, false)}))
}

// inText adds where in the answer the message's text is.
func (s *responseStream) inText(e event) event {
	e["item_id"], e["output_index"], e["content_index"] = s.item, 0, 0
	return e
}

// piece sends a piece of the text.
func (s *responseStream) piece(_ int, p piece) error {
	if p.text == "" && (!s.logs || len(p.tokens) == 0) {
		return nil
	}
	if err := s.open(); err != nil {
		return err
	}
	e := s.inText(event{"delta": p.text, "logprobs": []tokenLogProb{}})
	if s.logs {
		e["logprobs"] = tokenLogProbs(p.tokens)
	}
	return s.send("response.output_text.delta", e)
}

// end sends what ends the items and the answer.
func (s *responseStream) end(out *outcome) error {
	t := out.texts[0]
	if s.item != "" || len(t.calls) == 0 {
		if err := s.endMessage(t); err != nil {
			return err
		}
	}
	for _, call := range t.calls {
		if err := s.call(call); err != nil {
			return err
		}
	}
	s.answer.complete(out)
	return s.send("response."+s.answer.Status, event{"response": s.answer})
}

func (s *responseStream) endMessage(t written) error {
	if err := s.open(); err != nil {
		return err
	}
	text, item := newOutputText(t, s.logs), newOutputMessage(s.item, t, s.logs)
	err := s.send("response.output_text.done", s.inText(event{"text": t.text, "logprobs": text.LogProbs}))
	if err == nil {
		err = s.send("response.content_part.done", s.inText(event{"part": text}))
	}
	if err == nil {
		err = s.send("response.output_item.done", event{"output_index": 0, "item": item})
	}
	s.answer.Output = append(s.answer.Output, item)
	return err
}

// call sends a call of a tool, whose arguments come whole.
func (s *responseStream) call(c toolCall) error {
	index, item := len(s.answer.Output), newOutputCall(newID("fc_"), c)
	begun := item
	begun.Status, begun.Arguments = "in_progress", ""
	for _, one := range []struct {
		name string
		e    event
	}{
		{"response.output_item.added", event{"item": begun}},
		{"response.function_call_arguments.delta", event{"item_id": item.ID, "delta": item.Arguments}},
		{"response.function_call_arguments.done",
			event{"item_id": item.ID, "name": item.Name, "arguments": item.Arguments}},
		{"response.output_item.done", event{"item": item}},
	} {
		one.e["output_index"] = index
		if err := s.send(one.name, one.e); err != nil {
			return err
		}
	}
	s.answer.Output = append(s.answer.Output, item)
	return nil
}

// streamResponse answers an input event by event. What fails before the first event has a status of its
// own; behind it the error is an event.
func streamResponse(
	w http.ResponseWriter, r *http.Request, m *serving.Model, j *job, answer *response, logs bool,
) error {
	s := &responseStream{w: w, answer: answer, logs: logs}
	out, err := j.write(r.Context(), m, w.Header(), s.piece)
	if err == nil {
		return s.end(out)
	}
	if s.stream != nil {
		f := streamFailure(err)
		s.send("error", event{"message": f.Message, "code": f.Code, "param": f.Param})
	}
	return err
}
