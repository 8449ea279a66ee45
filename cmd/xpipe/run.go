package main

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/tensor"
	"github.com/spf13/cobra"
)

type runOptions struct {
	engineOptions
	inputs  []string
	outputs []string
	dir     string
	model   string
}

func newRunCommand(env *environment) *cobra.Command {
	var o runOptions
	cmd := &cobra.Command{
		Use:   "run GRAPH.onnx --input NAME=FILE.npy ... --out DIR",
		Short: "Run any ONNX graph on any engine",
		Example: `  xpipe run graph.onnx --input x=x.npy --out results
  xpipe run clip-mini/text_encoder -i input_ids=ids.npy -o results
  xpipe run graph.onnx -i x=x.npy --output logits -o results --engine ort`,
		Long: `Runs a graph on the inputs given as .npy files and writes each output as
DIR/NAME.npy. Characters of NAME other than letters, digits, '.', '_' and '-'
become '_'.

The graph is a file, or MODEL/ROLE for one of a model, as inspect and bench list
them. With --model MODEL the argument is the role alone.

` + exitHelp,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			graph := args[0]
			if env.modelGiven(cmd) {
				graph = o.model + "/" + graph
			}
			return runRun(cmd.Context(), env, o, graph)
		},
	}
	o.addFlags(cmd)
	addModelFlag(cmd, &o.model, "")
	f := cmd.Flags()
	f.StringArrayVarP(&o.inputs, "input", "i", nil, "an input of the graph: NAME=FILE.npy (repeat)")
	f.StringArrayVar(&o.outputs, "output", nil, "an output to compute (repeat; default: all)")
	f.StringVarP(&o.dir, "out", "o", "", "folder for the outputs; made if missing")
	return cmd
}

func runRun(ctx context.Context, env *environment, o runOptions, graph string) error {
	if o.dir == "" {
		return api.Usagef("run needs --out DIR, the folder for the outputs")
	}
	in := map[string]*tensor.Tensor{}
	for _, arg := range o.inputs {
		name, file, ok := cutInput(arg)
		if !ok {
			return api.Usagef("--input %q is not NAME=FILE.npy", arg)
		}
		if _, twice := in[name]; twice {
			return api.Usagef("input %q is given twice", name)
		}
		t, err := tensor.LoadNpy(file)
		if err != nil {
			return api.Inputf("input %q: %w", name, err)
		}
		in[name] = t
	}
	eng, err := o.engineOptions.open(env)
	if err != nil {
		return err
	}
	session, err := api.OpenGraph(ctx, eng, graph, o.options())
	if err != nil {
		return err
	}
	defer session.Close()
	narrow(in, session.Inputs())
	out, err := session.Run(ctx, in, o.outputs...)
	if err != nil {
		return fmt.Errorf("%s: %w", graph, err)
	}
	if err := os.MkdirAll(o.dir, 0o777); err != nil {
		return err
	}
	files := map[string]string{} // file -> output that wrote it
	for _, name := range slices.Sorted(maps.Keys(out)) {
		file := filepath.Join(o.dir, fileName(name)+".npy")
		if other, taken := files[file]; taken {
			return api.Usagef("outputs %q and %q would both be written to %s; pick one with --output",
				other, name, file)
		}
		files[file] = name
		if err := tensor.SaveNpy(file, out[name]); err != nil {
			return err
		}
		if env.json {
			err = env.printJSON(api.NewOutput(name, out[name], file))
		} else {
			_, err = fmt.Fprintf(env.stdout, "%s %v -> %s\n",
				api.Visible(name), out[name], api.Visible(file))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// narrow rounds float64 inputs, which numpy makes by default, for a graph that takes float32.
func narrow(in map[string]*tensor.Tensor, specs []tensor.Spec) {
	for _, s := range specs {
		t := in[s.Name]
		if t != nil && t.DType() == tensor.Float64 && s.DType == tensor.Float32 {
			in[s.Name] = tensor.Must(tensor.New(t.Shape(), t.Float32s()))
		}
	}
}

// cutInput splits NAME=FILE at the last '=' before a file that exists, or at the first where none
// does: names of graph inputs may hold '='.
func cutInput(arg string) (name, file string, ok bool) {
	for i := len(arg) - 1; i > 0; i-- {
		if arg[i] != '=' {
			continue
		}
		if _, err := os.Stat(arg[i+1:]); err == nil {
			return arg[:i], arg[i+1:], true
		}
	}
	name, file, ok = strings.Cut(arg, "=")
	return name, file, ok && name != "" && file != ""
}

// fileName makes the name of an output safe as a file's.
func fileName(output string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9',
			r == '.', r == '_', r == '-':
			return r
		}
		return '_'
	}, output)
}
