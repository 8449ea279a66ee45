package main

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/onnx"
	"github.com/spf13/cobra"
)

func newInspectCommand(env *environment) *cobra.Command {
	var model, variant string
	cmd := &cobra.Command{
		Use:   "inspect GRAPH.onnx|BUNDLE",
		Short: "Show what a graph or a model bundle holds",
		Example: `  xpipe inspect clip-mini
  xpipe inspect ~/models/blip2 --variant fp16
  xpipe inspect encoder.onnx --json`,
		Long: `Shows inputs, outputs, parameters, opset and operators with their counts, and
which operators an engine lacks, where it tells beforehand. BUNDLE is a folder
or the name of an embedded model.

` + exitHelp,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := env.modelArgument(cmd, &model, "GRAPH.onnx or BUNDLE", args); err != nil {
				return err
			}
			return runInspect(env, model, variant)
		},
	}
	addModelFlag(cmd, &model, "")
	addVariantFlag(cmd, &variant)
	return cmd
}

func runInspect(env *environment, what, variant string) error {
	if info, err := os.Stat(what); err == nil && !info.IsDir() {
		graph, err := api.InspectFile(what)
		if err != nil {
			return err
		}
		if env.json {
			return env.printJSON(graph)
		}
		return printGraph(env, graph)
	}
	bundle, err := api.OpenBundle(what, models.WithVariant(variant))
	if err != nil {
		return err
	}
	defer bundle.Close()
	info, err := api.InspectBundle(bundle)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(info)
	}
	return printBundle(env, info)
}

func printBundle(env *environment, b api.BundleInfo) error {
	fmt.Fprintf(env.stdout, "%s, family %s\n", api.Visible(b.Bundle), b.Family)
	for _, task := range slices.Sorted(maps.Keys(b.Prompts)) {
		fmt.Fprintf(env.stdout, "prompt for %s: %q\n", task, b.Prompts[task])
	}
	if b.Follows != "" {
		fmt.Fprintf(env.stdout, "tokenizer reads texts as %s\n", api.Visible(b.Follows))
	}
	for _, graph := range b.Graphs {
		fmt.Fprintln(env.stdout)
		if err := printGraph(env, graph); err != nil {
			return err
		}
	}
	return nil
}

func printGraph(env *environment, g api.GraphInfo) error {
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	name := g.Graph
	if g.Role != "" {
		name = g.Role + ": " + name
	}
	fmt.Fprintf(w, "%s\n", api.Visible(name))
	for _, domain := range slices.Sorted(maps.Keys(g.Opsets)) {
		label := "opset"
		if domain != "" {
			label += " " + domain
		}
		fmt.Fprintf(w, "  %s\t%d\n", label, g.Opsets[domain])
	}
	if g.Producer != "" {
		fmt.Fprintf(w, "  producer\t%s\n", api.Visible(g.Producer))
	}
	fmt.Fprintf(w, "  parameters\t%d (%.1f MB)\n", g.Parameters, float64(g.ParameterBytes)/1e6)
	for _, in := range g.Inputs {
		fmt.Fprintf(w, "  input\t%s\t%s\t%s\n", api.Visible(in.Name), in.DType, shapeText(in.Shape))
	}
	for _, out := range g.Outputs {
		fmt.Fprintf(w, "  output\t%s\t%s\t%s\n",
			api.Visible(out.Name), out.DType, shapeText(out.Shape))
	}
	for _, op := range g.Operators {
		var lacking []string
		for _, row := range api.Engines {
			if has, tells := op.Engines[row.Name]; tells && !has {
				what := " lacks it"
				if len(op.NotRun) > 0 {
					what = ": " + onnx.NotRun(strings.Join(op.NotRun, ", "))
				}
				lacking = append(lacking, "engine "+row.Name+what)
			}
		}
		fmt.Fprintf(w, "  %6d\t%s\t%s\n",
			op.Count, api.Visible(op.Operator), strings.Join(lacking, ", "))
	}
	return w.Flush()
}

// shapeText writes the shape of a SpecInfo as [1,names,?].
func shapeText(shape []any) string {
	text := "["
	for i, d := range shape {
		if i > 0 {
			text += ","
		}
		if d == nil {
			d = "?"
		}
		text += api.Visible(fmt.Sprint(d))
	}
	return text + "]"
}
