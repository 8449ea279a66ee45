package api

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models/hub"
	"github.com/crossattn/xpipe/models/hub/fetch"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/tensor"
)

// Exit codes of the command.
const (
	ExitOK          = 0
	ExitOther       = 1 // some of several inputs failed, or an error of no other kind
	ExitUsage       = 2
	ExitInput       = 3
	ExitModel       = 4
	ExitEngine      = 5
	ExitBreach      = 6 // verification found a difference beyond the tolerance
	ExitInterrupted = 130
)

// statusClosedRequest says that the client went away before the answer. It is no standard code;
// nginx made it the usual one.
const statusClosedRequest = 499

// Kind says what kind of failure an error is, to a program: Exit as the command's exit code,
// Status as a server's HTTP status, Name as a word that stays the same from version to version.
type Kind struct {
	Name   string
	Exit   int
	Status int
}

// The kinds that no sentinel stands for; WithKind gives them to errors.
var (
	// KindUsage is a mistake in how something was asked for: a flag, an argument, a parameter.
	KindUsage = Kind{"usage", ExitUsage, http.StatusBadRequest}
	// KindInput is something that the user gave and that cannot be used, whatever the cause.
	KindInput = Kind{"input", ExitInput, http.StatusBadRequest}
	// KindBreach is a difference between two engines beyond the tolerance.
	KindBreach = Kind{"breach", ExitBreach, http.StatusInternalServerError}
)

var (
	none  = Kind{"ok", ExitOK, http.StatusOK}
	other = Kind{"other", ExitOther, http.StatusInternalServerError}
)

// A row of kinds: the kind of errors that wrap all of these sentinels.
type row struct {
	kind  Kind
	wraps []error
}

func sentinel(wraps error, name string, exit, status int) row {
	return row{Kind{name, exit, status}, []error{wraps}}
}

func (r row) fits(err error) bool {
	for _, sentinel := range r.wraps {
		if !errors.Is(err, sentinel) {
			return false
		}
	}
	return true
}

// kinds maps sentinels to kinds. The first row that fits counts, so that a damaged tensor inside a
// bundle is the model's fault, and one that the user gave is the input's.
var kinds = []row{
	sentinel(context.Canceled, "interrupted", ExitInterrupted, statusClosedRequest),
	sentinel(pipeline.ErrOption, "option", ExitUsage, http.StatusBadRequest),
	sentinel(ErrNoModel, "no_model", ExitModel, http.StatusNotFound),
	sentinel(hub.ErrName, "hub_name", ExitUsage, http.StatusBadRequest),
	sentinel(hub.ErrNotCached, "not_cached", ExitModel, http.StatusNotFound),
	sentinel(fetch.ErrNotFound, "not_on_hub", ExitModel, http.StatusNotFound),
	sentinel(fetch.ErrGated, "gated", ExitModel, http.StatusForbidden),
	sentinel(fetch.ErrOffline, "offline", ExitModel, http.StatusServiceUnavailable),
	sentinel(fetch.ErrServer, "hub", ExitModel, http.StatusBadGateway),
	sentinel(fetch.ErrListing, "hub_listing", ExitModel, http.StatusBadGateway),
	sentinel(fetch.ErrDamaged, "hub_damaged", ExitModel, http.StatusBadGateway),
	sentinel(pipeline.ErrBundle, "bundle", ExitModel, http.StatusInternalServerError),
	sentinel(pipeline.ErrTokenizer, "tokenizer", ExitModel, http.StatusInternalServerError),
	sentinel(pipeline.ErrUnsupported, "unsupported", ExitModel, http.StatusBadRequest),
	sentinel(engine.ErrGraph, "graph", ExitModel, http.StatusInternalServerError),
	sentinel(engine.ErrEngine, "engine", ExitEngine, http.StatusInternalServerError),
	sentinel(engine.ErrInput, "graph_input", ExitInput, http.StatusBadRequest),
	sentinel(pipeline.ErrImage, "image", ExitInput, http.StatusBadRequest),
	sentinel(pipeline.ErrSound, "sound", ExitInput, http.StatusBadRequest),
	// Limits.Time is a limit of ours, not one that the client's request went beyond.
	{Kind{"timeout", ExitInput, http.StatusGatewayTimeout},
		[]error{pipeline.ErrLimit, context.DeadlineExceeded}},
	sentinel(pipeline.ErrLimit, "limit", ExitInput, http.StatusRequestEntityTooLarge),
	sentinel(pipeline.ErrPrompt, "prompt", ExitInput, http.StatusBadRequest),
	sentinel(pipeline.ErrRegions, "regions", ExitInput, http.StatusBadRequest),
	sentinel(tensor.ErrTensor, "tensor", ExitInput, http.StatusBadRequest),
	sentinel(fs.ErrNotExist, "not_found", ExitInput, http.StatusNotFound),
	sentinel(fs.ErrPermission, "permission", ExitInput, http.StatusForbidden),
	sentinel(pipeline.ErrClosed, "closed", ExitOther, http.StatusServiceUnavailable),
	sentinel(context.DeadlineExceeded, "timeout", ExitOther, http.StatusGatewayTimeout),
}

// KindOf says what kind of failure err is: the one that WithKind gave it or an error that it wraps,
// else that of the sentinel it wraps, else one named "other". A nil error has the kind "ok".
func KindOf(err error) Kind {
	if err == nil {
		return none
	}
	if marked, ok := errors.AsType[interface {
		error
		Kind() Kind
	}](err); ok {
		return marked.Kind()
	}
	for _, row := range kinds {
		if row.fits(err) {
			return row.kind
		}
	}
	return other
}

// marked is an error with a kind of its own.
type marked struct {
	error
	kind Kind
}

func (e marked) Unwrap() error { return e.error }

// Kind is what KindOf returns. Errors of other packages may have such a method, too.
func (e marked) Kind() Kind { return e.kind }

// WithKind returns err with the same message and another kind; nil stays nil.
func WithKind(err error, kind Kind) error {
	if err == nil {
		return nil
	}
	return marked{err, kind}
}

// Usagef makes an error of the kind KindUsage.
func Usagef(format string, args ...any) error {
	return WithKind(fmt.Errorf(format, args...), KindUsage)
}

// Inputf makes an error of the kind KindInput.
func Inputf(format string, args ...any) error {
	return WithKind(fmt.Errorf(format, args...), KindInput)
}
