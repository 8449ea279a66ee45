package models

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// ProjectionName is the file of weights that xpipe applies in Go.
const ProjectionName = "projection.safetensors"

// layoutRoles gives the role of a graph by its name in transformers.js, optimum and LiquidAI's
// conversions (embed_images), where the two differ.
var layoutRoles = map[string]string{
	"vision_model":         "vision_encoder",
	"embed_images":         "vision_encoder",
	"text_model":           "text_encoder",
	"encoder_model":        "encoder",
	"decoder_model_merged": "decoder",
}

// Layout describes the directories without xpipe.json that are a model of a family. Package
// pipeline/family holds the layouts, in its table of families.
type Layout struct {
	Type   string // config.json's model_type
	Family Family
	// Forms are sets of roles, and of files, each of which makes a whole model.
	Forms [][]string
	// Alternatives says that the forms are several ways to store the same model, best first: one of
	// them is taken, and its graphs alone. Otherwise a directory's graphs are taken together.
	Alternatives bool
	// Folders are where graphs and other files lie beside the root and "onnx".
	Folders []string
	// Roles gives the roles of graphs by their names, where the type has others than most; or by
	// folder and name, such as "visual/model".
	Roles map[string]string
	// Optional roles belong to a model where it has them.
	Optional []string
	// Unpacked types are not known as onnxruntime-genai packs them.
	Unpacked bool
	// Manifest returns the keys of xpipe.json that are not about files; nil: there are none.
	Manifest func(Config) map[string]any
}

// Known are the families that a caller can run.
type Known struct {
	Families []Family
	Layouts  []Layout
}

// layout finds a layout by config.json's model_type, or by genai_config.json's of a package.
func (k *Known) layout(modelType string, packed bool) (*Layout, error) {
	if k == nil {
		k = &Known{}
	}
	var types []string
	for i := range k.Layouts {
		if packed && k.Layouts[i].Unpacked {
			continue
		}
		if k.Layouts[i].Type == modelType {
			return &k.Layouts[i], nil
		}
		if k.Layouts[i].Type != CausalLMType {
			types = append(types, k.Layouts[i].Type)
		}
	}
	slices.Sort(types)
	return nil, fmt.Errorf("%w: model_type %q is not supported without %s; supported are %s",
		ErrBundle, modelType, ManifestName, strings.Join(types, ", "))
}

// Prompts returns a Layout's Manifest with the key "prompts" alone, by task.
func Prompts(p map[string]string) func(Config) map[string]any {
	return func(Config) map[string]any { return map[string]any{"prompts": p} }
}

// roles lists the graphs that matter to the family.
func (l *Layout) roles() []string {
	var roles []string
	for _, r := range slices.Concat(append(slices.Clone(l.Forms), l.Optional)...) {
		if r != ProjectionName && r != ManifestName && !slices.Contains(roles, r) {
			roles = append(roles, r)
		}
	}
	return roles
}

// choose picks the files of a whole model: those of the first form that is whole for alternatives,
// of all roles otherwise. Without a variant asked for, a form that is whole in plain files comes
// before others.
func (l *Layout) choose(
	found map[string][]graphFile, variant string, projection bool,
) (map[string]string, error) {
	graphs, err := l.chooseIn(found, variant, projection)
	if err != nil && variant != "" {
		// A graph that is stored in one way alone, such as the embeddings, belongs to every variant.
		alone := maps.Clone(found)
		for role, files := range alone {
			if len(files) == 1 {
				file := files[0]
				file.variant = variant
				alone[role] = []graphFile{file}
			}
		}
		other, otherErr := l.chooseIn(alone, variant, projection)
		inVariant := func(name string) bool { return parseGraphFile(name).variant == variant }
		if otherErr == nil && slices.ContainsFunc(slices.Collect(maps.Values(other)), inVariant) {
			return other, nil
		}
	}
	return graphs, err
}

// chooseIn is choose with the graphs of one variant alone.
func (l *Layout) chooseIn(
	found map[string][]graphFile, variant string, projection bool,
) (map[string]string, error) {
	if !l.Alternatives {
		graphs, err := pickAll(l.roles(), found, variant)
		if err != nil {
			return nil, err
		}
		return graphs, l.check(variant, graphs, found, projection)
	}
	tries := []string{variant}
	if variant == "" {
		tries = []string{plain, ""}
	}
	var unclear error
	for _, try := range tries {
		for _, form := range l.Forms {
			only := Layout{Type: l.Type, Forms: [][]string{form}, Optional: l.Optional}
			graphs, err := pickAll(only.roles(), found, try)
			if err == nil && only.check(try, graphs, found, projection) == nil {
				return graphs, nil
			}
			if unclear == nil {
				unclear = err
			}
		}
	}
	if unclear != nil {
		return nil, unclear
	}
	return nil, l.check(variant, nil, found, projection)
}

// pickAll picks a file for each role that has one.
func pickAll(
	roles []string, found map[string][]graphFile, variant string,
) (map[string]string, error) {
	graphs := map[string]string{}
	for _, role := range roles {
		name, err := pick(role, found[role], variant)
		if err != nil {
			return nil, err
		}
		if name != "" {
			graphs[role] = name
		}
	}
	return graphs, nil
}

// check refuses graphs that make no whole model; the error lists the graphs found and those missing
// for each form.
func (l *Layout) check(
	variant string, graphs map[string]string, found map[string][]graphFile, projection bool,
) error {
	var missing []string
	for _, form := range l.Forms {
		lacks := slices.DeleteFunc(slices.Clone(form), func(r string) bool {
			return graphs[r] != "" || r == ProjectionName && projection
		})
		if len(lacks) == 0 {
			return nil
		}
		missing = append(missing, strings.Join(lacks, ", "))
	}
	var saw []string
	for _, role := range slices.Sorted(maps.Keys(found)) {
		saw = append(saw, fmt.Sprintf("%s (%s)", role, describe(found[role])))
	}
	if len(saw) == 0 {
		saw = []string{describe(nil)}
	}
	model := l.Type + " model"
	if variant != "" {
		model += " in the variant " + variant
	}
	return fmt.Errorf("%w: the graphs here are no whole %s. Found: %s. Missing: %s. tools/export "+
		"makes a bundle from the checkpoint",
		ErrBundle, model, strings.Join(saw, ", "), strings.Join(missing, "; or "))
}
