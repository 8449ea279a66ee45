package api

import (
	"bytes"
	"encoding/json"
)

// namedKeys are keys of a JSON object that have the name of an engine in theirs, such as go_ms, in
// order. They date from before there was a table of engines. They stay for the first two engines of
// the table, and repeat what the object "engines" says of all.
type namedKeys []namedKey

type namedKey struct {
	name  string
	value any
}

// addNonZero adds a key unless its value is 0.
func (k *namedKeys) addNonZero(name string, value float64) {
	if value != 0 {
		*k = append(*k, namedKey{name, value})
	}
}

// namedEngines are the names of the engines that have such keys.
func namedEngines() []string { return EngineNames()[:min(2, len(Engines))] }

// marshalWith is the JSON object of v with more keys after its own.
func marshalWith(v any, more namedKeys) ([]byte, error) {
	object, err := marshalJSON(v)
	if err != nil {
		return nil, err
	}
	object = bytes.TrimSuffix(object, []byte("}"))
	for _, key := range more {
		value, err := marshalJSON(key.value)
		if err != nil {
			return nil, err
		}
		if len(object) > 1 {
			object = append(object, ',')
		}
		object = append(object, '"')
		object = append(object, key.name...)
		object = append(object, `":`...)
		object = append(object, value...)
	}
	return append(object, '}'), nil
}

// marshalJSON is json.Marshal without escapes for HTML, as WriteJSON writes.
func marshalJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSpace(b.Bytes()), err
}
