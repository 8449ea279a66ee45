// Package web is the studio's page: rendered on the server, with a little script. It keeps what people do in a
// studio.Store, which its caller gives, and has an answer.Desk answer.
//
// Every change is a POST of JSON, and gives JSON; every look is a GET, changes nothing and opens no model. A page
// of another site can do neither: its requests are refused by where they come from, and nothing here may be
// framed, embedded or read from elsewhere. What models and people write is text or Markdown without markup of
// its own, and an attachment is served so that no browser runs it.
package web

import (
	"cmp"
	"context"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/server/serving"
	server "github.com/crossattn/xpipe/server/web"
	"github.com/crossattn/xpipe/studio"
	"github.com/crossattn/xpipe/studio/answer"
	"github.com/crossattn/xpipe/studio/upstream"
	"golang.org/x/sync/singleflight"
)

// Config says what a page is over.
type Config struct {
	Store   studio.Store
	Serving *serving.Service
	// Fetch gets pictures that an upstream gives by their address; nil: they are errors.
	Fetch func(ctx context.Context, u *url.URL) ([]byte, error)
	Log   *slog.Logger // nil: nothing is logged
	// FileBytes bounds an attachment; 0 stands for 64 MiB.
	FileBytes int64
}

// Page answers the studio's requests. It is safe for concurrent use.
type Page struct {
	store     studio.Store
	desk      *answer.Desk
	log       *slog.Logger
	runs      *runs
	jobs      *jobs
	fileBytes int64
	guard     *http.CrossOriginProtection
	previews  chan struct{}
	tracing   singleflight.Group
}

// New returns a Page, which goes on with the jobs that were not finished. Close ends it.
func New(c Config) (*Page, error) {
	p := &Page{
		store: c.Store, log: c.Log, fileBytes: cmp.Or(c.FileBytes, 64<<20),
		desk:  &answer.Desk{Serving: c.Serving, Store: c.Store, Fetch: c.Fetch},
		guard: http.NewCrossOriginProtection(), previews: make(chan struct{}, 2),
	}
	if p.log == nil {
		p.log = slog.New(slog.DiscardHandler)
	}
	p.runs = newRuns(p)
	p.jobs = newJobs(p)
	if err := p.begin(context.Background()); err != nil {
		return nil, err
	}
	return p, nil
}

// begin makes the first workspace, and goes on with jobs.
func (p *Page) begin(ctx context.Context) error {
	list, err := p.store.Workspaces(ctx)
	if err == nil && len(list) == 0 {
		err = p.store.AddWorkspace(ctx, &studio.Workspace{Name: "My workspace"})
	}
	if err != nil {
		return err
	}
	return p.jobs.resume(ctx)
}

// End ends what runs: answers are kept as far as they came, and streams of events end. It returns once all is
// kept.
func (p *Page) End() {
	p.runs.close()
	p.jobs.close()
}

// Routes lists what the page answers, but for Home.
func (p *Page) Routes() []server.Route {
	var routes []server.Route
	look := func(path string, f func(http.ResponseWriter, *http.Request) error) {
		routes = append(routes, server.Route{Pattern: "GET " + path, Handler: p.handle(f)})
	}
	change := func(path string, f func(http.ResponseWriter, *http.Request) error) {
		routes = append(routes, server.Route{Pattern: "POST " + path, Handler: p.handle(f)})
	}
	look("/studio/{$}", p.home)
	look("/studio/static/{name}", p.static)
	look("/studio/w/{workspace}", p.workspace)
	look("/studio/w/{workspace}/chats", p.listChats)
	look("/studio/chats/{chat}", p.chat)
	look("/studio/chats/{chat}/events", p.events)
	look("/studio/messages/{message}", p.message)
	look("/studio/messages/{message}/words", p.words)
	look("/studio/w/{workspace}/blobs/{blob}", p.blob)
	look("/studio/w/{workspace}/blobs/{blob}/preview", p.preview)
	look("/studio/w/{workspace}/blobs/{blob}/pages/{page}", p.pagePicture)
	change("/studio/files", p.upload)
	change("/studio/w/{workspace}/chats", p.newChat)
	change("/studio/w/{workspace}/folders", p.newFolder)
	change("/studio/workspaces", p.newWorkspace)
	change("/studio/w/{workspace}", p.changeWorkspace)
	change("/studio/folders/{folder}", p.changeFolder)
	change("/studio/chats/{chat}", p.changeChat)
	change("/studio/chats/{chat}/messages", p.say)
	change("/studio/chats/{chat}/leaf", p.showBranch)
	change("/studio/messages/{message}/again", p.again)
	change("/studio/messages/{message}/stop", p.stop)
	change("/studio/trash", p.trash)
	change("/studio/restore", p.restore)
	change("/studio/purge", p.purge)
	change("/studio/theme", p.theme)
	look("/studio/w/{workspace}/trash", p.trashPage)
	look("/studio/w/{workspace}/search", p.search)
	look("/studio/w/{workspace}/personas", p.personas)
	change("/studio/w/{workspace}/personas", p.savePersona)
	look("/studio/w/{workspace}/prompts", p.prompts)
	change("/studio/w/{workspace}/prompts", p.savePrompt)
	look("/studio/prompts/{prompt}", p.prompt)
	change("/studio/prompts/{prompt}/fill", p.fillPrompt)
	change("/studio/prompts/{prompt}/jobs", p.newJob)
	look("/studio/jobs/{job}", p.job)
	look("/studio/jobs/{job}/csv", p.jobCSV)
	change("/studio/jobs/{job}/stop", p.stopJob)
	look("/studio/w/{workspace}/settings", p.settings)
	change("/studio/w/{workspace}/upstreams", p.saveUpstream)
	change("/studio/upstreams/{upstream}/models", p.upstreamModels)
	change("/studio/upstreams/{upstream}/remove", p.removeUpstream)
	return routes
}

// Home answers "/" to browsers.
func (p *Page) Home() http.Handler { return p.handle(p.home) }

// policy is the Content-Security-Policy of pages: scripts and styles are files of this server, nothing comes from
// elsewhere, and nobody frames them.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; media-src 'self' blob:; " +
	"connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// handle makes a handler of a function that returns its error, and refuses what a page of another site sends.
func (p *Page) handle(f func(http.ResponseWriter, *http.Request) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Security-Policy", policy)
		h.Set("X-Frame-Options", "DENY")
		h.Set("X-Content-Type-Options", "nosniff")
		h.Set("Referrer-Policy", "no-referrer")
		h.Set("Cross-Origin-Resource-Policy", "same-origin")
		h.Set("Cross-Origin-Opener-Policy", "same-origin")
		h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
		h.Set("Cache-Control", "no-store")
		// No other site reads what is here, whatever the operator allows for the dialects.
		h.Del("Access-Control-Allow-Origin")
		h.Del("Access-Control-Expose-Headers")
		err := p.admit(r)
		if err == nil {
			err = f(w, r)
		}
		if err != nil {
			p.fail(w, r, err)
		}
	})
}

// kindForeign is the kind of requests that a page of another site makes.
var kindForeign = api.Kind{Name: "forbidden", Exit: api.ExitOther, Status: http.StatusForbidden}

// admit refuses a request that another site's page makes: any change, and any look that is no visit. Browsers
// say so themselves; what sends no such header is no browser.
func (p *Page) admit(r *http.Request) error {
	foreign := errors.New("a page of another site may do nothing here")
	if err := p.guard.Check(r); err != nil {
		return api.WithKind(foreign, kindForeign)
	}
	if origin := r.Header.Get("Origin"); origin != "" {
		if u, err := url.Parse(origin); err != nil || !strings.EqualFold(u.Host, r.Host) {
			return api.WithKind(foreign, kindForeign)
		}
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		if r.Header.Get("Sec-Fetch-Mode") != "navigate" || r.Header.Get("Sec-Fetch-Dest") != "document" {
			return api.WithKind(foreign, kindForeign)
		}
	}
	if r.Method == http.MethodPost && r.URL.Path != "/studio/files" {
		if kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type")); kind != "application/json" {
			return server.Badf("a change is sent as JSON, Content-Type: application/json")
		}
	}
	return nil
}

// statusOf is what a client is told of an error.
func statusOf(err error) (status int, message string) {
	switch {
	case errors.Is(err, studio.ErrNotFound):
		return http.StatusNotFound, "there is no such thing here, or no longer"
	case errors.Is(err, studio.ErrInvalid), errors.Is(err, answer.ErrCannot):
		text := err.Error()
		for _, is := range []error{studio.ErrInvalid, answer.ErrCannot} {
			text = strings.Replace(text, is.Error()+": ", "", 1)
		}
		return http.StatusBadRequest, text
	case errors.Is(err, studio.ErrFull):
		return http.StatusInsufficientStorage, "the disk is full: nothing that was kept is lost, and nothing more is kept"
	case isUpstream(err):
		return http.StatusBadGateway, err.Error()
	case errors.Is(err, studio.ErrKey):
		return http.StatusConflict, "the key of this upstream cannot be read any more: enter it again in the settings"
	}
	status, _, message = server.Describe(api.WithDocumentKind(err))
	return status, message
}

// isUpstream reports whether an error is an upstream's, of which its user is told as it is.
func isUpstream(err error) bool {
	_, told := errors.AsType[*upstream.Error](err)
	return told || errors.Is(err, upstream.ErrBroken) || errors.Is(err, upstream.ErrUnreachable)
}

// fail answers an error: a page to who visits, else JSON.
func (p *Page) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // nobody waits
	}
	status, message := statusOf(err)
	server.Note(r.Context(), http.StatusText(status), err)
	if r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/html") {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		pages.ExecuteTemplate(w, "error.html", struct {
			frame
			Status  int
			Message string
		}{frame{Title: http.StatusText(status), Theme: themeOf(r)}, status, message})
		return
	}
	server.WriteJSON(w, status, map[string]string{"error": message})
}

// page executes a template. It is whole, or an error.
func (p *Page) page(w http.ResponseWriter, name string, data any) error {
	var b strings.Builder
	if err := pages.ExecuteTemplate(&b, name, data); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, err := io.WriteString(w, b.String())
	if err != nil {
		return nil // the client is gone
	}
	return nil
}

// read decodes a change.
func read(r *http.Request, v any) error { return server.ReadJSON(r, v) }

// done answers a change.
func done(w http.ResponseWriter, v any) error { return server.WriteJSON(w, http.StatusOK, v) }

// id is an ID of the path.
func id(r *http.Request, name string) studio.ID { return studio.ID(r.PathValue(name)) }

//go:embed templates static
var files embed.FS

var pages = template.Must(template.New("").Funcs(template.FuncMap{
	"date":    func(t time.Time) string { return t.Local().Format("2 Jan 2006") },
	"stamp":   func(t time.Time) string { return t.Format(time.RFC3339) },
	"short":   shortTime,
	"seconds": seconds,
	"percent": func(x *float64) string { return fmt.Sprintf("%.0f %%", 100**x) },
	"bytes":   bytesText,
	"asset":   asset,
	"json": func(v any) (string, error) {
		data, err := json.Marshal(v)
		return string(data), err
	},
	"join": strings.Join,
	"dict": dict,
}).ParseFS(files, "templates/*.html"))

// dict makes a map of names and values, for templates that call others.
func dict(pairs ...any) (map[string]any, error) {
	m := map[string]any{}
	for i := 0; i+1 < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, errors.New("dict wants names and values")
		}
		m[name] = pairs[i+1]
	}
	return m, nil
}

// shortTime is a time as lists have it.
func shortTime(t time.Time) string {
	t = t.Local()
	now := time.Now()
	switch {
	case t.YearDay() == now.YearDay() && t.Year() == now.Year():
		return t.Format("15:04")
	case t.Year() == now.Year():
		return t.Format("2 Jan")
	}
	return t.Format("2 Jan 2006")
}

// seconds is a time for people.
func seconds(s float64) string {
	switch {
	case s < 0.95:
		return fmt.Sprintf("%.0f ms", 1000*s)
	case s < 60:
		return fmt.Sprintf("%.1f s", s)
	}
	return (time.Duration(s) * time.Second).String()
}

// bytesText is a size for people.
func bytesText(n int64) string {
	switch {
	case n < 1000:
		return fmt.Sprintf("%d B", n)
	case n < 1e6:
		return fmt.Sprintf("%.0f kB", float64(n)/1e3)
	case n < 1e9:
		return fmt.Sprintf("%.1f MB", float64(n)/1e6)
	}
	return fmt.Sprintf("%.1f GB", float64(n)/1e9)
}
