// Package immich answers as Immich's machine learning service does: pictures and texts of its smart
// search are embedded with CLIP models, and the text in pictures is read. Shapes are those of Immich's
// immich_ml/main.py and schemas.py, and of server/src/repositories/machine-learning.repository.ts, which
// asks.
package immich

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"path"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// Dialect answers errors as FastAPI does.
var Dialect = &web.Dialect{
	Name: "immich",
	Fail: func(w http.ResponseWriter, status int, _ api.Kind, message string) {
		web.WriteJSON(w, status, map[string]string{"detail": message})
	},
}

// Routes lists the dialect's routes but that of "/", which is Root.
func Routes(s *serving.Service) []web.Route {
	h := handlers{s}
	return []web.Route{
		{Pattern: "GET /ping", Handler: http.HandlerFunc(ping)},
		{Pattern: "POST /predict", Handler: Dialect.Handle(h.predict)},
	}
}

// Root is what "/" answers.
func Root(w http.ResponseWriter, _ *http.Request) {
	web.WriteJSON(w, http.StatusOK, map[string]string{"message": "Immich ML"})
}

// ping says that the server is there: Immich asks it every few seconds.
func ping(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Write([]byte("pong"))
}

type handlers struct{ service *serving.Service }

// entries are what a request wants: models by task and type, such as clip and visual.
type entries map[string]map[string]entry

type entry struct {
	ModelName string `json:"modelName"`
	Options   struct {
		Language string   `json:"language"` // of textual, for models of several
		MinScore *float64 `json:"minScore"` // of detection and recognition: those of less are left out
	} `json:"options"`
}

// The tasks and their types.
const (
	taskCLIP  = "clip"
	taskFaces = "facial-recognition"
	taskOCR   = "ocr"

	typeVisual  = "visual"
	typeTextual = "textual"

	typeDetection   = "detection"
	typeRecognition = "recognition"
)

// kindEntry is the kind of errors of entries that are no entries.
var kindEntry = api.Kind{Name: "entries", Exit: api.ExitUsage, Status: http.StatusUnprocessableEntity}

func badEntries(format string, args ...any) error {
	return api.WithKind(web.Badf(format, args...), kindEntry)
}

// readEntries reads the field entries of a form.
func readEntries(form *web.Form) (entries, error) {
	if len(form.Values["entries"]) == 0 {
		return nil, badEntries("the form has no field entries")
	}
	var e entries
	if err := json.Unmarshal([]byte(form.Value("entries")), &e); err != nil {
		return nil, badEntries("entries is not JSON of the form {task: {type: {modelName, options}}}: %s", err)
	}
	if len(e) == 0 {
		return nil, badEntries("entries names no task")
	}
	for task, types := range e {
		known := map[string][]string{
			taskCLIP: {typeVisual, typeTextual}, taskFaces: {typeDetection, typeRecognition}, taskOCR: {typeDetection, typeRecognition},
		}[task]
		if known == nil {
			return nil, badEntries("there is no task %.40q", task)
		}
		if len(types) == 0 {
			return nil, badEntries("entries names no type of the task %s", task)
		}
		for kind, entry := range types {
			if !slices.Contains(known, kind) {
				return nil, badEntries("the task %s has no type %.40q", task, kind)
			}
			if entry.ModelName == "" {
				return nil, badEntries("entries.%s.%s has no modelName", task, kind)
			}
		}
	}
	return e, nil
}

// noFaces says why faces are refused, and what to do.
const noFaces = "faces are not recognised here: turn facial recognition off in Immich's settings of machine " +
	"learning, or give it Immich's own service beside this one"

func (h handlers) predict(w http.ResponseWriter, r *http.Request) error {
	form, err := web.ReadForm(r)
	if err != nil {
		return err
	}
	wanted, err := readEntries(form)
	if err != nil {
		return err
	}
	if wanted[taskFaces] != nil {
		return web.Badf(noFaces)
	}
	in, err := readInput(form)
	if err != nil {
		return err
	}
	answer := map[string]any{}
	for kind, e := range wanted[taskCLIP] {
		web.NoteAttr(r.Context(), slog.String("model", e.ModelName))
		row, err := h.embed(r.Context(), kind, e, in, answer)
		if err != nil {
			return err
		}
		vector, err := json.Marshal(row)
		if err != nil {
			return err
		}
		answer[taskCLIP] = string(vector) // a text, which Immich gives its database as it is
	}
	if types := wanted[taskOCR]; types != nil {
		if answer[taskOCR], err = h.read(r.Context(), types, in, answer); err != nil {
			return err
		}
	}
	return web.WriteJSON(w, http.StatusOK, answer)
}

// input is the picture or text of a request; the picture counts where there are both.
type input struct {
	image []byte // nil: there is none
	text  string
}

func readInput(form *web.Form) (input, error) {
	var in input
	switch {
	case len(form.Files["image"]) > 0:
		in.image = form.Files["image"][0].Data
	case len(form.Values["image"]) > 0: // without the name of a file
		in.image = []byte(form.Value("image"))
	case len(form.Values["text"]) > 0:
		in.text = form.Value("text")
		return in, nil
	default:
		return in, web.Badf("either image or text must be given")
	}
	if len(in.image) == 0 {
		return in, web.Badf("the image is empty")
	}
	return in, nil
}

// embed embeds the input with the model of an entry. Of a picture it adds the size to the answer.
func (h handlers) embed(ctx context.Context, kind string, e entry, in input, answer map[string]any) ([]float32, error) {
	switch {
	case kind == typeVisual && in.image == nil:
		return nil, web.Badf("the type visual wants an image, not a text")
	case kind == typeTextual && in.image != nil:
		return nil, web.Badf("the type textual wants a text, not an image")
	case kind == typeTextual && e.Options.Language != "" && strings.HasPrefix(e.ModelName, "nllb"):
		return nil, web.Badf("languages of NLLB's models are not done here: %s", e.ModelName)
	}
	m, release, err := h.use(ctx, e.ModelName)
	if err != nil {
		return nil, err
	}
	defer release()
	if kind == typeTextual {
		rows, err := m.EmbedTexts(ctx, in.text)
		if err != nil {
			return nil, err
		}
		return rows[0], nil
	}
	row, size, err := m.EmbedPicture(ctx, in.image)
	if err == nil {
		answer["imageHeight"], answer["imageWidth"] = size.Y, size.X
	}
	return row, err
}

// use opens a model by the name that Immich has for it. Behind names as everywhere it is looked for as
// Immich's own cache has it: clip/NAME, and in newer ones a folder for each revision below.
func (h handlers) use(ctx context.Context, name string) (*serving.Model, func(), error) {
	names := []string{name}
	if clean := cacheName(name); clean != "" {
		names = append(names, path.Join(taskCLIP, clean, "main"), path.Join(taskCLIP, clean))
	}
	var first error
	for _, name := range names {
		if _, err := h.service.Catalog.Find(name); err == nil {
			return h.service.Use(ctx, name)
		} else if first == nil {
			first = err
		}
	}
	m, release, err := h.service.Use(ctx, name) // which may be fetched
	if errors.Is(err, api.ErrNoModel) {
		err = api.WithKind(noModelError{name, cmp.Or(first, err)}, api.KindOf(err))
	}
	return m, release, err
}

// noModelError says what to do where a model is not there.
type noModelError struct {
	name string
	err  error
}

func (e noModelError) Error() string {
	return e.err.Error() + ": put it in the folder of --models as clip/" + cacheName(e.name) +
		", or name another in Immich's settings of machine learning, such as clip-mini"
}

func (e noModelError) Unwrap() error { return e.err }

// cacheName is a model's name as folders of Immich's cache have it (clean_name of immich_ml/config.py).
func cacheName(name string) string {
	if i := strings.LastIndexAny(name, "/"); i >= 0 {
		name = name[i+1:]
	}
	return strings.NewReplacer(":", "_", `\`, "_", ".", "").Replace(name)
}
