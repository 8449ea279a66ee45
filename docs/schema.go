// Package docs holds the schema of results for programs that publish it.
package docs

import _ "embed"

// ResultsSchema is results.schema.json, of JSON Schema 2020-12: what verbs print with --json.
//
//go:embed results.schema.json
var ResultsSchema []byte
