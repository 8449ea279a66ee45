// Package openai is the dialect of OpenAI's API, which most programs speak: models, chat completions,
// completions, responses, embeddings, transcriptions and translations. Its reference is OpenAI's
// openapi.yaml; where that has no word for pictures or for further parameters, those of vLLM are taken.
// docs/server.md says what is answered and what is refused.
package openai

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"net/http"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// Routes lists the dialect's routes. media gets what requests refer to.
func Routes(s *serving.Service, media *web.Media) []web.Route {
	h := handlers{s, media}
	return []web.Route{
		{Pattern: "GET /v1/models", Handler: handle(h.models)},
		{Pattern: "GET /v1/models/{model...}", Handler: handle(h.model)},
		{Pattern: "POST /v1/chat/completions", Handler: handle(h.chat)},
		{Pattern: "POST /v1/completions", Handler: handle(h.completions)},
		{Pattern: "POST /v1/responses", Handler: handle(h.responses)},
		{Pattern: "POST /v1/embeddings", Handler: handle(h.embeddings)},
		{Pattern: "POST /v1/audio/transcriptions", Handler: handle(h.transcriptions)},
		{Pattern: "POST /v1/audio/translations", Handler: handle(h.translations)},
	}
}

type handlers struct {
	service *serving.Service
	media   *web.Media
}

// Dialect answers errors in OpenAI's shape.
var Dialect = dialect(new(error))

// dialect answers errors in OpenAI's shape; failed may say which parameter one is about.
func dialect(failed *error) *web.Dialect {
	return &web.Dialect{Name: "openai", Fail: func(w http.ResponseWriter, status int, kind api.Kind, message string) {
		web.WriteJSON(w, status, map[string]failure{"error": newFailure(*failed, status, kind, message)})
	}}
}

// handle makes a handler of a function whose errors are answered in OpenAI's shape.
func handle(f func(w http.ResponseWriter, r *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var failed error
		d := dialect(&failed)
		d.Handle(func(w http.ResponseWriter, r *http.Request) error {
			failed = f(w, r)
			return failed
		}).ServeHTTP(w, r)
	})
}

// failure is an error as clients read it. All four keys are required.
type failure struct {
	Message string  `json:"message"`
	Type    string  `json:"type"`
	Param   *string `json:"param"`
	Code    *string `json:"code"`
}

// newFailure describes an error that web.Describe has found words for.
func newFailure(err error, status int, kind api.Kind, message string) failure {
	f := failure{Message: message, Type: "invalid_request_error", Code: &kind.Name}
	switch {
	case status == http.StatusTooManyRequests:
		f.Type = "rate_limit_error"
	case status >= 500:
		f.Type = "server_error"
	case errors.Is(err, api.ErrNoModel):
		f.Param, f.Code = ptr("model"), ptr("model_not_found")
	}
	if p, ok := errors.AsType[*paramError](err); ok {
		f.Param, f.Code = p.param, &p.code
	}
	return f
}

// streamFailure is an error that ends a stream, in the shape in which clients look for one.
func streamFailure(err error) failure {
	status, kind, message := web.Describe(err)
	return newFailure(err, status, kind, message)
}

// paramError is an error about a parameter of a request: status 400.
type paramError struct {
	error
	param *string
	code  string
}

func (e *paramError) Unwrap() error { return e.error }

// The codes of errors about parameters.
const (
	invalidValue = "invalid_value"
	unsupported  = "unsupported_parameter"
	unknownParam = "unknown_parameter"
	missing      = "missing_required_parameter"
)

// badParam is an error about a parameter.
func badParam(param, code, format string, args ...any) error {
	return &paramError{web.Badf(format, args...), &param, code}
}

// aboutParam says which parameter an error is about, if it is the client's.
func aboutParam(param string, err error) error {
	if _, known := errors.AsType[*paramError](err); err == nil || known {
		return err
	}
	if kind := api.KindOf(err); kind.Status < 500 && kind.Status != statusClosed {
		return &paramError{err, &param, cmp.Or(codes[kind.Name], kind.Name)}
	}
	return err
}

// statusClosed is the status of a request whose client went away.
const statusClosed = 499

// codes are OpenAI's words for kinds of errors that it has a word for.
var codes = map[string]string{"usage": invalidValue, "image": "invalid_image_format", "option": invalidValue}

// newID returns a name for something in an answer.
func newID(prefix string) string {
	var b [12]byte
	rand.Read(b[:])
	return prefix + hex.EncodeToString(b[:])
}

func ptr[T any](v T) *T { return &v }

// modelName is the model that a request names, or the one that does a task where it names none.
func (h handlers) modelName(name, task string) string {
	return cmp.Or(name, h.service.Catalog.For(task))
}
