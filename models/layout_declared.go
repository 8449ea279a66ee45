package models

import (
	"cmp"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// declared is what a graph says of itself.
type declared struct{ inputs, outputs []string }

// declares reads what a graph in a file system declares; ok is false where it cannot be read, which
// is told when it is opened.
func declares(fsys fs.FS, name string) (g declared, ok bool) {
	m, err := onnx.Load(onnx.Source{FS: fsys, Name: name})
	if err != nil {
		return g, false
	}
	defer m.Close()
	return declared{specNames(m.Inputs()), specNames(m.Outputs())}, true
}

// specNames copies the names, which would not outlive the model else.
func specNames(specs []tensor.Spec) (names []string) {
	for _, s := range specs {
		names = append(names, strings.Clone(s.Name))
	}
	return names
}

// role returns the part that a graph plays by what it declares, among the layout's roles; "" where
// that does not say it.
func (g declared) role(roles []string) string {
	takes := func(prefix string) bool {
		return slices.ContainsFunc(g.inputs, func(s string) bool { return strings.HasPrefix(s, prefix) })
	}
	// open_clip's exports call them image and text.
	pixels := takes("pixel_values") || slices.Contains(g.inputs, "image")
	text := takes("input_ids") || slices.Contains(g.inputs, "text")
	var role string
	switch {
	case pixels && text:
		role = "model"
	case pixels:
		role = "vision_encoder"
	case takes("input_features") && slices.Contains(roles, "audio_encoder"):
		role = "audio_encoder"
	case slices.Contains(g.outputs, "logits") && takes("past"):
		role = "decoder"
		if slices.Contains(roles, "decoder_with_past_model") && !takes("use_cache_branch") &&
			takes("past_key_values.0.encoder") {
			role = "decoder_with_past_model" // the encoder's part must come from another graph
		}
	case slices.Contains(g.outputs, "logits"):
		role = "decoder_model"
	case text && slices.Contains(roles, "text_encoder"):
		role = "text_encoder"
	case text && len(g.inputs) == 1:
		role = "embed_tokens"
	case takes("inputs_embeds"):
		role = "encoder"
	}
	if !slices.Contains(roles, role) {
		return ""
	}
	return role
}

// byDeclared gives graphs whose names are no role of the layout the roles that nothing has, by what
// they declare; of a graph in several variants, what the one asked for declares. It returns whether
// there are such.
func (l *Layout) byDeclared(
	found map[string][]graphFile, variant string, declares func(name string) (declared, bool),
) bool {
	roles := l.roles()
	given := map[string][]graphFile{}
	for name, all := range found {
		if slices.Contains(roles, name) {
			continue
		}
		byFolder := map[string][]graphFile{} // where several folders have a graph of the same name
		for _, f := range all {
			byFolder[path.Dir(f.name)] = append(byFolder[path.Dir(f.name)], f)
		}
		for _, files := range byFolder {
			file := files[0]
			if at := slices.IndexFunc(files, func(f graphFile) bool { return f.variant == cmp.Or(variant, plain) }); at >= 0 {
				file = files[at]
			}
			if g, ok := declares(file.name); ok {
				if role := g.role(roles); role != "" && len(found[role]) == 0 {
					given[role] = append(given[role], files...)
				}
			}
		}
	}
	for role, files := range given {
		slices.SortFunc(files, func(a, b graphFile) int { return strings.Compare(a.name, b.name) })
		found[role] = files
	}
	return len(given) > 0
}
