package models

import (
	"cmp"
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
// model_type and the names of the graphs, or where these say too little what the graphs declare, so
// that all other code gets a bundle like any other.

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
	{"q4f16", "_q4f16"}, {"q2f16", "_q2f16"}, {"q1f16", "_q1f16"}, {"quantized", "_quantized"}, {"bnb4", "_bnb4"},
	{"uint8", "_uint8"}, {"int8", "_int8"}, {"fp16", "_fp16"}, {"q4", "_q4"},
	{"q2", "_q2"}, {"q1", "_q1"}, {plain, ""},
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

// wantedVariants are those that WithVariant names: one of all graphs, "" for none, and others by the names
// of graphs.
type wantedVariants struct {
	all  string
	each map[string]string
}

// parseVariants reads what WithVariant takes, and refuses names that are not in Variants.
func parseVariants(text string) (w wantedVariants, err error) {
	if text == "" {
		return w, nil
	}
	for _, word := range strings.Split(text, ",") {
		stem, variant, of := strings.Cut(word, "=")
		if !of {
			variant = word
		}
		if variant == "q8" { // as transformers.js calls it
			variant = "quantized"
		}
		switch {
		case !slices.Contains(Variants(), variant):
			return w, fmt.Errorf("%w: there is no variant %q; it is one of %s",
				ErrBundle, variant, strings.Join(Variants(), ", "))
		case of && w.each == nil:
			w.each = map[string]string{stem: variant}
		case of:
			w.each[stem] = variant
		case w.all != "":
			return w, fmt.Errorf("%w: the variants %s and %s are both of all graphs; name a graph: GRAPH=%s",
				ErrBundle, w.all, variant, variant)
		default:
			w.all = variant
		}
	}
	return w, nil
}

// narrow leaves of the graphs that have a variant of their own that file, which then counts as of the
// variant of all.
func (w wantedVariants) narrow(found map[string][]graphFile) error {
	for _, stem := range slices.Sorted(maps.Keys(w.each)) {
		var kept, others []graphFile
		for role, files := range found {
			rest := slices.DeleteFunc(slices.Clone(files), func(f graphFile) bool { return f.stem == stem })
			for _, f := range files {
				if f.stem != stem {
					continue
				}
				others = append(others, f)
				if f.variant == w.each[stem] {
					f.variant = cmp.Or(w.all, f.variant)
					kept = append(kept, f)
					found[role] = append(rest, f)
				}
			}
		}
		if len(kept) == 0 {
			return fmt.Errorf("%w: there is no graph %s in the variant %s; there are %s",
				ErrBundle, stem, w.each[stem], describe(others))
		}
	}
	return nil
}

// useVariant replaces the graphs of xpipe.json by their files in the variants.
func (m *Manifest) useVariant(d directory, wanted wantedVariants) error {
	defer func() { m.DType = layoutDType(m.Graphs) }()
	for _, role := range slices.Sorted(maps.Keys(m.Graphs)) {
		f := parseGraphFile(m.Graphs[role])
		variant := cmp.Or(wanted.each[role], wanted.each[f.stem], wanted.all)
		if variant == "" {
			continue
		}
		name := f.inVariant(variant)
		if !d.has(name) {
			return fmt.Errorf("%w: no variant %s of graph %q: there is no %s; there are %s",
				ErrBundle, variant, role, name, describe(d.graphs()))
		}
		m.Graphs[role] = name
	}
	return nil
}

// storedAs returns xpipe.json's dtype for a variant.
func storedAs(variant string) string {
	switch variant {
	case "quantized", "uint8":
		return "int8"
	case "fp16", "q4f16", "q2f16", "q1f16": // with arithmetic in float16, unlike xpipe's own fp16
		return "float16"
	}
	return variant
}

// directory is what a layout is known by: the names of all files, and the content of those that are
// not graphs. It may be a folder or the listing of one that was not fetched yet.
type directory struct {
	names []string // sorted paths
	// read gives a file's content; fs.ErrNotExist where there is none.
	read func(name string) ([]byte, error)
	// declares gives what a graph declares; nil where graphs cannot be read yet.
	declares func(name string) (declared, bool)
}

// openDirectory lists the files at the root of a file system and in its folders.
func openDirectory(fsys fs.FS) (directory, error) {
	d := directory{
		read:     func(name string) ([]byte, error) { return fs.ReadFile(fsys, name) },
		declares: func(name string) (declared, bool) { return declares(fsys, name) },
	}
	entries, err := fs.ReadDir(fsys, ".")
	if err != nil {
		return d, fmt.Errorf("%w: %w", ErrBundle, err)
	}
	for _, e := range entries {
		isDir := e.IsDir()
		if e.Type()&fs.ModeSymlink != 0 {
			info, err := fs.Stat(fsys, e.Name())
			if err != nil && e.Name() == graphFolder {
				return d, fmt.Errorf("%w: %w", ErrBundle, err)
			}
			isDir = err == nil && info.IsDir()
		}
		if !isDir {
			d.names = append(d.names, e.Name())
			continue
		}
		inside, err := fs.ReadDir(fsys, e.Name())
		if err != nil && e.Name() == graphFolder {
			return d, fmt.Errorf("%w: %w", ErrBundle, err)
		}
		for _, f := range inside {
			if !f.IsDir() {
				d.names = append(d.names, path.Join(e.Name(), f.Name()))
			}
		}
	}
	slices.Sort(d.names)
	return d, nil
}

// graphFolder is where transformers.js and optimum put graphs.
const graphFolder = "onnx"

// has says whether there is a file.
func (d directory) has(name string) bool {
	_, ok := slices.BinarySearch(d.names, path.Clean(name))
	return ok
}

// graphs lists the graphs at the root, in the folder onnx and in others.
func (d directory) graphs(others ...string) []graphFile {
	folders := append([]string{".", graphFolder}, others...)
	var files []graphFile
	for _, name := range d.names {
		if strings.HasSuffix(name, ".onnx") && slices.Contains(folders, path.Dir(name)) {
			files = append(files, parseGraphFile(name))
		}
	}
	return files
}

// everyGraph lists the graphs in whatever folder.
func (d directory) everyGraph() []graphFile {
	var folders []string
	for _, name := range d.names {
		folders = append(folders, path.Dir(name))
	}
	return d.graphs(folders...)
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
func layoutManifest(d directory, wanted wantedVariants, known *Known) ([]byte, error) {
	config, layout, found, err := survey(d, known)
	if err == nil {
		err = wanted.narrow(found)
	}
	if err != nil {
		return nil, err
	}
	variant := wanted.all
	if variant == "" {
		preferVariants(&config, found)
	}
	projection := d.has(ProjectionName)
	graphs, err := layout.choose(found, variant, projection)
	if err != nil && d.declares != nil && layout.byDeclared(found, variant, d.declares) {
		if again, chooseErr := layout.choose(found, variant, projection); chooseErr == nil {
			graphs, err = again, nil
		}
	}
	if err != nil {
		return nil, err
	}
	manifest := map[string]any{}
	if layout.Manifest != nil {
		manifest = layout.Manifest(config)
	}
	manifest["format"], manifest["family"] = manifestFormat, layout.Family
	manifest["graphs"], manifest["dtype"] = graphs, layoutDType(graphs)
	manifest["layout"] = config.ModelType
	if projection {
		manifest["projection"] = ProjectionName
	}
	if len(config.folders) > 0 {
		manifest["folders"] = config.folders
	}
	return json.Marshal(manifest)
}

// preferVariants leaves of each graph the file in the variant that config.json prefers, where that is
// there.
func preferVariants(config *Config, found map[string][]graphFile) {
	for role, files := range found {
		wanted := func(f graphFile) bool { return f.variant == config.preferred(f.stem) }
		var kept []graphFile
		for _, f := range files {
			if has := slices.ContainsFunc(files, func(other graphFile) bool {
				return other.stem == f.stem && wanted(other)
			}); !has || wanted(f) {
				kept = append(kept, f)
			}
		}
		found[role] = kept
	}
}

// survey reads a directory's configuration, finds its layout, and its graphs by role.
func survey(
	d directory, known *Known,
) (config Config, layout *Layout, found map[string][]graphFile, err error) {
	found = map[string][]graphFile{}
	named := map[string]bool{} // by genai_config.json
	genAI, err := readJSON(d, genAIName, func(data []byte) error {
		return readGenAI(d, data, &config, found, named)
	})
	if err != nil {
		return config, nil, nil, err
	}
	standard, err := config.read(d)
	if err != nil {
		return config, nil, nil, err
	}
	if !genAI && !standard {
		hint := "Found: " + describe(d.everyGraph())
		if d.has("refs/main") {
			hint = "This is a repository in the hub's cache: give its name ORG/NAME, or the folder " +
				"snapshots/REVISION in it"
		}
		return config, nil, nil, fmt.Errorf(
			"%w: no usable %s, the file that makes a directory a bundle, and neither "+
				"config.json, genai_config.json nor open_clip_config.json, which other tools write: copy it "+
				"from where the graphs come from. %s",
			ErrBundle, ManifestName, hint)
	}
	layout, err = known.layout(config.ModelType, genAI)
	if err != nil {
		other := ""
		switch {
		case config.PretrainedCfg != nil:
			other = TimmType // Conversions of timm's models may call them by a type of transformers'.
		case (genAI || config.isCausalLM()) && readsTextAlone(d.graphs()):
			other = CausalLMType
		}
		if fits, otherErr := known.layout(other, genAI); otherErr == nil {
			layout, err = fits, nil
		}
	}
	if err != nil {
		return config, nil, nil, fmt.Errorf("%w. Found: %s", err, describe(d.graphs()))
	}
	config.folders = append(config.folders, layout.Folders...)
	for _, f := range d.graphs(config.folders...) {
		if named[f.name] {
			continue
		}
		inFolder := layout.Roles[path.Join(path.Dir(f.name), f.stem)]
		role := cmp.Or(inFolder, layout.Roles[f.stem], layoutRoles[f.stem], f.stem)
		found[role] = append(found[role], f)
	}
	return config, layout, found, nil
}

// readsTextAlone says whether graphs are those of a language model by their names, so that its type
// does not matter: the decoder's graphs say what it takes.
func readsTextAlone(graphs []graphFile) bool {
	names := []string{"model", "decoder_model", "decoder_model_merged", "decoder_with_past_model", "embed_tokens"}
	return !slices.ContainsFunc(graphs, func(f graphFile) bool { return !slices.Contains(names, f.stem) })
}

// layoutDType returns the storage among the graphs that sets the tolerance between two engines: 8 bits
// before float16, and that before others.
func layoutDType(graphs map[string]string) string {
	loose := []string{"float16", "int8"}
	dtype := plain
	for _, role := range slices.Sorted(maps.Keys(graphs)) {
		d := storedAs(parseGraphFile(graphs[role]).variant)
		if dtype == plain || slices.Index(loose, d) > slices.Index(loose, dtype) {
			dtype = d
		}
	}
	return dtype
}

// readJSON gives a file to f; ok is false where there is none.
func readJSON(d directory, name string, f func([]byte) error) (ok bool, err error) {
	data, err := d.read(name)
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
	d directory, data []byte, config *Config, found map[string][]graphFile, named map[string]bool,
) error {
	var file genAI
	if err := json.Unmarshal(data, &file); err != nil {
		return err
	}
	// config.json overrides these.
	json.Unmarshal(file.Model["type"], &config.ModelType)
	json.Unmarshal(file.Model["context_length"], &config.MaxPositions)
	for _, part := range slices.Sorted(maps.Keys(genAIRoles)) {
		var graph struct {
			File string `json:"filename"`
		}
		if json.Unmarshal(file.Model[part], &graph) != nil || graph.File == "" {
			continue
		}
		if err := checkName(genAIName, graph.File); err != nil {
			return err
		}
		if !d.has(graph.File) {
			return fmt.Errorf("model.%s: there is no %s", part, graph.File)
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
