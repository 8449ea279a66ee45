package oip

import (
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
	"github.com/crossattn/xpipe/tensor"
)

// opened is a graph of an open model.
type opened struct {
	model *serving.Model
	spec  pipeline.GraphSpec
}

// split divides the name of a graph into the model's and the role; "" stands for the first graph. A
// model's own name may have a point.
func (h *handlers) split(name string) (model, role string) {
	at := strings.LastIndexByte(name, '.')
	if _, err := h.service.Catalog.Find(name); err == nil || at <= 0 {
		return name, ""
	}
	return name[:at], name[at+1:]
}

// open opens the model of a graph. The caller calls release.
func (h *handlers) open(r *http.Request, name string) (g opened, release func(), err error) {
	model, role := h.split(name)
	if g.model, release, err = h.service.Use(r.Context(), model); err != nil {
		return g, nil, err
	}
	web.NoteAttr(r.Context(), slog.String("model", g.model.Name))
	var roles []string
	for _, spec := range g.model.P.Graphs() {
		if role == "" || spec.Role == role {
			g.spec = spec
			return g, release, nil
		}
		roles = append(roles, g.model.Name+"."+spec.Role)
	}
	release()
	return g, nil, missingf("model %s has no graph %q; there are %s", g.model.Name, web.Shortened(role),
		strings.Join(roles, ", "))
}

// datatypes are the protocol's names of element types.
var datatypes = map[tensor.DType]string{
	tensor.Float32: "FP32", tensor.Float16: "FP16", tensor.BFloat16: "BF16", tensor.Float64: "FP64",
	tensor.Int64: "INT64", tensor.Int32: "INT32", tensor.Int8: "INT8", tensor.Uint8: "UINT8", tensor.Bool: "BOOL",
}

// datatype is the protocol's name of a type; of one that no tensor here has, that of texts, which are
// the usual such type.
func datatype(d tensor.DType) string {
	if name, ok := datatypes[d]; ok {
		return name
	}
	return "BYTES"
}

// typeOf is the type of the protocol's name.
func typeOf(name string) tensor.DType {
	for d, known := range datatypes {
		if known == name {
			return d
		}
	}
	return tensor.Invalid
}

// tensorMetadata is what a model's metadata say of an input or output.
type tensorMetadata struct {
	Name     string `json:"name"`
	Datatype string `json:"datatype"`
	Shape    []int  `json:"shape"` // -1: any
}

func metadata(specs []tensor.Spec) []tensorMetadata {
	list := []tensorMetadata{}
	for _, s := range specs {
		list = append(list, tensorMetadata{s.Name, datatype(s.DType), append([]int{}, s.Shape...)})
	}
	return list
}

// config is as much of Triton's ModelConfig as there is to say.
type config struct {
	Name         string         `json:"name"`
	Platform     string         `json:"platform"`
	MaxBatchSize int            `json:"max_batch_size"` // 0: shapes have the batch in them
	Input        []configTensor `json:"input"`
	Output       []configTensor `json:"output"`
}

type configTensor struct {
	Name     string `json:"name"`
	DataType string `json:"data_type"`
	Dims     []int  `json:"dims"`
}

func newConfig(name string, spec pipeline.GraphSpec) config {
	tensors := func(specs []tensor.Spec) []configTensor {
		list := []configTensor{}
		for _, m := range metadata(specs) {
			kind := "TYPE_" + m.Datatype
			if m.Datatype == "BYTES" {
				kind = "TYPE_STRING"
			}
			list = append(list, configTensor{m.Name, kind, m.Shape})
		}
		return list
	}
	return config{Name: name, Platform: platform, Input: tensors(spec.Inputs), Output: tensors(spec.Outputs)}
}

// statistics count the runs of each graph since the server began.
type statistics struct {
	mu     sync.Mutex
	counts map[string]*count
}

type count struct {
	success, fail duration
	last          time.Time
}

type duration struct {
	Count int64 `json:"count"`
	NS    int64 `json:"ns"`
}

// note counts a run. Names are those of graphs that are there, of which there are few.
func (s *statistics) note(name string, took time.Duration, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts[name]
	if c == nil {
		c = &count{}
		s.counts[name] = c
	}
	of := &c.success
	if err != nil {
		of = &c.fail
	}
	of.Count++
	of.NS += took.Nanoseconds()
	c.last = time.Now()
}

// stats writes the statistics of a graph, or of all that were run.
func (s *statistics) stats(w http.ResponseWriter, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := []map[string]any{}
	add := func(name string, c count) {
		last := int64(0)
		if !c.last.IsZero() {
			last = c.last.UnixMilli()
		}
		list = append(list, map[string]any{
			"name": name, "version": version, "last_inference": last,
			"inference_count": c.success.Count, "execution_count": c.success.Count,
			"inference_stats": map[string]duration{"success": c.success, "fail": c.fail},
		})
	}
	for known, c := range s.counts {
		if name == "" {
			add(known, *c)
		}
	}
	if name != "" {
		var c count
		if known := s.counts[name]; known != nil {
			c = *known
		}
		add(name, c)
	}
	return web.WriteJSON(w, http.StatusOK, map[string]any{"model_stats": list})
}
