// Package examples has eight small programs on the Go API, one a folder: caption, search, fewshot,
// stream, transcribe, handler, ownmodel and batch. docs/go.md tells of the API in their order.
package examples
