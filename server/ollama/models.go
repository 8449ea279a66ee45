package ollama

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// details are what lists say of a model.
type details struct {
	ParentModel       string   `json:"parent_model"`
	Format            string   `json:"format"`
	Family            string   `json:"family"`
	Families          []string `json:"families"`
	ParameterSize     string   `json:"parameter_size"`
	QuantizationLevel string   `json:"quantization_level"`
}

// tag is a model in a list.
type tag struct {
	Name         string     `json:"name"`
	Model        string     `json:"model"`
	ModifiedAt   *time.Time `json:"modified_at,omitempty"`
	Size         int64      `json:"size"`
	Digest       string     `json:"digest"`
	Details      details    `json:"details"`
	Capabilities []string   `json:"capabilities,omitempty"`
	ExpiresAt    *time.Time `json:"expires_at,omitempty"`
	SizeVRAM     *int64     `json:"size_vram,omitempty"`
}

// tagged is a model's name with a tag, as lists of Ollama have it. Requests may leave it out.
func tagged(name string) string {
	if strings.Contains(name[strings.LastIndex(name, "/")+1:], ":") {
		return name
	}
	return name + ":latest"
}

func newTag(m serving.Listed) tag {
	return tag{
		Name: tagged(m.Name), Model: tagged(m.Name), ModifiedAt: &m.Modified, Size: m.Bytes, Digest: digestOf(m),
		Details:      details{Format: "onnx", Family: string(m.Family), Families: []string{string(m.Family)}},
		Capabilities: capabilitiesOf(m.Tasks),
	}
}

// digestOf names what a list says of a model, in the form of Ollama's digests: it changes when the model
// is another. It is not that of the files, which would have to be read for it.
func digestOf(m serving.Listed) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%d\n%d", m.Name, m.Family, m.Bytes, m.Modified.UnixNano()))
	return hex.EncodeToString(sum[:])
}

// capabilitiesOf says in Ollama's words what a model of some tasks can do.
func capabilitiesOf(tasks []string) []string {
	able := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return slices.Contains(tasks, n) })
	}
	list := []string{}
	for _, c := range []struct {
		name  string
		tasks []string
	}{
		{"completion", []string{"caption", "ask", "chat"}},
		{"vision", []string{"caption", "ask", "match", "classify"}},
		{"audio", []string{"transcribe"}},
		{"embedding", []string{"embed"}},
	} {
		if able(c.tasks...) {
			list = append(list, c.name)
		}
	}
	return list
}

func (h handlers) tags(w http.ResponseWriter, r *http.Request) error {
	list, err := h.service.Catalog.List(r.Context())
	if err != nil {
		return err
	}
	tags := []tag{}
	for _, m := range list {
		tags = append(tags, newTag(m))
	}
	return web.WriteJSON(w, http.StatusOK, map[string]any{"models": tags})
}

// named is a request that names a model; older clients call it name.
type named struct {
	Model string `json:"model"`
	Name  string `json:"name"`
}

func readNamed(r *http.Request, v any, n *named) error {
	if err := web.ReadJSON(r, v); err != nil {
		return err
	}
	if n.Model = cmp.Or(n.Model, n.Name); n.Model == "" {
		return web.Badf("model is required")
	}
	return nil
}

// shown is what show says of a model.
type shown struct {
	License      string         `json:"license,omitempty"`
	Modelfile    string         `json:"modelfile"`
	Template     string         `json:"template"`
	Details      details        `json:"details"`
	ModelInfo    map[string]any `json:"model_info"`
	Capabilities []string       `json:"capabilities"`
	ModifiedAt   time.Time      `json:"modified_at"`
}

func (h handlers) show(w http.ResponseWriter, r *http.Request) error {
	var n named
	if err := readNamed(r, &n, &n); err != nil {
		return err
	}
	m, err := h.service.Catalog.Describe(r.Context(), n.Model)
	if err != nil {
		return notFound(n.Model, err)
	}
	t := newTag(m)
	return web.WriteJSON(w, http.StatusOK, shown{
		License: m.Licence, Details: t.Details, Capabilities: t.Capabilities, ModifiedAt: m.Modified,
		ModelInfo: map[string]any{
			"general.architecture": m.Family, "general.basename": m.Name, "general.size_bytes": m.Bytes,
			"general.tasks": m.Tasks,
		},
	})
}

func (h handlers) ps(w http.ResponseWriter, r *http.Request) error {
	tags := []tag{}
	for _, open := range h.service.Opened() {
		m, err := h.service.Catalog.Describe(r.Context(), open.Name)
		if err != nil {
			m.Name, m.Family = open.Name, models.Family("")
		}
		t := newTag(m)
		t.ModifiedAt, t.Capabilities, t.Size = nil, nil, open.Bytes
		t.SizeVRAM, t.ExpiresAt = new(int64), &open.Expires
		if open.Expires.IsZero() { // never
			never := time.Now().Add(longestKeep)
			t.ExpiresAt = &never
		}
		tags = append(tags, t)
	}
	return web.WriteJSON(w, http.StatusOK, map[string]any{"models": tags})
}

// pull fetches a model from the hub, where the operator allows it. The lines are those of Ollama, without
// how far each file came.
func (h handlers) pull(w http.ResponseWriter, r *http.Request) error {
	var p struct {
		named
		Stream *bool `json:"stream"`
	}
	if err := readNamed(r, &p, &p.named); err != nil {
		return err
	}
	type status struct {
		Status string `json:"status"`
	}
	pull := func(ctx context.Context) error {
		if _, err := h.service.Catalog.Find(p.Model); err == nil {
			return nil
		}
		return notFound(p.Model, h.service.Pull(ctx, strings.TrimSuffix(p.Model, ":latest")))
	}
	if p.Stream != nil && !*p.Stream || !h.service.Pulls() {
		if err := pull(r.Context()); err != nil {
			return err
		}
		return web.WriteJSON(w, http.StatusOK, status{"success"})
	}
	lines := web.Lines(w)
	if err := lines.Send("", status{"pulling manifest"}); err != nil {
		return err
	}
	if err := pull(r.Context()); err != nil {
		return sendFailure(lines, err)
	}
	return lines.Send("", status{"success"})
}

// sendFailure ends a stream that has begun with an error.
func sendFailure(lines *web.Stream, err error) error {
	_, _, message := web.Describe(err)
	lines.Send("", failure{message}) // whether the client is still there or not
	return err
}
