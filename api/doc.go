// Package api holds what every front of xpipe shares, the command and an HTTP server alike: opening
// a model by its name, the pictures that arguments stand for, the JSON that is printed, results
// files that a later run goes on with, and what kind of failure an error is.
//
// It knows no flags, no terminal and no routes. A Go program that needs a model and nothing else
// imports package pipeline; one that should behave as the command does imports this one.
package api
