package openai

import (
	"encoding/json"
	"errors"
	"net/http"
	"reflect"
	"strings"

	"github.com/crossattn/xpipe/server/web"
)

// harmless are parameters that change no text: who asks, where OpenAI would compute it, what it would
// keep in its caches. They are passed over.
var harmless = map[string]bool{
	"user": true, "metadata": true, "service_tier": true, "safety_identifier": true, "prompt_cache_key": true,
	"prompt_cache_retention": true, "prediction": true, "max_tool_calls": true,
	// Models here do not reason before they answer, at any effort.
	"reasoning_effort": true, "reasoning": true,
}

// readBody decodes the JSON of a request into the struct at v. A key that v does not have and that is
// not harmless is an error that names it, unless its value is null: it may change what is answered.
func readBody(r *http.Request, v any) error {
	var body json.RawMessage
	if err := web.ReadJSON(r, &body); err != nil {
		return err
	}
	var keys map[string]json.RawMessage
	if err := json.Unmarshal(body, &keys); err != nil || keys == nil {
		return web.Badf("the request should be a JSON object")
	}
	known := map[string]bool{}
	addKeys(reflect.TypeOf(v).Elem(), known)
	for key, value := range keys {
		if !known[key] && !harmless[key] && string(value) != "null" {
			return badParam(key, unknownParam, "%q is not known here, and might change the answer; leave it out", key)
		}
	}
	if err := json.Unmarshal(body, v); err != nil {
		if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
			field := embedded.Replace(wrong.Field)
			return badParam(field, "invalid_type", "%q is a JSON %s, not what is wanted there", field, wrong.Value)
		}
		if _, ok := errors.AsType[*paramError](err); ok {
			return err
		}
		return web.Badf("the request is not JSON as wanted: %s", err)
	}
	return nil
}

// embedded takes the names of embedded structs out of the path of a field.
var embedded = strings.NewReplacer("sampling.", "", "namedSchema.", "")

// addKeys adds the keys that a struct has in JSON.
func addKeys(t reflect.Type, keys map[string]bool) {
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			addKeys(f.Type, keys)
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		keys[name] = true
	}
}

// isNull reports whether a JSON value is missing or null.
func isNull(raw json.RawMessage) bool { return len(raw) == 0 || string(raw) == "null" }
