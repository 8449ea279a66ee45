package openai

import (
	"encoding/json"
)

// format is what form a text is to have: JSON, of any kind or of a schema.
type format struct {
	param  string          // that asks for it
	name   string          // of the schema
	schema json.RawMessage // nil: any object
}

// responseFormat is response_format of chat completions, or text.format of responses, which has the
// keys of json_schema beside type.
type responseFormat struct {
	Type       string       `json:"type"`
	JSONSchema *namedSchema `json:"json_schema"`
	namedSchema
}

type namedSchema struct {
	Name        string          `json:"name"`
	Description string          `json:"description"`
	Schema      json.RawMessage `json:"schema"`
	Strict      *bool           `json:"strict"`
}

// readFormat reads the form that a text is to have; nil where it may have any.
func readFormat(param string, f *responseFormat) (*format, error) {
	if f == nil {
		return nil, nil
	}
	switch f.Type {
	case "text":
		return nil, nil
	case "json_object":
		return &format{param: param}, nil
	case "json_schema":
		s := f.namedSchema
		if f.JSONSchema != nil {
			s = *f.JSONSchema
		}
		if isNull(s.Schema) {
			return nil, badParam(param, missing, "%q is a json_schema without a schema", param)
		}
		return &format{param, s.Name, s.Schema}, nil
	}
	return nil, badParam(param+".type", invalidValue,
		"%q is of the type %q; there are text, json_object and json_schema", param, f.Type)
}

// check refuses what is not there yet.
func (f *format) check() error {
	if f == nil {
		return nil
	}
	return badParam(f.param, unsupported, "%q of JSON is not supported yet", f.param)
}
