package main

import "github.com/crossattn/xpipe/api"

// The exit codes of every verb, by the kind of the error. exitHelp says them to users.
const (
	exitOK     = api.ExitOK
	exitOther  = api.ExitOther
	exitUsage  = api.ExitUsage
	exitInput  = api.ExitInput
	exitModel  = api.ExitModel
	exitEngine = api.ExitEngine
	exitVerify = api.ExitBreach
	exitSignal = api.ExitInterrupted
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

// exitCode returns the documented exit code for err.
func exitCode(err error) int { return api.KindOf(err).Exit }

// usagef makes an error about a mistake on the command line.
func usagef(format string, args ...any) error { return api.Usagef(format, args...) }
