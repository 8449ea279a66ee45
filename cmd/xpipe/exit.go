package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/tensor"
)

// The exit codes of every verb. exitHelp says them to users.
const (
	exitOK     = 0
	exitOther  = 1
	exitUsage  = 2
	exitInput  = 3
	exitModel  = 4
	exitEngine = 5
	exitVerify = 6
	exitSignal = 130
)

const exitHelp = `EXIT STATUS
  0  done
  1  some of several inputs failed, or another error
  2  the command line is wrong
  3  an input (image, tensor, question) is missing, damaged or unfit
  4  the model, graph or tokenizer is missing, damaged or unfit
  5  the engine (ONNX Runtime library, provider) is missing or failed
  6  verification found a difference beyond the tolerance
  130  interrupted`

// usageError is a mistake on the command line.
type usageError struct{ error }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// inputError marks an error as about what the user gave, whatever caused it.
type inputError struct{ error }

func (e inputError) Unwrap() error { return e.error }

// errorKinds maps sentinels to exit codes; the first that an error wraps
// counts, so that a damaged tensor inside a bundle is the model's fault and
// one given by the user is the input's.
var errorKinds = []struct {
	sentinel error
	code     int
}{
	{context.Canceled, exitSignal},
	{pipeline.ErrOption, exitUsage},
	{pipeline.ErrBundle, exitModel},
	{pipeline.ErrTokenizer, exitModel},
	{pipeline.ErrUnsupported, exitModel},
	{engine.ErrGraph, exitModel},
	{engine.ErrEngine, exitEngine},
	{engine.ErrInput, exitInput},
	{pipeline.ErrImage, exitInput},
	{pipeline.ErrLimit, exitInput},
	{pipeline.ErrPrompt, exitInput},
	{pipeline.ErrRegions, exitInput},
	{tensor.ErrTensor, exitInput},
	{fs.ErrNotExist, exitInput},
	{fs.ErrPermission, exitInput},
}

// exitCode returns the documented exit code for err.
func exitCode(err error) int {
	if err == nil {
		return exitOK
	}
	if _, ok := errors.AsType[usageError](err); ok {
		return exitUsage
	}
	if _, ok := errors.AsType[inputError](err); ok {
		return exitInput
	}
	if _, ok := errors.AsType[breachError](err); ok {
		return exitVerify
	}
	for _, kind := range errorKinds {
		if errors.Is(err, kind.sentinel) {
			return kind.code
		}
	}
	return exitOther
}

// report writes err to stderr: one line, or with --json one object.
func (env *environment) report(err error) {
	message := oneLine(err)
	if !env.json {
		fmt.Fprintln(env.stderr, "xpipe: "+message)
		return
	}
	json.NewEncoder(env.stderr).Encode(struct {
		Error string `json:"error"`
		Exit  int    `json:"exit"`
	}{message, exitCode(err)})
}

// oneLine is the message of err without line breaks.
func oneLine(err error) string {
	return strings.Join(strings.FieldsFunc(err.Error(), func(r rune) bool { return r == '\n' || r == '\r' }), "; ")
}
