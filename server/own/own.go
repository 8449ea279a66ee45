// Package own is xpipe's own dialect: /xpipe/v1/VERB answers with what the command's verb prints with
// --json.
package own

import (
	"cmp"
	"net/http"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// Dialect answers errors as the command does with --json.
var Dialect = &web.Dialect{
	Name: "xpipe",
	Fail: func(w http.ResponseWriter, status int, kind api.Kind, message string) {
		web.WriteJSON(w, status, map[string]string{"error": message, "kind": kind.Name})
	},
}

// Routes lists the dialect's routes.
func Routes(s *serving.Service) []web.Route {
	h := handlers{s}
	return []web.Route{
		{Pattern: "POST /xpipe/v1/caption", Handler: Dialect.Handle(h.caption)},
	}
}

type handlers struct{ service *serving.Service }

// caption describes the pictures of a form's field image.
func (h handlers) caption(w http.ResponseWriter, r *http.Request) error {
	form, err := web.ReadForm(r)
	if err != nil {
		return err
	}
	files := form.Files["image"]
	if len(files) != 1 {
		return web.Badf("the form has %d files named image; send one", len(files))
	}
	m, release, err := h.service.Use(r.Context(), cmp.Or(form.Value("model"), h.service.Catalog.For("caption")))
	if err != nil {
		return err
	}
	defer release()
	start := time.Now()
	picture, err := m.Picture(r.Context(), files[0].Data)
	if err != nil {
		return err
	}
	texts, err := m.Write(r.Context(), pipeline.Request{Item: picture}, nil)
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK,
		api.NewCaption(files[0].Name, texts, texts[0].Confidence, time.Since(start).Seconds()))
}
