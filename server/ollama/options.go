package ollama

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/server/web"
)

// options are those of a request, by name; see readers.
type options map[string]json.RawMessage

// sampling is what options make of the settings of decoding.
type sampling struct {
	g      pipeline.Generation
	tokens int // the most that a text may have here
	seeded bool
	// unpenalised says that repeat_last_n takes repeat_penalty back.
	unpenalised bool
}

// reader takes the value of an option.
type reader func(s *sampling, value json.RawMessage) error

// readers are the options that do something, those whose value may be what does nothing, and those that
// say how a llama.cpp is to run, which is not here to be told.
var readers = map[string]reader{
	"temperature": number(func(s *sampling, v float64) {
		if s.g.DoSample = v != 0; s.g.DoSample {
			s.g.Temperature = v // a negative one is refused with the other settings
		}
	}),
	"top_k":          number(func(s *sampling, v int) { s.g.TopK = max(v, 0) }),
	"top_p":          number(func(s *sampling, v float64) { s.g.TopP = v }),
	"min_p":          number(func(s *sampling, v float64) { s.g.MinP = v }),
	"typical_p":      number(func(s *sampling, v float64) { s.g.TypicalP = v }),
	"repeat_penalty": number(func(s *sampling, v float64) { s.g.RepetitionPenalty = v }),
	"seed": number(func(s *sampling, v int64) {
		if v >= 0 { // below 0 it is another one each time
			s.g.Seed, s.seeded = uint64(v), true
		}
	}),
	"num_predict": number(func(s *sampling, v int) {
		if s.g.MaxLength = 0; v <= 0 { // as long as the model and the server's limits let it
			v = s.tokens
		}
		s.g.MaxNewTokens = v
	}),
	"stop": readStops,

	"presence_penalty":  number(func(s *sampling, v float64) { s.g.PresencePenalty = v }),
	"frequency_penalty": number(func(s *sampling, v float64) { s.g.FrequencyPenalty = v }),

	"mirostat":     only(0),
	"mirostat_tau": nothing,
	"mirostat_eta": nothing,
	"tfs_z":        only(1),
	"repeat_last_n": number(func(s *sampling, v int) {
		// -1 stands for the whole context, and 0 for no penalty.
		s.g.RepetitionLast, s.unpenalised = max(v, 0), v == 0
	}),

	// A model's context is what its graphs were made for.
	"num_ctx": nothing, "num_keep": nothing, "penalize_newline": nothing,
	"num_batch": nothing, "num_gpu": nothing, "main_gpu": nothing, "num_thread": nothing, "numa": nothing,
	"low_vram": nothing, "f16_kv": nothing, "vocab_only": nothing, "use_mmap": nothing, "use_mlock": nothing,
	"logits_all": nothing, "embedding_only": nothing,
}

func nothing(*sampling, json.RawMessage) error { return nil }

// number reads a number.
func number[T int | int64 | float64](set func(s *sampling, v T)) reader {
	return func(s *sampling, value json.RawMessage) error {
		var v T
		if err := json.Unmarshal(value, &v); err != nil {
			return web.Badf("should be a number, not %.40s", value)
		}
		set(s, v)
		return nil
	}
}

// only refuses every value but the one with which an option does nothing.
func only(neutral float64) reader {
	return func(_ *sampling, value json.RawMessage) error {
		var v float64
		if err := json.Unmarshal(value, &v); err != nil || v != neutral {
			return web.Badf("is not done here; leave it out, or give %g", neutral)
		}
		return nil
	}
}

// readStops reads one string or several.
func readStops(s *sampling, value json.RawMessage) error {
	var one string
	var several []string
	switch {
	case json.Unmarshal(value, &one) == nil:
		several = []string{one}
	case json.Unmarshal(value, &several) != nil:
		return web.Badf("should be a list of strings")
	}
	several = slices.DeleteFunc(several, func(t string) bool { return t == "" })
	s.g.StopStrings = append(slices.Clip(s.g.StopStrings), several...)
	return nil
}

// chatTokens is how long an answer may be where neither the request nor the model says it.
const chatTokens = 1024

// generation returns the settings that options make of a model's own. Errors are the client's.
func (o options) generation(p *pipeline.Pipeline, chats bool) (pipeline.Generation, error) {
	s := sampling{g: p.Generation(), tokens: min(p.Limits().OutputTokens, math.MaxInt32)}
	s.g.NumReturnSequences = 1
	if chats && s.g.MaxNewTokens == decode.DefaultMaxNewTokens {
		s.g.MaxNewTokens = min(chatTokens, s.tokens)
	}
	for _, name := range slices.Sorted(maps.Keys(o)) {
		value := o[name]
		if bytes.Equal(value, []byte("null")) {
			continue
		}
		read, ok := readers[name]
		if !ok {
			return s.g, web.Badf("options: there is no option %.60q", name)
		}
		if err := read(&s, value); err != nil {
			return s.g, web.Badf("options: %s %w", name, err)
		}
	}
	if s.unpenalised {
		s.g.RepetitionPenalty = 1
	}
	if s.g.DoSample && !s.seeded {
		s.g.Seed = rand.Uint64()
	}
	return s.g, nil
}
