// Package ollama answers as Ollama does, for programs that were written for it: /api/generate, chat,
// embed, tags, show and the like. Shapes are those of Ollama's api/types.go and server/routes.go.
package ollama

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// Dialect answers errors with {"error"}.
var Dialect = &web.Dialect{
	Name: "ollama",
	Fail: func(w http.ResponseWriter, status int, _ api.Kind, message string) {
		web.WriteJSON(w, status, failure{message})
	},
}

type failure struct {
	Error string `json:"error"`
}

// Routes lists the dialect's routes but that of "/", which is Root. version is the program's.
func Routes(s *serving.Service, version string) []web.Route {
	h := handlers{s, version}
	routes := []web.Route{
		{Pattern: "GET /api/version", Handler: Dialect.Handle(h.getVersion)},
		{Pattern: "GET /api/tags", Handler: Dialect.Handle(h.tags)},
		{Pattern: "POST /api/show", Handler: Dialect.Handle(h.show)},
		{Pattern: "GET /api/ps", Handler: Dialect.Handle(h.ps)},
		{Pattern: "POST /api/generate", Handler: Dialect.Handle(h.generate)},
		{Pattern: "POST /api/chat", Handler: Dialect.Handle(h.chat)},
		{Pattern: "POST /api/embed", Handler: Dialect.Handle(h.embed)},
		{Pattern: "POST /api/embeddings", Handler: Dialect.Handle(h.embeddings)},
		{Pattern: "POST /api/pull", Handler: Dialect.Handle(h.pull)},
	}
	for pattern, what := range refused {
		routes = append(routes, web.Route{Pattern: pattern, Handler: Dialect.Handle(
			func(http.ResponseWriter, *http.Request) error {
				return web.Badf("this server does not %s: it serves the models that its operator gives it", what)
			})})
	}
	return routes
}

// refused are the routes by which clients would change what models there are.
var refused = map[string]string{
	"POST /api/create":         "create models",
	"POST /api/push":           "push models",
	"POST /api/copy":           "copy models",
	"DELETE /api/delete":       "delete models",
	"POST /api/blobs/{digest}": "take files of models",
	"HEAD /api/blobs/{digest}": "take files of models",
}

// Root is what "/" answers: programs see by it that an Ollama is there.
func Root(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write([]byte("Ollama is running"))
}

type handlers struct {
	service *serving.Service
	version string
}

func (h handlers) getVersion(w http.ResponseWriter, _ *http.Request) error {
	return web.WriteJSON(w, http.StatusOK, map[string]string{"version": strings.TrimPrefix(h.version, "v")})
}

// notFound says that there is no model of a name, in the words that clients of Ollama look for.
func notFound(name string, err error) error {
	if !errors.Is(err, api.ErrNoModel) {
		return err
	}
	return api.WithKind(notFoundError{name, err}, api.KindOf(err))
}

type notFoundError struct {
	name string
	err  error
}

func (e notFoundError) Error() string {
	about := strings.TrimPrefix(e.err.Error(), api.ErrNoModel.Error()+": ")
	return "model '" + e.name + "' not found: " + about
}

func (e notFoundError) Unwrap() error { return e.err }

// keepAlive is how long a model is to stay open behind a request: a number of seconds, or a text such as
// "5m"; negative: for ever.
type keepAlive struct {
	given bool
	d     time.Duration
}

// longestKeep stands for all longer times, which a Duration would not hold.
const longestKeep = 100 * 365 * 24 * time.Hour

// UnmarshalJSON reads a number of seconds, or a text.
func (k *keepAlive) UnmarshalJSON(data []byte) error {
	var seconds float64
	var text string
	switch {
	case string(data) == "null":
		return nil
	case json.Unmarshal(data, &seconds) == nil:
	case json.Unmarshal(data, &text) != nil:
		return web.Badf("keep_alive should be a number of seconds, or a text such as \"5m\"")
	default:
		d, err := time.ParseDuration(text)
		if err == nil {
			k.given, k.d = true, d
			return nil
		}
		if seconds, err = strconv.ParseFloat(text, 64); err != nil {
			return web.Badf("keep_alive is %q, not a duration such as \"5m\" or \"300s\"", text)
		}
	}
	k.given = true
	if k.d = longestKeep; seconds != seconds {
		return web.Badf("keep_alive is no number")
	}
	if seconds < longestKeep.Seconds() {
		k.d = time.Duration(max(seconds, -1) * float64(time.Second))
	}
	return nil
}

// keep has a model stay open for so long, where a request says it.
func (h handlers) keep(name string, k keepAlive) {
	if k.given {
		h.service.Keep(name, k.d)
	}
}
