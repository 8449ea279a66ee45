package models

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/internal/bom"
)

// Directories that other tools made have no xpipe.json. This file derives one from config.json's
// model_type and the names of the graphs, so that all other code gets a bundle like any other.

// graphFile is a graph by its name: onnx/text_model_fp16.onnx is text_model in the variant fp16.
type graphFile struct {
	name    string // path in the directory
	stem    string
	variant string // one of Variants
}

// plain is the variant of a file without a suffix.
const plain = "fp32"

// suffixes end the names of files by variant, as transformers.js has them. Longer ones come before
// those they end in.
var suffixes = []struct{ variant, suffix string }{
	{"q4f16", "_q4f16"}, {"quantized", "_quantized"}, {"bnb4", "_bnb4"},
	{"uint8", "_uint8"}, {"int8", "_int8"}, {"fp16", "_fp16"}, {"q4", "_q4"}, {plain, ""},
}

// Variants returns the names that WithVariant takes, sorted. "fp32" is the file without a suffix.
func Variants() []string {
	var names []string
	for _, s := range suffixes {
		names = append(names, s.variant)
	}
	slices.Sort(names)
	return names
}

func parseGraphFile(name string) graphFile {
	stem := strings.TrimSuffix(path.Base(name), ".onnx")
	for _, s := range suffixes {
		if rest, ok := strings.CutSuffix(stem, s.suffix); ok {
			return graphFile{name, rest, s.variant}
		}
	}
	return graphFile{name, stem, plain} // not reached: every name ends in ""
}

// inVariant returns the graph's name in another variant.
func (f graphFile) inVariant(variant string) string {
	for _, s := range suffixes {
		if s.variant == variant {
			return path.Join(path.Dir(f.name), f.stem+s.suffix+".onnx")
		}
	}
	return f.name
}

// checkVariant refuses names that are not in Variants; "" stands for none.
func checkVariant(variant string) error {
	if variant != "" && !slices.Contains(Variants(), variant) {
		return fmt.Errorf("%w: there is no variant %q; it is one of %s",
			ErrBundle, variant, strings.Join(Variants(), ", "))
	}
	return nil
}

// useVariant replaces the graphs of xpipe.json by their files in the variant.
func (m *Manifest) useVariant(fsys fs.FS, variant string) error {
	files, err := listGraphs(fsys)
	if err != nil {
		return err
	}
	for _, role := range slices.Sorted(maps.Keys(m.Graphs)) {
		f := parseGraphFile(m.Graphs[role])
		name := f.inVariant(variant)
		if info, err := fs.Stat(fsys, name); err != nil || info.IsDir() {
			return fmt.Errorf("%w: no variant %s of graph %q: there is no %s; there are %s",
				ErrBundle, variant, role, name, describe(files))
		}
		m.Graphs[role] = name
	}
	m.DType = storedAs(variant)
	return nil
}

// storedAs returns xpipe.json's dtype for a variant.
func storedAs(variant string) string {
	switch variant {
	case "quantized", "uint8":
		return "int8"
	case "fp16", "q4f16": // with arithmetic in float16, unlike xpipe's own fp16
		return "float16"
	}
	return variant
}

// listGraphs lists the graphs of a directory and of its folder onnx.
func listGraphs(fsys fs.FS) ([]graphFile, error) {
	var files []graphFile
	for _, dir := range []string{".", "onnx"} {
		entries, err := fs.ReadDir(fsys, dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // there need not be a folder onnx
			return nil, fmt.Errorf("%w: %w", ErrBundle, err)
		}
		for _, e := range entries {
			if !e.IsDir() && strings.HasSuffix(e.Name(), ".onnx") {
				files = append(files, parseGraphFile(path.Join(dir, e.Name())))
			}
		}
	}
	return files, nil
}

func describe(files []graphFile) string {
	if len(files) == 0 {
		return "no .onnx files, here or in onnx/"
	}
	var names []string
	for _, f := range files {
		names = append(names, f.name)
	}
	return strings.Join(names, ", ")
}

// genAI is onnxruntime-genai's genai_config.json: the graphs by part.
type genAI struct {
	Model map[string]json.RawMessage `json:"model"`
}

// genAIRoles gives the role of each part in genai_config.json.
var genAIRoles = map[string]string{
	"vision": "vision_encoder", "embedding": "embed_tokens",
	"encoder": "encoder", "decoder": "decoder", "speech": "speech",
}

// layoutManifest makes the xpipe.json of a directory that has none, in the layout of
// transformers.js, optimum or onnxruntime-genai. variant "" takes the plain file of each role, or
// the only one.
func layoutManifest(fsys fs.FS, variant string, known *Known) ([]byte, error) {
	config, found, err := survey(fsys)
	if err != nil {
		return nil, err
	}
	layout, err := known.layout(config.ModelType)
	if err != nil {
		return nil, err
	}
	graphs := map[string]string{}
	for _, role := range layout.roles() {
		name, err := pick(role, found[role], variant)
		if err != nil {
			return nil, err
		}
		if name != "" {
			graphs[role] = name
		}
	}
	_, err = fs.Stat(fsys, ProjectionName)
	projection := err == nil
	if err := layout.check(variant, graphs, found, projection); err != nil {
		return nil, err
	}
	manifest := map[string]any{}
	if layout.Manifest != nil {
		manifest = layout.Manifest(config)
	}
	manifest["format"], manifest["family"] = manifestFormat, layout.Family
	manifest["graphs"], manifest["dtype"] = graphs, layoutDType(graphs)
	if projection {
		manifest["projection"] = ProjectionName
	}
	return json.Marshal(manifest)
}

// survey reads a directory's configuration and finds its graphs by role.
func survey(fsys fs.FS) (config Config, found map[string][]graphFile, err error) {
	found = map[string][]graphFile{}
	named := map[string]bool{} // by genai_config.json
	genAI, err := readJSON(fsys, "genai_config.json", func(data []byte) error {
		return readGenAI(fsys, data, &config, found, named)
	})
	if err != nil {
		return config, nil, err
	}
	standard, err := readJSON(fsys, "config.json", func(data []byte) error {
		return json.Unmarshal(data, &config)
	})
	if err != nil {
		return config, nil, err
	}
	if !genAI && !standard {
		return config, nil, fmt.Errorf(
			"%w: no usable %s, the file that makes a directory a bundle, and neither "+
				"config.json nor genai_config.json, which other tools write",
			ErrBundle, ManifestName)
	}
	files, err := listGraphs(fsys)
	if err != nil {
		return config, nil, err
	}
	for _, f := range files {
		if named[f.name] {
			continue
		}
		role, ok := layoutRoles[f.stem]
		if !ok {
			role = f.stem
		}
		found[role] = append(found[role], f)
	}
	return config, found, nil
}

// layoutDType returns the coarsest storage among the graphs, which sets the tolerance between two
// engines.
func layoutDType(graphs map[string]string) string {
	dtype := plain
	for _, name := range graphs {
		if d := storedAs(parseGraphFile(name).variant); d != plain && dtype != "int8" {
			dtype = d
		}
	}
	return dtype
}

// readJSON gives a file to f; ok is false where there is none.
func readJSON(fsys fs.FS, name string, f func([]byte) error) (ok bool, err error) {
	data, err := fs.ReadFile(fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err == nil {
		data, err = bom.Strip(data)
	}
	if err == nil {
		err = f(data)
	}
	if err != nil && !errors.Is(err, ErrBundle) {
		err = fmt.Errorf("%w: %s: %w", ErrBundle, name, err)
	}
	return err == nil, err
}

// readGenAI adds the graphs that genai_config.json names.
func readGenAI(
	fsys fs.FS, data []byte, config *Config, found map[string][]graphFile, named map[string]bool,
) error {
	var file genAI
	if err := json.Unmarshal(data, &file); err != nil {
		return err
	}
	json.Unmarshal(file.Model["type"], &config.ModelType) // config.json overrides it
	for _, part := range slices.Sorted(maps.Keys(genAIRoles)) {
		var graph struct {
			File string `json:"filename"`
		}
		if json.Unmarshal(file.Model[part], &graph) != nil || graph.File == "" {
			continue
		}
		if err := checkName("genai_config.json", graph.File); err != nil {
			return err
		}
		if _, err := fs.Stat(fsys, graph.File); err != nil {
			return fmt.Errorf("model.%s: %w", part, err)
		}
		found[genAIRoles[part]] = append(found[genAIRoles[part]], parseGraphFile(graph.File))
		named[graph.File] = true
	}
	return nil
}

// pick chooses the file of a role: the one in the variant asked for; without that the plain one, or
// the only one. It returns "" where there is none.
func pick(role string, files []graphFile, variant string) (string, error) {
	in := func(variant string) []graphFile {
		other := func(f graphFile) bool { return f.variant != variant }
		return slices.DeleteFunc(slices.Clone(files), other)
	}
	candidates, advice := files, "choose one with --variant"
	switch {
	case variant != "":
		candidates, advice = in(variant), "keep one"
	case len(in(plain)) > 0:
		candidates, advice = in(plain), "keep one"
	}
	switch len(candidates) {
	case 0:
		return "", nil
	case 1:
		return candidates[0].name, nil
	}
	if len(in(candidates[0].variant)) == len(files) { // no other variant to choose
		advice = "keep one"
	}
	return "", fmt.Errorf("%w: several files could be the graph %q: %s; %s",
		ErrBundle, role, describe(candidates), advice)
}
