// Package jinja runs chat templates: the subset of the Jinja template language that Hugging Face's
// chat templates use, as transformers configures it (trim_blocks, lstrip_blocks, loop controls, an
// immutable sandbox). It is as exact as Python's for that subset: key order, printing of numbers
// and lists, errors on what is undefined.
//
// A template comes from a model's files, so it is bounded in steps, depth and output. It can read
// nothing but the values it is given.
//
// It was written because no library of Go fits: nikolalohinski/gonja 2.9 panics on "%" of strings,
// loses the order of keys, prints none as nothing, takes and, or for booleans, has no tuples on the
// left of set, and brings four modules along.
package jinja

import (
	"errors"
	"fmt"
	"strings"
)

// ErrTemplate is wrapped by errors about a template: its syntax, what it asks for that is not
// there, or that it takes too many steps.
var ErrTemplate = errors.New("chat template")

// ErrRaised is wrapped by errors that the template raises itself (raise_exception); they are about
// the values given.
var ErrRaised = errors.New("chat template refuses the conversation")

// The bounds of one rendering.
const (
	maxSteps  = 1 << 19 // nodes evaluated
	maxOutput = 4 << 20
	maxDepth  = 200     // of nested expressions, statements and calls
	maxRange  = 100_000 // elements of a range, as in Jinja's sandbox
)

// Template is a parsed template. It is safe for concurrent use.
type Template struct{ body []node }

// Parse reads a template. Errors wrap ErrTemplate and say the line.
func Parse(source string) (*Template, error) {
	source = strings.ReplaceAll(strings.ReplaceAll(source, "\r\n", "\n"), "\r", "\n")
	source = strings.TrimSuffix(source, "\n")
	tokens, err := lex(source)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: tokens}
	body, err := p.statements()
	if err == nil && p.peek().kind != tokenEnd {
		err = p.errorf("%q stands alone", p.peek().text)
	}
	if err != nil {
		return nil, err
	}
	return &Template{body}, nil
}

// Render runs the template over variables: nil, bool, int64, float64, string, List, Tuple, *Dict
// and Function. Errors wrap ErrTemplate or ErrRaised.
func (t *Template) Render(variables map[string]any) (text string, err error) {
	r := &renderer{out: &strings.Builder{}}
	globals := &scope{}
	for name, v := range builtins(r) {
		globals.set(name, v)
	}
	for name, v := range variables {
		globals.set(name, v)
	}
	_, err = r.run(t.body, &scope{parent: globals})
	if err != nil {
		return "", err
	}
	return r.out.String(), nil
}

func errorf(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrTemplate}, args...)...)
}
