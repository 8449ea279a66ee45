package own

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"

	"github.com/crossattn/xpipe/docs"
	"github.com/crossattn/xpipe/server/web"
)

// object is an object of JSON.
type object = map[string]any

// OpenAPI returns the route of the description of the server, by OpenAPI 3.1. others are the routes of
// all dialects, as they are given to http.ServeMux; those that are not this dialect's are listed alone.
func OpenAPI(version string, others []web.Route) web.Route {
	document, err := json.MarshalIndent(describe(version, others), "", "  ")
	return web.Route{Pattern: "GET /openapi.json", Handler: Dialect.Handle(func(w http.ResponseWriter, _ *http.Request) error {
		if err != nil {
			return err
		}
		w.Header().Set("Content-Type", "application/json")
		w.Write(document)
		return nil
	})}
}

// describe is the document.
func describe(version string, others []web.Route) object {
	var results struct {
		Defs object `json:"$defs"`
	}
	schemas := bytes.ReplaceAll(docs.ResultsSchema, []byte("#/$defs/"), []byte("#/components/schemas/"))
	if err := json.Unmarshal(schemas, &results); err != nil {
		panic(err) // the schema is part of the program
	}
	results.Defs["failed"] = object{
		"description": "Why there is no answer.", "type": "object", "required": []string{"error", "kind"},
		"properties": object{
			"error": object{"type": "string"},
			"kind":  object{"type": "string", "description": "A word that stays the same from version to version."},
		},
	}
	paths := object{}
	for _, v := range verbs {
		paths[prefix+v.name] = object{"post": v.describe()}
	}
	for _, route := range others {
		method, path, found := strings.Cut(route.Pattern, " ")
		if !found || strings.HasPrefix(path, prefix) {
			continue
		}
		path = strings.NewReplacer("{$}", "", "...}", "}").Replace(path)
		at, _ := paths[path].(object)
		if at == nil {
			at = object{}
			paths[path] = at
		}
		at[strings.ToLower(method)] = brief(path)
	}
	return object{
		"openapi": "3.1.0",
		"info": object{
			"title": "xpipe", "version": version,
			"description": "What xpipe serve answers. Paths below " + prefix + " are its own, with the lines of the " +
				"command's --json; the others are those of the services whose clients it answers, which describe them.",
		},
		"paths": paths,
		"components": object{
			"schemas": results.Defs,
			"securitySchemes": object{"token": object{
				"type": "http", "scheme": "bearer", "description": "A token of --token-file, where the server has one.",
			}},
		},
		"security": []object{{}, {"token": []string{}}},
	}
}

// brief describes a path of another dialect.
func brief(path string) object {
	described := object{"responses": object{"default": object{"description": "As the dialect has it."}}}
	var parameters []object
	for rest := path; ; {
		_, after, found := strings.Cut(rest, "{")
		name, behind, closed := strings.Cut(after, "}")
		if !found || !closed {
			break
		}
		parameters = append(parameters, object{
			"name": name, "in": "path", "required": true, "schema": object{"type": "string"},
		})
		rest = behind
	}
	if parameters != nil {
		described["parameters"] = parameters
	}
	return described
}

// describe describes a verb.
func (v verb) describe() object {
	properties := object{}
	encoding := object{}
	var needed []string
	for _, f := range v.fields {
		properties[f.name] = f.describe()
		if f.needed {
			needed = append(needed, f.name)
		}
		if f.file {
			encoding[f.name] = object{"contentType": "application/octet-stream"}
		}
	}
	form := object{"type": "object", "properties": properties, "additionalProperties": false}
	if needed != nil {
		form["required"] = needed
	}
	media := object{"schema": form}
	if len(encoding) > 0 {
		media["encoding"] = encoding
	}
	refused := object{
		"description": "The request cannot be answered: why.",
		"content":     object{"application/json": object{"schema": reference("failed")}},
	}
	responses := object{"4XX": refused, "5XX": refused, "200": object{
		"description": "A line as the command prints it; several as NDJSON, or as a list where Accept names " +
			"application/json.",
		"content": object{
			"application/json": object{"schema": object{"anyOf": []object{
				v.line(), {"type": "array", "items": v.line()},
			}}},
			"application/x-ndjson": object{"schema": v.line()},
		},
	}}
	return object{
		"operationId": v.name, "summary": v.summary,
		"requestBody": object{"required": true, "content": object{"multipart/form-data": media}},
		"responses":   responses,
	}
}

// line is the schema of a line of the answer.
func (v verb) line() object {
	if v.failures == "" {
		return reference(v.lines)
	}
	return object{"anyOf": []object{reference(v.lines), reference(v.failures)}}
}

func reference(name string) object { return object{"$ref": "#/components/schemas/" + name} }

// describe is the schema of a field.
func (f field) describe() object {
	one := object{"type": "string"}
	switch {
	case f.kind != "":
		one["type"] = f.kind
	case f.file:
		one["contentMediaType"] = "application/octet-stream"
	}
	if f.many && !f.commas {
		return object{"type": "array", "items": one, "description": f.usage}
	}
	one["description"] = f.usage
	return one
}
