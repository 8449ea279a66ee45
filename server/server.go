// Package server answers over HTTP what the command answers in a terminal, in the dialects that
// people's programs speak: packages openai, ollama and so on beside it have one each. Package serving
// holds the models, package web what dialects share of HTTP. This package joins them, and has what
// concerns every request: who may ask, how much, what is logged and measured, how the server starts and
// ends.
package server

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/server/immich"
	"github.com/crossattn/xpipe/server/oip"
	"github.com/crossattn/xpipe/server/ollama"
	"github.com/crossattn/xpipe/server/openai"
	"github.com/crossattn/xpipe/server/own"
	"github.com/crossattn/xpipe/server/photoprism"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// Config says what a Server answers. The zero value serves the embedded models to whoever reaches it.
type Config struct {
	Serving serving.Config
	Version string // of the program
	// Log is told of each request; nil: nothing is.
	Log *slog.Logger
	// BodyBytes bounds a request; 0 stands for 64 MiB.
	BodyBytes int64
	// Tokens are those that clients have to show one of; nil: none.
	Tokens *Tokens
	// Origins are sites whose pages may ask from a browser, "https://example.org"; "*" stands for all.
	Origins []string
	// Hosts reports whether the server answers for the host that a request names; nil: for any.
	Hosts func(host string) bool
	// Fetch gets what lies at a URL in a request; nil: such requests are refused. See web.Fetcher.
	Fetch func(ctx context.Context, u *url.URL) ([]byte, error)
	// Drain bounds how long requests that run when the server is to end may go on; 0 stands for 30 s.
	Drain time.Duration
	// Routes, where it is not nil, gives the routes that stand in the place of all dialects'.
	Routes func(*serving.Service) []web.Route
	// Page, where it is not nil, gives a page for people, beside the dialects.
	Page func(*serving.Service) (Page, error)
}

// Page is a page for people over the server's models.
type Page interface {
	// Home answers "/" to those that take HTML.
	Home() http.Handler
	Routes() []web.Route
	// End ends what the page does, streams that wait for events among it. It returns once all is
	// kept.
	End()
}

// Server answers requests. It is safe for concurrent use.
type Server struct {
	Service *serving.Service
	config  Config
	metrics *metrics
	media   *web.Media
	page    Page // nil: there is none
	handler http.Handler
	ending  atomic.Bool
}

// New returns a Server. Nothing is opened before a request asks for it; see Open.
func New(c Config) (*Server, error) {
	c.BodyBytes = cmp.Or(c.BodyBytes, 64<<20)
	c.Drain = cmp.Or(c.Drain, 30*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	m := newMetrics()
	c.Serving.Observer = m
	s := &Server{Service: serving.New(c.Serving), config: c, metrics: m, media: &web.Media{Fetch: c.Fetch}}
	m.watch(s.Service)
	if c.Page != nil {
		var err error
		if s.page, err = c.Page(s.Service); err != nil {
			return nil, err
		}
	}
	mux := http.NewServeMux()
	for _, route := range s.routes() {
		mux.Handle(route.Pattern, route.Handler)
	}
	mux.HandleFunc("/", s.missing)
	s.handler = s.around(mux)
	return s, nil
}

// routes lists what every dialect answers.
func (s *Server) routes() []web.Route {
	routes := []web.Route{
		{Pattern: "GET /healthz", Handler: http.HandlerFunc(s.healthy)},
		{Pattern: "GET /readyz", Handler: http.HandlerFunc(s.ready)},
		{Pattern: "GET /metrics", Handler: s.metrics.handler()},
		{Pattern: "GET /{$}", Handler: http.HandlerFunc(s.root)},
	}
	if s.config.Routes != nil {
		return append(routes[:3], s.config.Routes(s.Service)...)
	}
	routes = slices.Concat(routes,
		openai.Routes(s.Service, s.media),
		ollama.Routes(s.Service, s.config.Version),
		immich.Routes(s.Service),
		photoprism.Routes(s.Service, s.media),
		own.Routes(s.Service, s.media, s.config.Version),
		oip.Routes(s.Service, s.config.Version, func() bool { return !s.ending.Load() }),
	)
	routes = append(routes, own.OpenAPI(s.config.Version, routes))
	if s.page != nil {
		routes = append(routes, s.page.Routes()...)
	}
	return routes
}

// Handler returns what answers requests, for servers of other programs.
func (s *Server) Handler() http.Handler { return s.handler }

// Open opens the models that the operator named, so that the first request does not wait for them.
func (s *Server) Open(ctx context.Context) error {
	for _, name := range s.Service.Catalog.Given() {
		_, release, err := s.Service.Use(ctx, name)
		if err != nil {
			return err
		}
		release()
	}
	return nil
}

// Serve answers requests that come to a listener until ctx ends. Then it takes no more, lets those
// that run go on for Config.Drain at most, and closes the models. The error is nil after such an end.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	h := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.config.Log.Handler(), slog.LevelDebug),
	}
	ended := make(chan error, 1)
	go func() { ended <- h.Serve(l) }()
	select {
	case err := <-ended:
		<-s.end()
		s.Service.Close()
		return err
	case <-ctx.Done():
	}
	s.ending.Store(true)
	pageEnds := s.end() // its streams would be waited for otherwise
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.Drain)
	defer cancel()
	err := h.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		err = h.Close() // which ends the contexts of the requests that are left
	}
	<-pageEnds
	s.Service.Close()
	return err
}

// end begins to end the page, if there is one, and returns what is closed once it has.
func (s *Server) end() <-chan struct{} {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if s.page != nil {
			s.page.End()
		}
	}()
	return done
}

// healthy says that the process answers.
func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) }

// ready says whether to send requests here: not once the server is to end.
func (s *Server) ready(w http.ResponseWriter, _ *http.Request) {
	if s.ending.Load() {
		w.WriteHeader(http.StatusServiceUnavailable)
		w.Write([]byte("ending\n"))
		return
	}
	w.Write([]byte("ok\n"))
}

// dialectOf is the dialect whose shape of errors a path's clients know, where no route says it.
func (s *Server) dialectOf(r *http.Request) *web.Dialect {
	for _, d := range s.dialects() {
		if strings.HasPrefix(r.URL.Path, d.prefix) {
			return d.dialect
		}
	}
	return own.Dialect
}

// shape is the dialect of the paths that begin with prefix.
type shape struct {
	prefix  string
	dialect *web.Dialect
}

// dialects lists those with paths of their own; the first that fits counts.
func (s *Server) dialects() []shape {
	return []shape{
		{"/v1/messages", openai.Messages},
		{"/v1/", openai.Dialect},
		{"/xpipe/", own.Dialect},
		{"/v2", oip.Dialect},
		{"/predict", immich.Dialect},
		{"/api/v1/vision/", photoprism.Dialect},
		{"/api/", ollama.Dialect},
	}
}

// missing answers paths of no route.
func (s *Server) missing(w http.ResponseWriter, r *http.Request) {
	s.dialectOf(r).Handle(func(http.ResponseWriter, *http.Request) error {
		return api.WithKind(fmt.Errorf("there is nothing at %s %s", r.Method, web.Shortened(r.URL.Path)), kindMissing)
	}).ServeHTTP(w, r)
}

// kindMissing is the kind of requests for paths of no route.
var kindMissing = api.Kind{Name: "no_route", Exit: api.ExitUsage, Status: http.StatusNotFound}
