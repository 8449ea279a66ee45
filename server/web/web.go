// Package web is what the dialects of the server share of HTTP: bodies read within bounds, answers and
// errors in each dialect's shape, streams. It knows no model.
package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strconv"
	"time"

	"github.com/crossattn/xpipe/api"
)

// Route is a pattern of http.ServeMux and what answers it.
type Route struct {
	Pattern string
	Handler http.Handler
}

// Dialect is a family of routes with one shape of errors.
type Dialect struct {
	Name string
	// Fail writes an error. It is called once, before anything else was written.
	Fail func(w http.ResponseWriter, status int, kind api.Kind, message string)
}

// Handle makes a handler of a function that returns its error. Errors before the first byte of an
// answer are written in the dialect's shape; behind that the stream has said it, and the connection
// ends.
func (d *Dialect) Handle(f func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &answer{ResponseWriter: w}
		err := f(answer, r)
		if err == nil {
			return
		}
		status, kind, message := Describe(err)
		Note(r.Context(), kind.Name, err)
		if answer.begun {
			return
		}
		if status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter/time.Second)))
		}
		d.Fail(w, status, kind, message)
	})
}

// retryAfter is what clients are told that find no room.
const retryAfter = 2 * time.Second

// KindPanic is the kind of what a bug of ours breaks off.
var KindPanic = api.Kind{Name: "panic", Exit: api.ExitOther, Status: http.StatusInternalServerError}

// Describe says what a client is told of an error: a status, the kind, and a message without a path or
// anything of the inside. Faults of the server are told in the log.
func Describe(err error) (status int, kind api.Kind, message string) {
	if tooLarge, ok := errors.AsType[*http.MaxBytesError](err); ok {
		err = api.WithKind(fmt.Errorf("the request is longer than %d bytes", tooLarge.Limit),
			api.Kind{Name: "limit", Exit: api.ExitInput, Status: http.StatusRequestEntityTooLarge})
	}
	kind = api.KindOf(err)
	switch {
	case kind.Status == 0:
		status = http.StatusInternalServerError
	default:
		status = kind.Status
	}
	switch {
	case kind.Name == "not_found" || kind.Name == "permission":
		// An error of the file system names a file of this machine.
		return http.StatusInternalServerError, kind, "a file of the model cannot be read; the server's log has more"
	case status >= 500 && status != http.StatusNotImplemented && status != http.StatusServiceUnavailable &&
		status != http.StatusGatewayTimeout:
		return status, kind, "the server failed (" + kind.Name + "); its log has more"
	}
	return status, kind, api.OneLine(err)
}

// answer notes whether anything was written.
type answer struct {
	http.ResponseWriter
	begun bool
}

func (a *answer) WriteHeader(status int) {
	a.begun = true
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(data []byte) (int, error) {
	a.begun = true
	return a.ResponseWriter.Write(data)
}

// Unwrap serves http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// Badf is an error of a request that is wrong in itself: status 400.
func Badf(format string, args ...any) error { return api.Usagef(format, args...) }

// ReadJSON decodes the body of a request, which may be one JSON value alone. Keys that v does not have
// are passed over, as every dialect's own server does. Errors are the client's.
func ReadJSON(r *http.Request, v any) error {
	dec := json.NewDecoder(r.Body)
	if err := dec.Decode(v); err != nil {
		return badJSON(err)
	}
	if _, err := dec.Token(); err != io.EOF {
		if err == nil {
			err = errors.New("there is more behind the JSON value")
		}
		return badJSON(err)
	}
	return nil
}

func badJSON(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.Is(err, io.EOF):
		return Badf("the request has no body; it should be JSON")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return Badf("the request's JSON ends too early")
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return Badf("the request's %q is a JSON %s, not what is wanted there", wrongType.Field, wrongType.Value)
	case wrongType != nil:
		return Badf("the request is a JSON %s, not an object", wrongType.Value)
	}
	return Badf("the request is not JSON as wanted: %s", err)
}

// WriteJSON writes an answer.
func WriteJSON(w http.ResponseWriter, status int, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(data)+1))
	w.WriteHeader(status)
	w.Write(append(data, '\n')) // a client that went away needs no answer
	return nil
}

// noteKey is the key of a request's notes in its context.
type noteKey struct{}

// Notes are what a request's line of the log has beside what the server knows.
type Notes struct {
	Kind  string // of the error
	Err   error
	Attrs []slog.Attr
}

// WithNotes returns a context that takes notes.
func WithNotes(ctx context.Context) (context.Context, *Notes) {
	n := &Notes{}
	return context.WithValue(ctx, noteKey{}, n), n
}

// Note notes a request's error.
func Note(ctx context.Context, kind string, err error) {
	if n, ok := ctx.Value(noteKey{}).(*Notes); ok {
		n.Kind, n.Err = kind, err
	}
}

// NoteAttr adds to a request's line of the log, such as its model.
func NoteAttr(ctx context.Context, attr slog.Attr) {
	if n, ok := ctx.Value(noteKey{}).(*Notes); ok {
		n.Attrs = append(n.Attrs, attr)
	}
}
