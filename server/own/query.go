package own

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"log/slog"
	"mime"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// field is a field of a verb's form. Its name may be written with _ for -, and with [] behind it.
type field struct {
	name   string
	also   string // a further name
	kind   string // of its value, as JSON Schema calls it; "": string
	usage  string
	many   bool // it may be repeated
	commas bool // a value is several, with commas between
	file   bool // a file, or the data: URL of one
	needed bool
}

// pictures is the field of pictures.
var pictures = field{name: "image", also: "images", many: true, file: true, usage: "a picture"}

// model is the field that every verb has.
var model = field{name: "model", usage: "the model, as /v1/models lists them; without it the server takes the one for the verb"}

// with lists fields with those of a group behind them.
func with(group []field, fields ...field) []field {
	return slices.Concat(fields, []field{model}, group)
}

// query is a request of a verb.
type query struct {
	handlers
	ctx    context.Context
	verb   verb
	values map[string][]string // by the fields' names
	files  map[string][]web.File
	m      *serving.Model
	origin *api.Origin
	lines  []any // of the answer
}

// run returns what answers a verb's requests.
func (h handlers) run(v verb) func(w http.ResponseWriter, r *http.Request) error {
	return func(w http.ResponseWriter, r *http.Request) error {
		form, err := readForm(r)
		if err != nil {
			return err
		}
		q := &query{handlers: h, ctx: r.Context(), verb: v}
		if err := q.parse(form); err != nil {
			return err
		}
		if err := v.run(q); err != nil {
			return err
		}
		return q.answer(w, r)
	}
}

// Do does what a verb's route does with a form, and returns the lines of the answer, which are types of
// package api. Errors are the client's or the server's; see web.Describe.
func Do(ctx context.Context, s *serving.Service, version, name string, form *web.Form) ([]any, error) {
	for _, v := range verbs {
		if v.name != name {
			continue
		}
		q := &query{handlers: handlers{service: s, media: &web.Media{}, version: version}, ctx: ctx, verb: v}
		if err := q.parse(form); err != nil {
			return nil, err
		}
		err := v.run(q)
		return q.lines, err
	}
	return nil, web.Badf("there is no verb %q", name)
}

// parse reads the form. Fields that the verb does not have are refused, as the command refuses flags.
func (q *query) parse(form *web.Form) error {
	q.values, q.files = map[string][]string{}, map[string][]web.File{}
	for name, files := range form.Files {
		f, err := q.verb.field(name)
		if err != nil {
			return err
		}
		if !f.file {
			return web.Badf("the field %s is a text, not a file", f.name)
		}
		q.files[f.name] = append(q.files[f.name], files...)
	}
	for name, values := range form.Values {
		f, err := q.verb.field(name)
		if err != nil {
			return err
		}
		for _, value := range values {
			switch {
			case f.file:
				data, err := q.media.Load(q.ctx, value)
				if err != nil {
					return err
				}
				q.files[f.name] = append(q.files[f.name], web.File{Data: data})
			case f.commas:
				q.values[f.name] = append(q.values[f.name], strings.Split(value, ",")...)
			default:
				q.values[f.name] = append(q.values[f.name], value)
			}
		}
	}
	for _, f := range q.verb.fields {
		n := len(q.values[f.name]) + len(q.files[f.name])
		switch {
		case f.needed && n == 0:
			return web.Badf("%s needs the field %s: %s", q.verb.name, f.name, f.usage)
		case n > 1 && !f.many:
			return web.Badf("the field %s is there %d times; send one", f.name, n)
		}
	}
	return nil
}

// readForm reads a form of either kind.
func readForm(r *http.Request) (*web.Form, error) {
	kind, _, _ := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if kind != "application/x-www-form-urlencoded" {
		return web.ReadForm(r)
	}
	if err := r.ParseForm(); err != nil {
		if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
			return nil, err
		}
		return nil, web.Badf("the form is damaged: %s", err)
	}
	return &web.Form{Values: r.PostForm}, nil
}

// field finds a field of the verb by what a client calls it.
func (v verb) field(name string) (field, error) {
	plain := strings.ReplaceAll(strings.TrimSuffix(name, "[]"), "_", "-")
	var names []string
	for _, f := range v.fields {
		if plain == f.name || plain == f.also {
			return f, nil
		}
		names = append(names, f.name)
	}
	return field{}, web.Badf("%s has no field %q%s", v.name, web.Shortened(name), api.DidYouMean(plain, names))
}

// value is the last value of a field; "" where there is none.
func (q *query) value(name string) string {
	if list := q.values[name]; len(list) > 0 {
		return list[len(list)-1]
	}
	return ""
}

// use opens the model that the request names, or the one for the verb. The caller calls release.
func (q *query) use(usual string) (release func(), err error) {
	q.m, release, err = q.service.Use(q.ctx, cmp.Or(q.value("model"), usual))
	if err == nil {
		web.NoteAttr(q.ctx, slog.String("model", q.m.Name))
	}
	return release, err
}

// made says what makes the lines of the answer.
func (q *query) made(settings api.Settings, options []pipeline.GenerateOption) (err error) {
	if options != nil {
		if err := settings.SetGeneration(q.m.P, options); err != nil {
			return err
		}
	}
	q.origin, err = api.NewOrigin(q.m.P, q.version, settings)
	return err
}

// atOnce bounds the files of one request that are worked on at once.
const atOnce = 8

// unnamed is the name of a file that has none, as the command calls standard input.
const unnamed = "-"

// each has task make the lines about each file of a field. The error of the only one is the request's;
// of several a line of failure stands in place of one that cannot be used.
func (q *query) each(
	name string, failure func(name string, err error) any,
	task func(ctx context.Context, name string, data []byte, start time.Time) ([]any, error),
) error {
	files := q.files[name]
	lines, errs := make([][]any, len(files)), make([]error, len(files))
	ctx, cancel := context.WithCancel(q.ctx)
	defer cancel()
	var working sync.WaitGroup
	room := make(chan struct{}, atOnce)
	for i, f := range files {
		room <- struct{}{}
		working.Go(func() {
			defer func() { <-room }()
			if errs[i] = ctx.Err(); errs[i] != nil {
				return
			}
			name := cmp.Or(f.Name, unnamed)
			lines[i], errs[i] = task(ctx, name, f.Data, time.Now())
			if err := errs[i]; err != nil && len(files) > 1 && isFiles(err) {
				_, _, message := web.Describe(err)
				lines[i], errs[i] = []any{failure(name, errors.New(message))}, nil
			}
			if errs[i] != nil {
				cancel()
			}
		})
	}
	working.Wait()
	var first error
	for i, err := range errs {
		if err != nil && (first == nil || errors.Is(first, context.Canceled)) {
			first = err
		}
		q.lines = append(q.lines, lines[i]...)
	}
	return first
}

// isFiles reports whether an error is about a file, and not about the request.
func isFiles(err error) bool {
	return errors.Is(err, pipeline.ErrImage) || errors.Is(err, pipeline.ErrSound) || errors.Is(err, pipeline.ErrLimit) ||
		errors.Is(err, document.ErrDocument)
}

// pictureFailure is what stands in the place of a picture that failed.
func (q *query) pictureFailure(name string, err error) any {
	line := api.NewFailure(name, err)
	line.Origin = q.origin
	return line
}

// answer writes the lines as the command does: JSON, one a line. A client that asks for JSON by Accept
// gets several as a list.
func (q *query) answer(w http.ResponseWriter, r *http.Request) error {
	var b bytes.Buffer
	list := len(q.lines) > 1 && strings.Contains(r.Header.Get("Accept"), "application/json")
	for i, line := range q.lines {
		switch {
		case list && i == 0:
			b.WriteByte('[')
		case list:
			b.WriteByte(',')
		}
		if err := api.WriteJSON(&b, line); err != nil {
			return err
		}
		if list {
			b.Truncate(b.Len() - 1) // the end of the line
		}
	}
	if list {
		b.WriteString("]\n")
	}
	kind := "application/json"
	if len(q.lines) != 1 && !list {
		kind = "application/x-ndjson"
	}
	w.Header().Set("Content-Type", kind)
	w.Write(b.Bytes())
	return nil
}
