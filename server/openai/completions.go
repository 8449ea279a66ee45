package openai

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// completionRequest is the body of /v1/completions.
type completionRequest struct {
	Model  string          `json:"model"`
	Prompt json.RawMessage `json:"prompt"`
	sampling
	MaxTokens     *int           `json:"max_tokens"`
	LogProbs      *int           `json:"logprobs"`
	Stream        bool           `json:"stream"`
	StreamOptions *streamOptions `json:"stream_options"`
	Echo          bool           `json:"echo"`
	BestOf        *int           `json:"best_of"`
	Suffix        string         `json:"suffix"`
}

// completionTokens is how long a completion is that nothing is said about, in OpenAI's API.
const completionTokens = 16

// mostPrompts bounds the prompts of a request.
const mostPrompts = 64

// jobs checks the parameters, and makes a job of each prompt.
func (b *completionRequest) jobs() ([]*job, error) {
	prompts, err := texts("prompt", b.Prompt)
	if err != nil {
		return nil, err
	}
	j := job{sampling: b.sampling}
	j.maxTokens, j.maxName = b.MaxTokens, "max_tokens"
	if j.maxTokens == nil {
		j.maxTokens = ptr(completionTokens)
	}
	if b.LogProbs != nil {
		if *b.LogProbs < 0 || *b.LogProbs > 5 {
			return nil, badParam("logprobs", invalidValue, `"logprobs" goes from 0 to 5`)
		}
		j.topLogProbs = *b.LogProbs
	}
	switch {
	case b.Echo:
		return nil, badParam("echo", unsupported, `"echo" is not supported`)
	case b.Suffix != "":
		return nil, badParam("suffix", unsupported, `"suffix" is not supported`)
	case b.BestOf != nil && *b.BestOf != j.choices():
		return nil, badParam("best_of", unsupported, `"best_of" can only be what "n" is`)
	case b.StreamOptions != nil && !b.Stream:
		return nil, badParam("stream_options", invalidValue, `"stream_options" needs "stream": true`)
	case len(prompts) > mostPrompts:
		return nil, badParam("prompt", invalidValue, `"prompt" has %d texts; %d are the most`, len(prompts), mostPrompts)
	}
	if err := j.check(); err != nil {
		return nil, err
	}
	var jobs []*job
	for _, prompt := range prompts {
		one := j
		one.prompt = prompt
		jobs = append(jobs, &one)
	}
	return jobs, nil
}

// texts reads a text or a list of texts. Lists of tokens are refused: their ids would be those of
// another model's vocabulary as often as not.
func texts(param string, raw json.RawMessage) ([]string, error) {
	if isNull(raw) {
		return nil, badParam(param, missing, "%q is missing", param)
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}, nil
	}
	var many []string
	if json.Unmarshal(raw, &many) != nil {
		return nil, badParam(param, "invalid_type", "%q is a text or a list of texts; ids of tokens are not taken here", param)
	}
	if len(many) == 0 {
		return nil, badParam(param, invalidValue, "%q is an empty list", param)
	}
	return many, nil
}

// completions goes on from texts.
func (h handlers) completions(w http.ResponseWriter, r *http.Request) error {
	var body completionRequest
	if err := readBody(r, &body); err != nil {
		return err
	}
	jobs, err := body.jobs()
	if err != nil {
		return err
	}
	m, release, err := h.service.Use(r.Context(), h.modelName(body.Model, "chat"))
	if err != nil {
		return err
	}
	defer release()
	if m.Can.Transcribe || !m.Can.Write || len(m.Can.Media) > 0 && !m.Can.Chat && !m.Can.Examples {
		return badParam("model", unsupported, "model %s does not go on from text alone; "+
			"/v1/chat/completions takes pictures", m.Name)
	}
	head := chatHead{ID: newID("cmpl-"), Object: "text_completion", Created: time.Now().Unix(), Model: m.Name}
	if body.Stream {
		return streamCompletions(w, r, m, jobs, head, &body)
	}
	answer := completionAnswer{chatHead: head, Usage: &usage{}}
	for _, j := range jobs {
		out, err := j.write(r.Context(), m, w.Header(), nil)
		if err != nil {
			return aboutParam("prompt", err)
		}
		for _, t := range out.texts {
			c := completionChoice{Index: len(answer.Choices), Text: t.text, FinishReason: &t.finish}
			if body.LogProbs != nil {
				c.LogProbs = newCompletionLogProbs(t.tokens, 0)
			}
			answer.Choices = append(answer.Choices, c)
		}
		answer.Usage.add(out)
	}
	return web.WriteJSON(w, http.StatusOK, answer)
}

func (u *usage) add(out *outcome) {
	one := newUsage(out)
	u.PromptTokens += one.PromptTokens
	u.CompletionTokens += one.CompletionTokens
	u.TotalTokens += one.TotalTokens
}

type completionAnswer struct {
	chatHead
	Choices []completionChoice `json:"choices"`
	Usage   *usage             `json:"usage,omitempty"`
}

type completionChoice struct {
	Index        int                 `json:"index"`
	Text         string              `json:"text"`
	LogProbs     *completionLogProbs `json:"logprobs"`
	FinishReason *string             `json:"finish_reason"`
}

// completionLogProbs are columns, a row a token.
type completionLogProbs struct {
	Tokens      []string             `json:"tokens"`
	LogProbs    []float64            `json:"token_logprobs"`
	Top         []map[string]float64 `json:"top_logprobs"`
	TextOffsets []int                `json:"text_offset"` // in characters
}

// newCompletionLogProbs lists tokens whose text begins at an offset.
func newCompletionLogProbs(tokens []pipeline.Token, offset int) *completionLogProbs {
	l := &completionLogProbs{[]string{}, []float64{}, []map[string]float64{}, []int{}}
	for _, t := range tokens {
		l.Tokens = append(l.Tokens, t.Text)
		l.LogProbs = append(l.LogProbs, max(t.LogProb, leastLogProb))
		top := map[string]float64{}
		for _, c := range t.Top {
			if known, ok := top[c.Text]; !ok || known < c.LogProb {
				top[c.Text] = max(c.LogProb, leastLogProb)
			}
		}
		l.Top = append(l.Top, top)
		l.TextOffsets = append(l.TextOffsets, offset)
		offset += len([]rune(t.Text))
	}
	return l
}

// streamCompletions goes on from texts event by event, one text after the other.
func streamCompletions(
	w http.ResponseWriter, r *http.Request, m *serving.Model, jobs []*job, head chatHead, body *completionRequest,
) error {
	var stream *web.Stream
	send := func(choices []completionChoice, u *usage) error {
		if stream == nil {
			stream = web.Events(w)
		}
		return stream.Send("", completionAnswer{head, choices, u})
	}
	var total usage
	for i, j := range jobs {
		first := i * j.choices()
		offsets := map[int]int{}
		out, err := j.write(r.Context(), m, w.Header(), func(text int, p piece) error {
			c := completionChoice{Index: first + text, Text: p.text}
			if body.LogProbs != nil {
				c.LogProbs = newCompletionLogProbs(p.tokens, offsets[text])
			}
			for _, t := range p.tokens {
				offsets[text] += len([]rune(t.Text))
			}
			return send([]completionChoice{c}, nil)
		})
		if err != nil {
			return endStream(stream, aboutParam("prompt", err))
		}
		for k, t := range out.texts {
			if err := send([]completionChoice{{Index: first + k, FinishReason: &t.finish}}, nil); err != nil {
				return err
			}
		}
		total.add(out)
	}
	if body.StreamOptions != nil && body.StreamOptions.IncludeUsage {
		if err := send([]completionChoice{}, &total); err != nil {
			return err
		}
	}
	return stream.Raw("", []byte("[DONE]"))
}
