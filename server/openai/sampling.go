package openai

import (
	"encoding/json"
	"math/rand/v2"
	"slices"
	"strconv"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/server/serving"
)

// sampling are the parameters of decoding that several routes have. What a request leaves out is as the
// model's own configuration says, not as OpenAI's models would have it: a model that was made to write
// its most probable text does so.
type sampling struct {
	Temperature      *float64 `json:"temperature"`
	TopP             *float64 `json:"top_p"`
	N                *int     `json:"n"`
	Seed             *int64   `json:"seed"`
	Stop             stopList `json:"stop"`
	FrequencyPenalty *float64 `json:"frequency_penalty"`
	PresencePenalty  *float64 `json:"presence_penalty"`
	LogitBias        biases   `json:"logit_bias"`
	// These are vLLM's.
	TopK              *int     `json:"top_k"`
	MinP              *float64 `json:"min_p"`
	RepetitionPenalty *float64 `json:"repetition_penalty"`

	maxTokens   *int
	maxName     string // of the parameter that gave it
	topLogProbs int
	logs        bool // whether logprobs are wanted
	whole       bool // whether a text is of a form that a bound might be too short for
}

// stopList is a text, or a list of some.
type stopList []string

// mostStops is how many texts may end an answer.
const mostStops = 4

// UnmarshalJSON reads either form.
func (l *stopList) UnmarshalJSON(data []byte) error {
	var one string
	var many []string
	switch {
	case isNull(data):
		return nil
	case json.Unmarshal(data, &one) == nil:
		many = []string{one}
	case json.Unmarshal(data, &many) != nil:
		return badParam("stop", "invalid_type", `"stop" is a text or a list of texts`)
	}
	if len(many) > mostStops {
		return badParam("stop", invalidValue, `"stop" has %d texts; %d are the most`, len(many), mostStops)
	}
	if slices.Contains(many, "") {
		return badParam("stop", invalidValue, `"stop" has an empty text`)
	}
	*l = many
	return nil
}

// biases are what ids of the model's own vocabulary gain.
type biases []decode.SequenceBias

// UnmarshalJSON reads {"id":bias}.
func (b *biases) UnmarshalJSON(data []byte) error {
	var byID map[string]float64
	if err := json.Unmarshal(data, &byID); err != nil {
		return badParam("logit_bias", "invalid_type", `"logit_bias" is an object of numbers by ids of tokens`)
	}
	for text, bias := range byID {
		id, err := strconv.ParseInt(text, 10, 64)
		if err != nil || id < 0 || bias < -100 || bias > 100 {
			return badParam("logit_bias", invalidValue,
				`"logit_bias" has ids of tokens with numbers from -100 to 100, and not %q with %g`, text, bias)
		}
		*b = append(*b, decode.SequenceBias{IDs: []int64{id}, Bias: bias})
	}
	return nil
}

// mostChoices bounds n.
const mostChoices = 128

// check refuses parameters out of their ranges.
func (p *sampling) check() error {
	number := func(name string, v *float64, least, most float64) error {
		if v != nil && !(*v >= least && *v <= most) {
			return badParam(name, invalidValue, "%q is %g; it goes from %g to %g", name, *v, least, most)
		}
		return nil
	}
	whole := func(name string, v *int, least, most int) error {
		if v != nil && (*v < least || *v > most) {
			return badParam(name, invalidValue, "%q is %d; it goes from %d to %d", name, *v, least, most)
		}
		return nil
	}
	for _, err := range []error{
		number("temperature", p.Temperature, 0, 2), number("top_p", p.TopP, 0, 1),
		number("frequency_penalty", p.FrequencyPenalty, -2, 2),
		number("presence_penalty", p.PresencePenalty, -2, 2),
		number("min_p", p.MinP, 0, 1), number("repetition_penalty", p.RepetitionPenalty, 1e-3, 1e3),
		whole("n", p.N, 1, mostChoices), whole("top_k", p.TopK, -1, 1<<30),
		whole(p.maxName, p.maxTokens, 1, 1<<30),
		whole("top_logprobs", &p.topLogProbs, 0, 20),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

// choices is how many texts are wanted.
func (p *sampling) choices() int {
	if p.N == nil {
		return 1
	}
	return *p.N
}

// options returns what changes the model's own parameters. Answers of a model with a chat template are
// as long as it likes, where neither the request nor the model bounds them.
func (p *sampling) options(m *serving.Model) pipeline.GenerateOption {
	seed := rand.Uint64()
	if p.Seed != nil {
		seed = uint64(*p.Seed)
	}
	most := m.P.Limits().OutputTokens
	return func(g *pipeline.Generation) {
		g.Seed, g.NumReturnSequences, g.TopLogProbs = seed, p.choices(), p.topLogProbs
		p.setLength(g, m.Can.Chat, most)
		p.setDrawing(g)
		set(&g.FrequencyPenalty, p.FrequencyPenalty)
		set(&g.PresencePenalty, p.PresencePenalty)
		set(&g.RepetitionPenalty, p.RepetitionPenalty)
		g.SequenceBias = append(slices.Clip(g.SequenceBias), p.LogitBias...)
		g.StopStrings = append(slices.Clip(g.StopStrings), p.Stop...)
	}
}

// setLength sets how long texts may be. A request may name more than the server allows: its text is cut
// there, and says so (finish_reason length).
func (p *sampling) setLength(g *pipeline.Generation, chats bool, most int) {
	switch {
	case p.maxTokens != nil:
		g.MaxNewTokens, g.MaxLength = min(*p.maxTokens, most), 0
	case chats && g.MaxNewTokens == decode.DefaultMaxNewTokens, p.whole:
		g.MaxNewTokens, g.MaxLength = most, 0
	}
}

// setDrawing sets whether ids are drawn, and how. Several texts are drawn unless temperature is 0, which
// makes them all the most probable one.
func (p *sampling) setDrawing(g *pipeline.Generation) {
	set(&g.TopP, p.TopP)
	set(&g.MinP, p.MinP)
	if p.TopK != nil {
		g.TopK = max(*p.TopK, 0) // vLLM's -1 is all
	}
	switch {
	case p.Temperature != nil && *p.Temperature == 0:
		g.DoSample = false
		if p.choices() > 1 {
			g.DoSample, g.TopK, g.Temperature, g.NumBeams = true, 1, 1, 1
		}
	case p.Temperature != nil:
		g.DoSample, g.Temperature, g.NumBeams = true, *p.Temperature, 1
	case p.choices() > 1, p.TopP != nil && *p.TopP < 1:
		g.DoSample, g.NumBeams = true, 1
	}
}

// drawing names a parameter that is given, beside temperature and seed; "": none is.
func (p *sampling) drawing() string {
	for _, c := range []struct {
		given bool
		name  string
	}{
		{p.choices() > 1, "n"}, {len(p.Stop) > 0, "stop"}, {p.maxTokens != nil, p.maxName},
		{p.TopP != nil && *p.TopP < 1, "top_p"}, {p.TopK != nil, "top_k"}, {p.MinP != nil, "min_p"},
		{len(p.LogitBias) > 0, "logit_bias"}, {p.FrequencyPenalty != nil && *p.FrequencyPenalty != 0, "frequency_penalty"},
		{p.PresencePenalty != nil && *p.PresencePenalty != 0, "presence_penalty"},
		{p.RepetitionPenalty != nil && *p.RepetitionPenalty != 1, "repetition_penalty"}, {p.logs, "logprobs"},
	} {
		if c.given {
			return c.name
		}
	}
	return ""
}

func set[T any](to *T, value *T) {
	if value != nil {
		*to = *value
	}
}
