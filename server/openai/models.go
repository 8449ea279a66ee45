package openai

import (
	"net/http"

	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// modelEntry is a model in a list. Tasks is ours: what the model does, in the words of xpipe list.
type modelEntry struct {
	ID      string   `json:"id"`
	Object  string   `json:"object"`
	Created int64    `json:"created"`
	OwnedBy string   `json:"owned_by"`
	Tasks   []string `json:"tasks"`
}

func newModelEntry(l serving.Listed) modelEntry {
	return modelEntry{l.Name, "model", max(l.Modified.Unix(), 0), "xpipe", l.Tasks}
}

// models lists the models that requests may name.
func (h handlers) models(w http.ResponseWriter, r *http.Request) error {
	list, err := h.service.Catalog.List(r.Context())
	if err != nil {
		return err
	}
	data := []modelEntry{}
	for _, l := range list {
		data = append(data, newModelEntry(l))
	}
	return web.WriteJSON(w, http.StatusOK, map[string]any{"object": "list", "data": data})
}

// model describes one model.
func (h handlers) model(w http.ResponseWriter, r *http.Request) error {
	l, err := h.service.Catalog.Describe(r.Context(), r.PathValue("model"))
	if err != nil {
		return err
	}
	return web.WriteJSON(w, http.StatusOK, newModelEntry(l))
}
