package server

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strings"
	"time"

	"github.com/crossattn/xpipe/server/web"
)

// around has every request pass what concerns all of them: its number, whether it may be made, bounds of
// its body, the log and the metrics.
func (s *Server) around(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		start := time.Now()
		id := requestID(r)
		w.Header().Set("X-Request-Id", id)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		ctx, notes := web.WithNotes(r.Context())
		r = r.WithContext(ctx)
		counted := &counted{ResponseWriter: w}
		r.Body = &body{
			ReadCloser: http.MaxBytesReader(w, r.Body, s.config.BodyBytes),
			control:    http.NewResponseController(w), end: start.Add(mostBodyTime),
		}
		s.metrics.running.Inc()
		defer func() {
			if p := recover(); p != nil && p != http.ErrAbortHandler {
				// A bug of ours; the others' requests go on.
				notes.Kind, notes.Err = "panic", fmt.Errorf("%v\n%s", p, debug.Stack())
				if counted.status == 0 {
					s.dialectOf(r).Fail(counted, http.StatusInternalServerError, web.KindPanic, "the server failed; its log has more")
				} else {
					defer panic(http.ErrAbortHandler)
				}
			}
			s.metrics.running.Dec()
			took := time.Since(start)
			s.metrics.answered(r, counted.status, took)
			s.log(r, id, counted, took, notes)
		}()
		if r.Method == http.MethodOptions && s.preflight(counted, r) {
			return
		}
		if err := s.admit(r); err != nil {
			s.dialectOf(r).Handle(func(http.ResponseWriter, *http.Request) error { return err }).ServeHTTP(counted, r)
			return
		}
		s.allowReading(counted, r)
		next.ServeHTTP(counted, r)
	})
}

// log writes a request's line.
func (s *Server) log(r *http.Request, id string, c *counted, took time.Duration, notes *web.Notes) {
	level := slog.LevelInfo
	attrs := append([]slog.Attr{
		slog.String("id", id), slog.String("method", r.Method), slog.String("path", r.URL.Path),
		slog.Int("status", c.status), slog.Int64("bytes", c.bytes), slog.Duration("took", took),
		slog.String("from", r.RemoteAddr),
	}, notes.Attrs...)
	if notes.Err != nil {
		attrs = append(attrs, slog.String("kind", notes.Kind), slog.String("error", notes.Err.Error()))
		if c.status >= 500 {
			level = slog.LevelError
		}
	}
	s.config.Log.LogAttrs(r.Context(), level, "request", attrs...)
}

// mostID bounds the number that a client may give its request.
const mostID = 64

// requestID is the number of a request: the client's, if it is a plain one.
func requestID(r *http.Request) string {
	id := r.Header.Get("X-Request-Id")
	plain := func(c rune) bool {
		return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_' || c == '.'
	}
	if id == "" || len(id) > mostID || strings.IndexFunc(id, func(c rune) bool { return !plain(c) }) >= 0 {
		return "req_" + rand.Text()
	}
	return id
}

// counted notes what was answered.
type counted struct {
	http.ResponseWriter
	status int
	bytes  int64
}

func (c *counted) WriteHeader(status int) {
	if c.status == 0 {
		c.status = status
	}
	c.ResponseWriter.WriteHeader(status)
}

func (c *counted) Write(data []byte) (int, error) {
	if c.status == 0 {
		c.status = http.StatusOK
	}
	n, err := c.ResponseWriter.Write(data)
	c.bytes += int64(n)
	return n, err
}

// Unwrap serves http.ResponseController.
func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

const (
	// stalledBody is how long a client may send nothing of a body.
	stalledBody = 30 * time.Second
	// mostBodyTime bounds a body's whole time.
	mostBodyTime = 5 * time.Minute
)

// body is the body of a request, whose sender may neither stop nor trickle.
type body struct {
	io.ReadCloser
	control *http.ResponseController
	end     time.Time
}

func (b *body) Read(p []byte) (int, error) {
	deadline := time.Now().Add(stalledBody)
	if deadline.After(b.end) {
		deadline = b.end
	}
	b.control.SetReadDeadline(deadline)
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		// The connection is read on, to see when the client goes away: that may be long after.
		b.control.SetReadDeadline(time.Time{})
	}
	if timeout, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err); ok && timeout.Timeout() {
		err = web.Badf("the request's body came too slowly")
	}
	return n, err
}

// preflight answers what a browser asks before a request to another site. It reports whether it did.
func (s *Server) preflight(w http.ResponseWriter, r *http.Request) bool {
	if r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	if s.allowReading(w, r) {
		w.Header().Set("Access-Control-Allow-Methods", "GET, POST, DELETE, HEAD")
		w.Header().Set("Access-Control-Allow-Headers", "Authorization, Content-Type, X-Api-Key, X-Request-Id")
		w.Header().Set("Access-Control-Max-Age", "600")
	}
	w.WriteHeader(http.StatusNoContent)
	return true
}

// allowReading lets the page of another site, which the operator named, read the answer.
func (s *Server) allowReading(w http.ResponseWriter, r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || len(s.config.Origins) == 0 || !s.allowedOrigin(r, origin) {
		return false
	}
	w.Header().Set("Access-Control-Allow-Origin", origin)
	w.Header().Add("Vary", "Origin")
	w.Header().Set("Access-Control-Expose-Headers", "X-Request-Id, Retry-After")
	return true
}
