// Package oip answers the Open Inference Protocol v2 (kserve/open-inference-protocol, inference_rest.md)
// with the binary extension of Triton (protocol/extension_binary_data.md): every graph of a model as
// MODEL.ROLE, and the one that the model begins with as MODEL.
package oip

import (
	"net/http"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// Dialect answers errors as the protocol has them.
var Dialect = &web.Dialect{
	Name: "oip",
	Fail: func(w http.ResponseWriter, status int, _ api.Kind, message string) {
		web.WriteJSON(w, status, map[string]string{"error": message})
	},
}

// platform is what the protocol calls models of ONNX.
const platform = "onnx_onnxv1"

// version is the one version that every model has.
const version = "1"

// Routes lists the dialect's routes. ready says whether the server takes requests; program is its
// version.
func Routes(s *serving.Service, program string, ready func() bool) []web.Route {
	h := &handlers{service: s, program: program, ready: ready, statistics: statistics{counts: map[string]*count{}}}
	route := func(pattern string, f func(http.ResponseWriter, *http.Request) error) web.Route {
		return web.Route{Pattern: pattern, Handler: Dialect.Handle(f)}
	}
	return []web.Route{
		route("GET /v2", h.server),
		route("GET /v2/health/live", h.live),
		route("GET /v2/health/ready", h.healthy),
		// Names of the hub have a slash, which clients leave as it is.
		route("GET /v2/models/{model...}", h.about),
		route("POST /v2/models/{model...}", h.infer),
		route("POST /v2/repository/index", h.index),
		route("POST /v2/repository/models/{model...}", h.change),
	}
}

type handlers struct {
	service *serving.Service
	program string
	ready   func() bool
	statistics
}

func (h *handlers) server(w http.ResponseWriter, _ *http.Request) error {
	return web.WriteJSON(w, http.StatusOK, map[string]any{
		"name": "xpipe", "version": h.program,
		"extensions": []string{"binary_tensor_data", "model_configuration", "model_repository", "statistics"},
	})
}

func (h *handlers) live(w http.ResponseWriter, _ *http.Request) error {
	return web.WriteJSON(w, http.StatusOK, map[string]bool{"live": true})
}

// healthy says whether requests are taken. The protocol's text calls that key live, too.
func (h *handlers) healthy(w http.ResponseWriter, _ *http.Request) error {
	status := http.StatusOK
	if !h.ready() {
		status = http.StatusServiceUnavailable
	}
	return web.WriteJSON(w, status, map[string]bool{"live": true, "ready": h.ready()})
}

// kindMissing is the kind of paths, models, graphs and versions that are not there.
var kindMissing = api.Kind{Name: "no_model", Exit: api.ExitModel, Status: http.StatusNotFound}

func missingf(format string, args ...any) error {
	return api.WithKind(web.Badf(format, args...), kindMissing)
}

// target is what a path below /v2/models names.
type target struct{ name, verb string }

// readTarget reads a path below /v2/models: NAME[/versions/V][/VERB]. Names may have slashes.
func readTarget(path string, verbs ...string) (t target, err error) {
	t.name = strings.Trim(path, "/")
	for _, verb := range verbs {
		if name, found := strings.CutSuffix(t.name, "/"+verb); found {
			t.name, t.verb = name, verb
			break
		}
	}
	if name, v, found := strings.Cut(t.name, "/versions/"); found {
		if t.name = name; v != version {
			return t, missingf("model %s has no version %q; every model has version %s alone",
				web.Shortened(name), web.Shortened(v), version)
		}
	}
	if t.name == "" {
		return t, missingf("the path names no model")
	}
	return t, nil
}

// about answers what is asked about a model.
func (h *handlers) about(w http.ResponseWriter, r *http.Request) error {
	if r.PathValue("model") == "stats" {
		return h.stats(w, "")
	}
	t, err := readTarget(r.PathValue("model"), "ready", "config", "stats")
	if err != nil {
		return err
	}
	g, release, err := h.open(r, t.name)
	if err != nil {
		return err
	}
	defer release()
	switch t.verb {
	case "ready":
		return web.WriteJSON(w, http.StatusOK, map[string]any{"name": t.name, "ready": true})
	case "config":
		return web.WriteJSON(w, http.StatusOK, newConfig(t.name, g.spec))
	case "stats":
		return h.stats(w, t.name)
	}
	return web.WriteJSON(w, http.StatusOK, map[string]any{
		"name": t.name, "versions": []string{version}, "platform": platform,
		"inputs": metadata(g.spec.Inputs), "outputs": metadata(g.spec.Outputs),
	})
}

// index lists the models that may be named. Each is opened when it is first used.
func (h *handlers) index(w http.ResponseWriter, _ *http.Request) error {
	list := []map[string]string{}
	for _, name := range h.service.Catalog.Names() {
		list = append(list, map[string]string{"name": name, "version": version, "state": "READY", "reason": ""})
	}
	return web.WriteJSON(w, http.StatusOK, list)
}

// change opens a model, or closes it once nobody uses it.
func (h *handlers) change(w http.ResponseWriter, r *http.Request) error {
	t, err := readTarget(r.PathValue("model"), "load", "unload")
	if err != nil {
		return err
	}
	switch t.verb {
	case "load":
		_, release, err := h.open(r, t.name)
		if err != nil {
			return err
		}
		release()
	case "unload":
		model, _ := h.split(t.name)
		if _, err := h.service.Catalog.Find(model); err != nil {
			return err
		}
		h.service.Keep(model, 0)
	default:
		return missingf("there is nothing at %s", web.Shortened(r.URL.Path))
	}
	return web.WriteJSON(w, http.StatusOK, struct{}{})
}
