package graph

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/tensor"
)

// onnxruntime-genai's genai_config.json may give the inputs and outputs of each part other names
// than the usual ones. A renamed session has the usual ones, so that nothing else knows.

// genAIParts are the parts of genai_config.json by role.
var genAIParts = map[string]string{
	Decoder: "decoder", Encoder: "encoder", VisionEncoder: "vision", EmbedTokens: "embedding",
}

// genAINames are genai_config.json's keys for names that hold a layer's number, as %d.
var genAINames = map[string]string{
	"past_key_names":      PastPrefix + "%d.key",
	"past_value_names":    PastPrefix + "%d.value",
	"present_key_names":   PresentPrefix + "%d.key",
	"present_value_names": PresentPrefix + "%d.value",
}

// renames returns the usual name of each of a graph's inputs and outputs that genai_config.json
// calls otherwise; nil where there are none.
func renames(bundle *models.Bundle, role string, session engine.Session) (map[string]string, error) {
	var file struct {
		Model map[string]json.RawMessage `json:"model"`
	}
	if bundle.JSON("genai_config.json", &file) != nil || file.Model[genAIParts[role]] == nil {
		return nil, nil
	}
	var part struct{ Inputs, Outputs map[string]string }
	if err := json.Unmarshal(file.Model[genAIParts[role]], &part); err != nil {
		return nil, fmt.Errorf("%w: genai_config.json: model.%s: %w", ErrBundle, genAIParts[role], err)
	}
	usual := map[string]string{}
	add := func(specs []tensor.Spec, names map[string]string) {
		for key, name := range names {
			to, layered := genAINames[key]
			if !layered {
				to = key
			}
			before, behind, ok := strings.Cut(name, "%d")
			for _, s := range specs {
				number, isPrefixed := strings.CutPrefix(s.Name, before)
				number, isSuffixed := strings.CutSuffix(number, behind)
				switch {
				case layered && ok && isPrefixed && isSuffixed && isDigits(number):
					usual[s.Name] = strings.Replace(to, "%d", number, 1)
				case !layered && s.Name == name:
					usual[s.Name] = to
				}
				if usual[s.Name] == s.Name {
					delete(usual, s.Name)
				}
			}
		}
	}
	add(session.Inputs(), part.Inputs)
	add(session.Outputs(), part.Outputs)
	if len(usual) == 0 {
		return nil, nil
	}
	return usual, nil
}

func isDigits(s string) bool { return s != "" && strings.Trim(s, "0123456789") == "" }

// renamed is a session under the usual names.
type renamed struct {
	engine.Session
	inputs, outputs []tensor.Spec
	own             map[string]string // the session's own names by the usual ones
}

// Rename gives inputs and outputs of the graph other names, by their own.
func (g *Graph) Rename(names map[string]string) { g.Session = rename(g.Session, names) }

func rename(session engine.Session, usual map[string]string) engine.Session {
	r := &renamed{Session: session, own: map[string]string{}}
	for own, to := range usual {
		r.own[to] = own
	}
	list := func(specs []tensor.Spec) (named []tensor.Spec) {
		for _, s := range specs {
			if to := usual[s.Name]; to != "" {
				s.Name = to
			}
			named = append(named, s)
		}
		return named
	}
	r.inputs, r.outputs = list(session.Inputs()), list(session.Outputs())
	return r
}

func (r *renamed) Inputs() []tensor.Spec  { return r.inputs }
func (r *renamed) Outputs() []tensor.Spec { return r.outputs }

func (r *renamed) name(usual string) string {
	if own := r.own[usual]; own != "" {
		return own
	}
	return usual
}

func (r *renamed) Run(
	ctx context.Context, in map[string]*tensor.Tensor, out ...string,
) (map[string]*tensor.Tensor, error) {
	own := make(map[string]*tensor.Tensor, len(in))
	for name, t := range in {
		own[r.name(name)] = t
	}
	if len(out) == 0 {
		for _, s := range r.outputs {
			out = append(out, s.Name)
		}
	}
	names := make([]string, len(out))
	for i, name := range out {
		names[i] = r.name(name)
	}
	results, err := r.Session.Run(ctx, own, names...)
	if err != nil {
		return nil, err
	}
	usual := make(map[string]*tensor.Tensor, len(results))
	for i, name := range out {
		usual[name] = results[names[i]]
	}
	return usual, nil
}
