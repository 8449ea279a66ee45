package models

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// projectionName is the file of weights that xpipe applies in Go.
const projectionName = "projection.safetensors"

// layoutRoles are the roles of graphs by what transformers.js and optimum call
// them, where it is not the same.
var layoutRoles = map[string]string{
	"vision_model":         "vision_encoder",
	"text_model":           "text_encoder",
	"encoder_model":        "encoder",
	"decoder_model_merged": "decoder", // the others of optimum serve one step or the first only
}

// layout says which directories without xpipe.json are a model of a family.
type layout struct {
	family Family
	// forms are sets of roles, and of files, each of which makes a whole model.
	forms [][]string
	// optional roles are taken where they are there.
	optional []string
	// manifest gives the keys of xpipe.json that are not about files.
	manifest func(layoutConfig) map[string]any
}

// layouts are the model types of config.json that can be read without
// xpipe.json. The prompts are those tools/export writes.
var layouts = map[string]layout{
	"clip": {
		family: CLIP, forms: [][]string{{"vision_encoder", "text_encoder"}, {"model"}},
		manifest: func(c layoutConfig) map[string]any {
			return dual(c, 77, "softmax", "longest", "a photo of a {}")
		},
	},
	"siglip": {
		family: CLIP, forms: [][]string{{"vision_encoder", "text_encoder"}, {"model"}},
		manifest: func(c layoutConfig) map[string]any {
			return dual(c, 64, "sigmoid", "max_length", "This is a photo of {}.")
		},
	},
	"blip": {
		family: BLIP,
		forms: [][]string{
			{"vision_encoder", "embed_tokens", "decoder", "cross_kv"}, {"vision_encoder", "embed_tokens", "decoder", "question_encoder"},
			{"vision_encoder", "matcher", "text_encoder", projectionName},
		},
		manifest: prompts(map[string]string{"caption": "", "answer": "{}"}),
	},
	"blip-2":       {family: BLIP2, forms: blip2Forms, optional: []string{"encoder"}, manifest: prompts(map[string]string{"caption": "", "answer": "Question: {} Answer:"})},
	"instructblip": {family: BLIP2, forms: blip2Forms, optional: []string{"encoder"}, manifest: prompts(map[string]string{"caption": "A short image description.", "answer": "{}"})},
	// How IDEFICS writes its prompts is in xpipe.json alone.
	"idefics": {family: Flamingo, forms: [][]string{{"vision_encoder", "embed_tokens", "cross_kv", "decoder", ManifestName}}, optional: []string{"resampler"}},
	"lxmert": {
		family: LXMERT, forms: [][]string{{"model"}},
		manifest: func(c layoutConfig) map[string]any {
			return map[string]any{"answers": c.Answers, "limits": map[string]int{"max_text": 20}, "prompts": map[string]string{"answer": "{}"}}
		},
	},
}

var blip2Forms = [][]string{
	{"vision_encoder", "qformer", "embed_tokens", "decoder", projectionName},
	{"vision_encoder", "qformer", "text_encoder", projectionName},
}

// dual are the keys of a model with two encoders. positions is the text model's
// length where config.json leaves out what is transformers' default.
func dual(c layoutConfig, positions int, scores, padding, prompt string) map[string]any {
	if c.TextConfig.MaxPositions > 0 {
		positions = c.TextConfig.MaxPositions
	}
	return map[string]any{
		"scores": scores, "text_padding": padding,
		"limits": map[string]int{"max_text": positions}, "prompts": map[string]string{"classify": prompt},
	}
}

func prompts(p map[string]string) func(layoutConfig) map[string]any {
	return func(layoutConfig) map[string]any { return map[string]any{"prompts": p} }
}

// roles lists the graphs that matter to the family.
func (l layout) roles() []string {
	var roles []string
	for _, r := range slices.Concat(append(slices.Clone(l.forms), l.optional)...) {
		if r != projectionName && r != ManifestName && !slices.Contains(roles, r) {
			roles = append(roles, r)
		}
	}
	return roles
}

// check refuses graphs that make no whole model: it says what was found and
// what is missing for each form.
func (l layout) check(modelType, variant string, graphs map[string]string, found map[string][]graphFile, projection bool) error {
	var missing []string
	for _, form := range l.forms {
		lacks := slices.DeleteFunc(slices.Clone(form), func(r string) bool {
			return graphs[r] != "" || r == projectionName && projection
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
	model := modelType + " model"
	if variant != "" {
		model += " in the variant " + variant
	}
	return fmt.Errorf("%w: the graphs here are no whole %s. Found: %s. Missing: %s. tools/export makes a bundle from the checkpoint",
		ErrBundle, model, strings.Join(saw, ", "), strings.Join(missing, "; or "))
}
