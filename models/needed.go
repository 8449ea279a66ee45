package models

import (
	"errors"
	"path"
	"slices"
	"strings"
)

// Needed lists which of a model's files Open reads with these options, of a folder that was not
// fetched yet: names are the paths of all its files, and read gives the content of those that
// IsSmall. Where the names of graphs say too little, WithGraphs lets it see what they declare. Errors
// wrap ErrBundle, such as that of a model of no known family, or are those of WithGraphs.
func Needed(names []string, read func(name string) ([]byte, error), opts ...Option) ([]string, error) {
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	folder, err := packageFolder(names)
	if err != nil {
		return nil, err
	}
	inside, outside := divide(names, folder)
	d := directory{names: inside, read: func(name string) ([]byte, error) { return read(path.Join(folder, name)) }}
	var failed error // of fetching a graph
	if o.graphs != nil {
		d.declares = func(name string) (declared, bool) {
			name = path.Join(folder, name)
			fsys, err := o.graphs(name)
			if err != nil {
				failed = errors.Join(failed, err)
				return declared{}, false
			}
			return declares(fsys, name)
		}
	}
	m, _, err := readManifest(d, o)
	if failed != nil {
		return nil, failed
	}
	if err != nil {
		return nil, err
	}
	isNeeded := func(name string) bool {
		for _, graph := range m.Graphs {
			if graph = path.Clean(graph); name == graph || external(graph, name) {
				return true
			}
			// Immich's graphs have folders of their own, where torch names files of weights after
			// the tensors in them.
			beside := path.Dir(name) == path.Dir(graph) && !isExternal(name)
			if beside && slices.Contains(m.Folders, path.Dir(graph)) && !isOtherGraph(name) {
				return true
			}
		}
		// What xpipe.json hashes beside graphs of other variants.
		beside := m.SHA256[name] != "" && path.Ext(name) != ".onnx" && !isExternal(name)
		return beside || IsSmall(name) || name == m.Projection
	}
	var needed []string
	for _, name := range d.names {
		if isNeeded(name) {
			needed = append(needed, path.Join(folder, name))
		}
	}
	for _, name := range outside { // the repository's card and licence
		if IsSmall(name) && path.Dir(name) == "." {
			needed = append(needed, name)
		}
	}
	return needed, nil
}

// divide returns the paths of the files in a folder from there on, sorted, and the others.
func divide(names []string, folder string) (inside, outside []string) {
	for _, name := range slices.Sorted(slices.Values(names)) {
		rest, ok := strings.CutPrefix(name, folder+"/")
		switch {
		case folder == ".":
			inside = append(inside, name)
		case ok:
			inside = append(inside, rest)
		default:
			outside = append(outside, name)
		}
	}
	return inside, outside
}

// CardName is the model's card, which states its licence.
const CardName = "README.md"

// IsSmall says whether a file is one of a model's configurations, vocabularies, templates or
// licences by its name, or its card; they are small and belong to every variant.
func IsSmall(name string) bool {
	base := path.Base(name)
	switch path.Ext(base) {
	case ".json", ".jinja":
		return !strings.HasSuffix(base, ".index.json") // of weights in other formats
	}
	upper := strings.ToUpper(base)
	return strings.HasPrefix(upper, "LICENSE") || strings.HasPrefix(upper, "NOTICE") ||
		base == "vocab.txt" || base == "merges.txt" || name == CardName
}

// external says whether a file holds weights of a graph: model.onnx_data, model.onnx_data_1,
// model.onnx.data or, as onnxruntime-genai and torch write them, model.data.
func external(graph, name string) bool {
	rest, ok := strings.CutPrefix(name, graph)
	if !ok {
		stem := strings.TrimSuffix(graph, ".onnx")
		return name == stem+".data" || name == stem+".weight"
	}
	return rest == ".data" || rest == "_data" || strings.HasPrefix(rest, "_data_")
}

// isOtherGraph says whether a file is a graph, of ONNX or of what Immich runs on other devices.
func isOtherGraph(name string) bool {
	return slices.Contains([]string{".onnx", ".armnn", ".rknn", ".ort"}, path.Ext(name))
}

// isExternal says whether a file has the name of some graph's weights.
func isExternal(name string) bool {
	return strings.Contains(path.Base(name), ".onnx_data") || path.Ext(name) == ".data"
}
