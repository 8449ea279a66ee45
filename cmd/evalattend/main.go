// Command evalattend measures how far the attention maps of the embedded models can be trusted, on
// scenes that it draws itself from a seed: make eval-attention.
//
// Pointing game (Zhang et al., 1608.00507): a scene has one named object on a plain ground. A hit
// is a map whose greatest cell has its middle in the object's box. Chance is the share of cells of
// which that is true.
//
// Deletion and insertion (RISE, Petsiuk et al., 1806.07421): cells are painted over with the
// ground, or uncovered on it, in the order of the map, while the probability of the object's word
// is followed. A faithful map has a small area under the deletion curve and a large one under the
// insertion curve. Both are compared with random orders of the same cells; the interval is a
// bootstrap over scenes, 95 %.
//
// A model that writes is made to write the true caption. The maps are those of its last word, the
// object, and the probability is that word's. A model of Flamingo's kind has three examples before
// the scene, one of them with the same object, and is made to write that one's name. CLIP and
// LXMERT are asked for one of several drawn things: see drawn.go and regions.go. Which layer and
// head points best is chosen on other scenes than it is measured on.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/spf13/cobra"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	cmd := newCommand()
	cmd.SetArgs(args)
	cmd.SetOut(stdout)
	cmd.SetErr(stderr)
	err := cmd.ExecuteContext(ctx)
	if err != nil {
		fmt.Fprintln(stderr, "evalattend: "+api.OneLine(err))
	}
	return api.KindOf(err).Exit
}

// options are the flags.
type options struct {
	model          string
	scenes, curves int
	drawn          string
	seed           uint64
	floors         bool
	out            string
}

func newCommand() *cobra.Command {
	var o options
	cmd := &cobra.Command{
		Use:   "evalattend",
		Short: "Measure how far attention maps can be trusted",
		Long: `Draws scenes of which it is known where the named object is, and prints how often
a model's map points at it (pointing game), and how the object's probability
falls and rises as the picture is deleted and inserted in the order of the map.
Each figure stands with its 95 % interval and next to chance or random orders.

Models of CLIP's and LXMERT's kind are asked for drawings and scenes that
"tools/train/evaluate.py --sets" makes under build; --drawn says where they are.

EXIT STATUS
  0  done
  1  with --floors: a map is below a floor; or another error
  2  the command line is wrong
  3  the drawings are missing or damaged
  4  the model is missing or damaged
  130  interrupted`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return api.Usagef("evalattend takes flags alone, not %q (see: evalattend --help)",
					args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			return run(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return api.Usagef("%w (see: evalattend --help)", err)
	})
	f := cmd.Flags()
	f.StringVarP(&o.model, "model", "m", "",
		"an embedded model's name ("+strings.Join(mini.Names(), ", ")+") or a bundle's folder "+
			"(default: every embedded model)")
	f.IntVar(&o.scenes, "scenes", 200, "scenes of the pointing game")
	f.IntVar(&o.curves, "curves", 40, "scenes of the deletion and insertion curves")
	f.StringVar(&o.drawn, "drawn", "build", "folder of train/sprites and eval/scenes")
	f.Uint64Var(&o.seed, "seed", 1, "same seed, same scenes")
	f.BoolVar(&o.floors, "floors", false, "fail where a model's mean map is below a floor")
	f.StringVarP(&o.out, "out", "o", "", "write the figures to this file, too")
	return cmd
}

func run(ctx context.Context, o options, stdout io.Writer) error {
	if o.scenes < 1 || o.curves < 1 {
		return api.Usagef("--scenes and --curves must be 1 or more")
	}
	names := mini.Names()
	if o.model != "" {
		names = []string{o.model}
	}
	var text bytes.Buffer
	e := evaluation{
		Writer: io.MultiWriter(stdout, &text),
		dir:    o.drawn, seed: o.seed, scenes: o.scenes, curves: o.curves,
	}
	for _, name := range names {
		if err := e.evaluate(ctx, name); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if o.out != "" {
		if err := os.WriteFile(o.out, text.Bytes(), 0o666); err != nil {
			return err
		}
	}
	if o.floors && len(e.below) > 0 {
		return fmt.Errorf("below the floors: %s", strings.Join(e.below, "; "))
	}
	return nil
}
