package api

import (
	"fmt"
	"maps"
	"slices"

	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
)

// GraphInfo is what inspect says of one graph.
type GraphInfo struct {
	Role           string         `json:"role,omitempty"` // in its bundle
	Graph          string         `json:"graph"`
	Producer       string         `json:"producer,omitempty"`
	Opsets         map[string]int `json:"opsets"` // versions by domain; "" is the default domain
	Inputs         []SpecInfo     `json:"inputs"`
	Outputs        []SpecInfo     `json:"outputs"`
	Operators      []OperatorInfo `json:"operators"`
	Nodes          int            `json:"nodes"`
	Parameters     int64          `json:"parameters"`
	ParameterBytes int64          `json:"parameter_bytes"`
	// Missing are the operators that an engine lacks, or whose element types it cannot run, by the
	// engine's name. Engines that do not
	// tell before they open a graph are left out.
	Missing map[string][]string `json:"missing"`
}

// SpecInfo describes an input or output of a graph.
type SpecInfo struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	// Shape holds sizes (int). A dimension that is not fixed is its name (string), or nil.
	Shape []any `json:"shape"`
}

// OperatorInfo is an operator that a graph uses.
type OperatorInfo struct {
	Operator string          `json:"operator"` // behind its domain, where that is not the default
	Count    int             `json:"count"`
	Engines  map[string]bool `json:"engines"` // whether each has it; by name, as GraphInfo.Missing
	// NotRun are the element types that it meets and package tensor lacks, such as "string".
	NotRun []string `json:"element_types_not_run,omitempty"`
}

// BundleInfo is what inspect says of a bundle.
type BundleInfo struct {
	Bundle  string            `json:"bundle"`
	Family  models.Family     `json:"family"`
	Prompts map[string]string `json:"prompts,omitempty"` // by task
	Limits  map[string]int    `json:"limits,omitempty"`
	// Follows is the version of transformers as which the tokenizer reads texts, for bundles of
	// tools/export.
	Follows string      `json:"tokenizer_follows,omitempty"`
	Graphs  []GraphInfo `json:"graphs"` // in the order of their roles' names
}

// InspectBundle reads all graphs of a bundle. Errors are those of Bundle.Graph, or name the graph
// and are those of InspectGraph.
func InspectBundle(b *models.Bundle) (BundleInfo, error) {
	info := BundleInfo{Bundle: b.Name, Family: b.Family, Prompts: b.Prompts, Limits: b.Limits}
	var manifest struct {
		Follows string `json:"tokenizer_follows"`
	}
	if err := b.JSON(models.ManifestName, &manifest); err != nil {
		return BundleInfo{}, err
	}
	info.Follows = manifest.Follows
	for _, role := range slices.Sorted(maps.Keys(b.Graphs)) {
		source, err := b.Graph(role)
		if err != nil {
			return BundleInfo{}, err
		}
		graph, err := InspectGraph(source)
		if err != nil {
			return BundleInfo{}, fmt.Errorf("%s: %w", source.Name, err)
		}
		graph.Role = role
		info.Graphs = append(info.Graphs, graph)
	}
	return info, nil
}

// InspectFile reads the graph at a path. Errors name it and are those of InspectGraph.
func InspectFile(path string) (GraphInfo, error) {
	info, err := InspectGraph(engine.FileSource(path))
	if err != nil {
		return GraphInfo{}, fmt.Errorf("%s: %w", path, err)
	}
	info.Graph = path
	return info, nil
}

// InspectGraph reads a graph. Errors wrap engine.ErrGraph, or are the file system's.
func InspectGraph(source engine.Source) (GraphInfo, error) {
	model, err := onnx.Load(source)
	if err != nil {
		return GraphInfo{}, err
	}
	defer model.Close()
	s := model.Summary()
	info := GraphInfo{
		Graph: source.Name, Producer: s.Producer, Opsets: s.Opsets, Nodes: s.Nodes,
		Inputs: newSpecInfos(s.Inputs, s.Types), Outputs: newSpecInfos(s.Outputs, s.Types),
		Parameters: s.Parameters, ParameterBytes: s.ParameterBytes, Missing: map[string][]string{},
	}
	telling := slices.DeleteFunc(slices.Clone(Engines), func(row engine.Row) bool {
		return row.Supported == nil
	})
	for _, row := range telling {
		info.Missing[row.Name] = []string{}
	}
	for _, op := range s.Ops {
		name := op.Op
		if op.Domain != "" {
			name = op.Domain + "." + op.Op
		}
		var notRun []string
		for _, o := range s.Others {
			if o.Domain == op.Domain && o.Op == op.Op {
				notRun = append(notRun, o.Type)
			}
		}
		has := map[string]bool{}
		for _, row := range telling {
			has[row.Name] = len(notRun) == 0 && row.Supported(op.Domain, op.Op, op.Opset)
			if !has[row.Name] && !slices.Contains(info.Missing[row.Name], name) {
				info.Missing[row.Name] = append(info.Missing[row.Name], name)
			}
		}
		info.Operators = append(info.Operators, OperatorInfo{name, op.Count, has, notRun})
	}
	return info, nil
}

// newSpecInfos describes inputs or outputs; types says what those are that tensors cannot hold.
func newSpecInfos(specs []tensor.Spec, types map[string]string) []SpecInfo {
	infos := []SpecInfo{}
	for _, s := range specs {
		info := SpecInfo{Name: s.Name, Shape: []any{}}
		if info.DType = s.DType.String(); types[s.Name] != "" {
			info.DType = types[s.Name]
		}
		for i, d := range s.Shape {
			switch {
			case d >= 0:
				info.Shape = append(info.Shape, d)
			case s.Dims[i] != "":
				info.Shape = append(info.Shape, s.Dims[i])
			default:
				info.Shape = append(info.Shape, nil)
			}
		}
		infos = append(infos, info)
	}
	return infos
}

// MarshalJSON adds a key from before there was "missing": missing_in_go_engine.
func (g GraphInfo) MarshalJSON() ([]byte, error) {
	type plain GraphInfo
	var more namedKeys
	for _, name := range namedEngines() {
		if missing, tells := g.Missing[name]; tells {
			more = append(more, namedKey{"missing_in_" + name + "_engine", missing})
		}
	}
	return marshalWith(plain(g), more)
}

// MarshalJSON adds a key from before there was "engines": go_engine.
func (o OperatorInfo) MarshalJSON() ([]byte, error) {
	type plain OperatorInfo
	var more namedKeys
	for _, name := range namedEngines() {
		if has, tells := o.Engines[name]; tells {
			more = append(more, namedKey{name + "_engine", has})
		}
	}
	return marshalWith(plain(o), more)
}
