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
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/crossattn/xpipe/server/openai"
	"github.com/crossattn/xpipe/server/own"
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
	// Drain bounds how long requests that run when the server is to end may go on; 0 stands for 30 s.
	Drain time.Duration
}

// Server answers requests. It is safe for concurrent use.
type Server struct {
	Service *serving.Service
	config  Config
	media   web.Media
	handler http.Handler
}

// New returns a Server. Nothing is opened before a request asks for it; see Open.
func New(c Config) (*Server, error) {
	c.BodyBytes = cmp.Or(c.BodyBytes, 64<<20)
	c.Drain = cmp.Or(c.Drain, 30*time.Second)
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{Service: serving.New(c.Serving), config: c}
	mux := http.NewServeMux()
	for _, route := range s.routes() {
		mux.Handle(route.Pattern, route.Handler)
	}
	s.handler = s.around(mux)
	return s, nil
}

// routes lists what every dialect answers.
func (s *Server) routes() []web.Route {
	routes := []web.Route{
		{Pattern: "GET /healthz", Handler: http.HandlerFunc(s.healthy)},
		{Pattern: "GET /readyz", Handler: http.HandlerFunc(s.ready)},
	}
	routes = append(routes, openai.Routes(s.Service, &s.media)...)
	return append(routes, own.Routes(s.Service)...)
}

// Handler returns what answers requests, for servers of other programs.
func (s *Server) Handler() http.Handler { return s.handler }

// Open opens the models that the operator named, so that the first request does not wait for them.
func (s *Server) Open(ctx context.Context) error {
	for _, name := range s.Service.Catalog.Named {
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
		s.Service.Close()
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.config.Drain)
	defer cancel()
	err := h.Shutdown(drain)
	if errors.Is(err, context.DeadlineExceeded) {
		err = h.Close() // which ends the contexts of the requests that are left
	}
	s.Service.Close()
	return err
}

func (s *Server) healthy(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) }

func (s *Server) ready(w http.ResponseWriter, _ *http.Request) { w.Write([]byte("ok\n")) }

// around has every request pass what concerns all of them.
func (s *Server) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, s.config.BodyBytes)
		ctx, notes := web.WithNotes(r.Context())
		start := time.Now()
		next.ServeHTTP(w, r.WithContext(ctx))
		attrs := append([]slog.Attr{
			slog.String("method", r.Method), slog.String("path", r.URL.Path), slog.Duration("took", time.Since(start)),
		}, notes.Attrs...)
		if notes.Err != nil {
			attrs = append(attrs, slog.String("kind", notes.Kind), slog.String("error", notes.Err.Error()))
		}
		s.config.Log.LogAttrs(ctx, slog.LevelInfo, "request", attrs...)
	})
}
