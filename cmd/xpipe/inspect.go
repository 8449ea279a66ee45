package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/onnx"
	"github.com/crossattn/xpipe/tensor"
	"github.com/spf13/cobra"
)

// graphReport is what inspect says of one graph.
type graphReport struct {
	Role           string         `json:"role,omitempty"`
	Graph          string         `json:"graph"`
	Producer       string         `json:"producer,omitempty"`
	Opsets         map[string]int `json:"opsets"` // "" is the default domain
	Inputs         []specReport   `json:"inputs"`
	Outputs        []specReport   `json:"outputs"`
	Operators      []opReport     `json:"operators"`
	Nodes          int            `json:"nodes"`
	Parameters     int64          `json:"parameters"`
	ParameterBytes int64          `json:"parameter_bytes"`
	// Missing are the operators that an engine lacks, by its name; engines that do not tell
	// beforehand are left out.
	Missing map[string][]string `json:"missing"`
}

// MarshalJSON adds a key from before "missing", missing_in_go_engine.
func (r graphReport) MarshalJSON() ([]byte, error) {
	type plain graphReport
	var more namedKeys
	for _, name := range namedEngines() {
		if missing, tells := r.Missing[name]; tells {
			more = append(more, namedKey{"missing_in_" + name + "_engine", missing})
		}
	}
	return marshalWith(plain(r), more)
}

type specReport struct {
	Name  string `json:"name"`
	DType string `json:"dtype"`
	Shape []any  `json:"shape"` // numbers, and names of dimensions that are not fixed
}

type opReport struct {
	Operator string          `json:"operator"`
	Count    int             `json:"count"`
	Engines  map[string]bool `json:"engines"` // whether one has it, as in graphReport.Missing
}

// MarshalJSON adds a key from before "engines", go_engine.
func (r opReport) MarshalJSON() ([]byte, error) {
	type plain opReport
	var more namedKeys
	for _, name := range namedEngines() {
		if has, tells := r.Engines[name]; tells {
			more = append(more, namedKey{name + "_engine", has})
		}
	}
	return marshalWith(plain(r), more)
}

// bundleReport is what inspect says of a bundle.
type bundleReport struct {
	Bundle  string            `json:"bundle"`
	Family  models.Family     `json:"family"`
	Prompts map[string]string `json:"prompts,omitempty"`
	Limits  map[string]int    `json:"limits,omitempty"`
	Graphs  []graphReport     `json:"graphs"`
}

func newInspectCommand(env *environment) *cobra.Command {
	var variant string
	cmd := &cobra.Command{
		Use:   "inspect GRAPH.onnx|BUNDLE",
		Short: "Show what a graph or a model bundle holds",
		Long: `Shows inputs, outputs, parameters, opset and operators with their counts, and
which operators an engine lacks, where it tells beforehand. BUNDLE is a folder
or the name of an embedded model.

` + exitHelp,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error { return runInspect(env, args[0], variant) },
	}
	addVariantFlag(cmd, &variant)
	return cmd
}

func runInspect(env *environment, what, variant string) error {
	if err := checkVariant(variant); err != nil {
		return err
	}
	info, err := os.Stat(what)
	if err == nil && !info.IsDir() {
		report, err := inspectGraph(engine.FileSource(what))
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		report.Graph = what
		if env.json {
			return env.printJSON(report)
		}
		report.print(env)
		return nil
	}
	bundle, err := openBundle(what, models.WithVariant(variant))
	if err != nil {
		return err
	}
	defer bundle.Close()
	report := bundleReport{Bundle: bundle.Name, Family: bundle.Family, Prompts: bundle.Prompts, Limits: bundle.Limits}
	for _, role := range slices.Sorted(maps.Keys(bundle.Graphs)) {
		source, err := bundle.Graph(role)
		if err != nil {
			return err
		}
		graph, err := inspectGraph(source)
		if err != nil {
			return fmt.Errorf("%s: %w", source.Name, err)
		}
		graph.Role = role
		report.Graphs = append(report.Graphs, graph)
	}
	if env.json {
		return env.printJSON(report)
	}
	fmt.Fprintf(env.stdout, "%s, family %s\n", report.Bundle, report.Family)
	for _, task := range slices.Sorted(maps.Keys(report.Prompts)) {
		fmt.Fprintf(env.stdout, "prompt for %s: %q\n", task, report.Prompts[task])
	}
	for _, graph := range report.Graphs {
		fmt.Fprintln(env.stdout)
		graph.print(env)
	}
	return nil
}

func inspectGraph(source engine.Source) (graphReport, error) {
	model, err := onnx.Load(source)
	if err != nil {
		return graphReport{}, err
	}
	defer model.Close()
	s := model.Summary()
	report := graphReport{
		Graph: source.Name, Producer: s.Producer, Opsets: s.Opsets, Nodes: s.Nodes,
		Inputs: specReports(s.Inputs), Outputs: specReports(s.Outputs),
		Parameters: s.Parameters, ParameterBytes: s.ParameterBytes, Missing: map[string][]string{},
	}
	telling := slices.DeleteFunc(slices.Clone(api.Engines), func(row engine.Row) bool {
		return row.Supported == nil
	})
	for _, row := range telling {
		report.Missing[row.Name] = []string{}
	}
	for _, op := range s.Ops {
		name := op.Op
		if op.Domain != "" {
			name = op.Domain + "." + op.Op
		}
		has := map[string]bool{}
		for _, row := range telling {
			has[row.Name] = row.Supported(op.Domain, op.Op, op.Opset)
			if !has[row.Name] {
				report.Missing[row.Name] = append(report.Missing[row.Name], name)
			}
		}
		report.Operators = append(report.Operators, opReport{name, op.Count, has})
	}
	return report, nil
}

func specReports(specs []tensor.Spec) []specReport {
	reports := []specReport{}
	for _, s := range specs {
		r := specReport{Name: s.Name, DType: s.DType.String(), Shape: []any{}}
		for i, d := range s.Shape {
			switch {
			case d >= 0:
				r.Shape = append(r.Shape, d)
			case s.Dims[i] != "":
				r.Shape = append(r.Shape, s.Dims[i])
			default:
				r.Shape = append(r.Shape, nil)
			}
		}
		reports = append(reports, r)
	}
	return reports
}

// print writes the report for people.
func (r graphReport) print(env *environment) {
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	name := r.Graph
	if r.Role != "" {
		name = r.Role + ": " + name
	}
	fmt.Fprintf(w, "%s\n", name)
	for _, domain := range slices.Sorted(maps.Keys(r.Opsets)) {
		label := "opset"
		if domain != "" {
			label += " " + domain
		}
		fmt.Fprintf(w, "  %s\t%d\n", label, r.Opsets[domain])
	}
	if r.Producer != "" {
		fmt.Fprintf(w, "  producer\t%s\n", r.Producer)
	}
	fmt.Fprintf(w, "  parameters\t%d (%.1f MB)\n", r.Parameters, float64(r.ParameterBytes)/1e6)
	for _, in := range r.Inputs {
		fmt.Fprintf(w, "  input\t%s\t%s\t%s\n", in.Name, in.DType, in.shape())
	}
	for _, out := range r.Outputs {
		fmt.Fprintf(w, "  output\t%s\t%s\t%s\n", out.Name, out.DType, out.shape())
	}
	for _, op := range r.Operators {
		var lacking []string
		for _, row := range api.Engines {
			if has, tells := op.Engines[row.Name]; tells && !has {
				lacking = append(lacking, "engine "+row.Name+" lacks it")
			}
		}
		fmt.Fprintf(w, "  %6d\t%s\t%s\n", op.Count, op.Operator, strings.Join(lacking, ", "))
	}
}

func (s specReport) shape() string {
	text := "["
	for i, d := range s.Shape {
		if i > 0 {
			text += ","
		}
		if d == nil {
			d = "?"
		}
		text += fmt.Sprint(d)
	}
	return text + "]"
}
