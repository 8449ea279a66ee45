// Package photoprism answers as PhotoPrism's vision service does: captions and labels for a library of
// photos. Shapes are those of PhotoPrism's internal/ai/vision/api_request.go and api_response.go. PhotoPrism
// can ask in Ollama's and OpenAI's dialects as well.
package photoprism

import (
	"context"
	"crypto/rand"
	"log/slog"
	"math"
	"net/http"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// Dialect answers errors with their code, as PhotoPrism's own service does.
var Dialect = &web.Dialect{
	Name: "photoprism",
	Fail: func(w http.ResponseWriter, status int, _ api.Kind, message string) {
		web.WriteJSON(w, status, response{Code: status, Error: message})
	},
}

// Routes lists the dialect's routes.
func Routes(s *serving.Service, m *web.Media) []web.Route {
	h := handlers{s, m}
	const path = "POST /api/v1/vision/"
	return []web.Route{
		{Pattern: path + "caption", Handler: Dialect.Handle(h.caption)},
		{Pattern: path + "labels", Handler: Dialect.Handle(h.labels)},
		{Pattern: path + "nsfw", Handler: Dialect.Handle(refuse("no model here judges whether a picture is safe for work"))},
		{Pattern: path + "face", Handler: Dialect.Handle(refuse("faces are not recognised here"))},
	}
}

func refuse(why string) func(http.ResponseWriter, *http.Request) error {
	return func(http.ResponseWriter, *http.Request) error {
		return web.Badf("%s; use PhotoPrism's own model for it", why)
	}
}

type handlers struct {
	service *serving.Service
	media   *web.Media
}

// request is the body of a request. Version and options change nothing here.
type request struct {
	ID     string   `json:"id"`
	Model  string   `json:"model"`
	Prompt string   `json:"prompt"`
	Images []string `json:"images"` // data: URLs, or others where the operator allows it
	URL    string   `json:"url"`    // of one picture
}

// response is what is answered.
type response struct {
	ID     string  `json:"id,omitempty"`
	Code   int     `json:"code,omitempty"`
	Error  string  `json:"error,omitempty"`
	Model  *model  `json:"model,omitempty"`
	Result *result `json:"result,omitempty"`
}

type model struct {
	Type       string `json:"type"`
	Name       string `json:"name"`
	Version    string `json:"version"`
	Resolution int    `json:"resolution,omitempty"`
}

type result struct {
	Labels  []label  `json:"labels,omitempty"`
	Caption *caption `json:"caption,omitempty"`
}

type caption struct {
	Text       string  `json:"text"`
	Source     string  `json:"source"`
	Confidence float64 `json:"confidence"`
}

type label struct {
	Name       string  `json:"name"`
	Source     string  `json:"source"`
	Confidence float64 `json:"confidence"`
	Topicality float64 `json:"topicality"`
}

// sourceImage says that something was seen in the picture.
const sourceImage = "image"

// mostPictures bounds those of a request.
const mostPictures = 64

// read reads a request and its pictures.
func (h handlers) read(r *http.Request) (*request, [][]byte, error) {
	var q request
	if err := web.ReadJSON(r, &q); err != nil {
		return nil, nil, err
	}
	refs := q.Images
	if q.URL != "" {
		refs = append(refs, q.URL)
	}
	switch {
	case len(refs) == 0:
		return nil, nil, web.Badf("there are no images")
	case len(refs) > mostPictures:
		return nil, nil, web.Badf("there are %d images; send %d at most", len(refs), mostPictures)
	}
	files := make([][]byte, len(refs))
	for i, ref := range refs {
		var err error
		if files[i], err = h.media.Load(r.Context(), ref); err != nil {
			return nil, nil, web.Badf("images[%d]: %w", i, err)
		}
	}
	if q.ID == "" {
		q.ID = strings.ToLower(rand.Text())
	}
	return &q, files, nil
}

// use opens the model that a request names, or the usual one for the task. PhotoPrism's configuration
// names models of its own where nobody set one; those are asked for by no name here.
func (h handlers) use(r *http.Request, q *request, task string) (*serving.Model, func(), error) {
	name := q.Model
	if name == "" {
		name = h.service.Catalog.For(task)
	}
	web.NoteAttr(r.Context(), slog.String("model", name))
	return h.service.Use(r.Context(), name)
}

// caption describes the first picture: an answer holds one caption.
func (h handlers) caption(w http.ResponseWriter, r *http.Request) error {
	q, files, err := h.read(r)
	if err != nil {
		return err
	}
	m, release, err := h.use(r, q, "caption")
	if err != nil {
		return err
	}
	defer release()
	picture, err := m.Picture(r.Context(), files[0])
	if err != nil {
		return err
	}
	said := pipeline.Message{Role: pipeline.RoleUser, Items: []media.Item{picture}, Text: q.Prompt}
	if said.Text == "" && m.Can.Chat {
		said.Text = "Describe this picture in one sentence."
	}
	texts, err := m.Write(r.Context(), m.Conversation([]pipeline.Message{said}), nil,
		func(g *pipeline.Generation) { g.NumReturnSequences = 1 })
	if err != nil {
		return err
	}
	return answer(w, q, m, "caption", &result{Caption: &caption{
		Text: texts[0].Text, Source: sourceImage, Confidence: confidence(texts[0]),
	}})
}

// confidence is how far a text can be trusted, from 0 to 1: as measured where the model has a
// calibration, else the mean probability of its tokens.
func confidence(text *pipeline.Text) float64 {
	switch n := len(text.Tokens); {
	case text.Confidence != nil:
		return text.Confidence.Probability
	case n > 0:
		return math.Exp(text.LogProb / float64(n))
	}
	return 0
}

// labels names what is in the pictures.
func (h handlers) labels(w http.ResponseWriter, r *http.Request) error {
	q, files, err := h.read(r)
	if err != nil {
		return err
	}
	m, release, err := h.use(r, q, "classify")
	if err != nil {
		return err
	}
	defer release()
	vocabulary := usualLabels
	if m.Can.Classify {
		vocabulary = nil // it was trained on labels of its own
	}
	found, err := labelled(r.Context(), m, files, vocabulary)
	if err != nil {
		return err
	}
	return answer(w, q, m, "labels", &result{Labels: found})
}

func answer(w http.ResponseWriter, q *request, m *serving.Model, kind string, found *result) error {
	return web.WriteJSON(w, http.StatusOK, response{
		ID: q.ID, Model: &model{Type: kind, Name: m.Name, Version: "latest"}, Result: found,
	})
}

// labelled labels pictures: of each the labels whose probability is large enough; where several have one,
// its largest counts.
func labelled(ctx context.Context, m *serving.Model, files [][]byte, v *vocabulary) ([]label, error) {
	var all []label
	for i, data := range files {
		scored, err := m.Classify(ctx, data, v.phrases()...)
		if err != nil {
			if len(files) > 1 {
				err = web.Badf("images[%d]: %w", i, err)
			}
			return nil, err
		}
		all = merged(all, v.labels(scored))
	}
	return all, nil
}
