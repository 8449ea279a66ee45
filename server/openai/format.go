package openai

import (
	"encoding/json"

	"github.com/crossattn/xpipe/pipeline/grammar"
)

// responseFormat is response_format of chat completions, or text.format of responses, which has the
// keys of json_schema beside type.
type responseFormat struct {
	Type       string       `json:"type"`
	JSONSchema *namedSchema `json:"json_schema,omitempty"`
	namedSchema
}

type namedSchema struct {
	Name        string          `json:"name,omitempty"`
	Description string          `json:"description,omitempty"`
	Schema      json.RawMessage `json:"schema,omitempty"`
	Strict      *bool           `json:"strict,omitempty"`
}

// readFormat returns the shape that a text is to have; nil where it may have any. A schema is held to
// whether strict or not.
func readFormat(param string, f *responseFormat) (*grammar.Grammar, error) {
	if f == nil {
		return nil, nil
	}
	switch f.Type {
	case "text":
		return nil, nil
	case "json_object":
		return grammar.JSONObject(), nil
	case "json_schema":
		s := f.namedSchema
		at := param + ".schema"
		if f.JSONSchema != nil {
			s, at = *f.JSONSchema, param+".json_schema.schema"
		}
		if isNull(s.Schema) {
			return nil, badParam(at, missing, "%q is a json_schema without a schema", param)
		}
		shape, err := grammar.Schema(s.Schema)
		if err != nil {
			return nil, badParam(at, invalidValue, "%s", err)
		}
		return shape, nil
	}
	return nil, badParam(param+".type", invalidValue,
		"%q is of the type %q; there are text, json_object and json_schema", param, f.Type)
}

// setShape sets the shape of a job's texts: that of a format, or of a call where one is asked for.
func (j *job) setShape(param string, f *responseFormat) (err error) {
	if j.shape, err = readFormat(param, f); err != nil {
		return err
	}
	switch {
	case len(j.tools.functions) == 0:
		return nil
	case j.shape != nil:
		return badParam(param, unsupported, "%q of JSON does not go with tools that may be called", param)
	case j.tools.must:
		j.shape, err = j.tools.shape()
	}
	return err
}
