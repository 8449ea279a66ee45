package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/compare"
	"github.com/spf13/cobra"
)

type verifyOptions struct {
	modelOptions
	image     string
	sound     string
	prompt    string
	tolerance float64
}

func newVerifyCommand(env *environment) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify [BUNDLE]",
		Short: "Compare the engines on a model, stage by stage",
		Example: `  xpipe verify
  xpipe verify ~/models/blip2 --image photo.jpg --prompt "a photo of"
  xpipe verify clip-mini --tolerance 1e-3 --json`,
		Long: fmt.Sprintf(`Runs the model's task on engine %[1]s and on each other engine (%[2]s), and compares
every output of every graph; each stage gets the same inputs on both, so that a
difference shows where it arises. The table also has what goes in: the prompt's
token ids and a hash of the preprocessed pixels. It is what to put into a bug
report.

BUNDLE is a folder or the name of an embedded model. A stage fails where a value
differs by more than the tolerance, relative to the largest value where that is
above 1: 1e-4, and 5e-2 for int8 bundles, unless --tolerance says otherwise.
Graphs of dynamic int8 are compared with the other engine's optimization off,
since its own levels differ on them; a note says so.

With --precision bf16 or int8 engine %[1]s is compared with itself in float32, up to
a tolerance of 5e-2 or 2.5e-1: what the precision costs each stage, and how many
of the ids that the model writes stay the same.

`, api.Engines[0].Name, strings.Join(api.EngineNames()[1:], ", ")) + exitHelp,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := env.modelArgument(cmd, &o.model, "BUNDLE", args); err != nil {
				return err
			}
			return runVerify(cmd.Context(), env, o)
		},
	}
	o.addFlags(cmd, mini.Default)
	f := cmd.Flags()
	f.Lookup("engine").Hidden = true // all are run
	f.StringVar(&o.image, "image", "", "picture to run on (default: a synthetic one)")
	f.StringVar(&o.sound, "sound", "", "sound to run on, for models that hear (default: a synthetic one)")
	f.StringVar(&o.prompt, "prompt", "", "text to run on (default: the model's own)")
	f.Float64Var(&o.tolerance, "tolerance", 0,
		"largest difference allowed (0: by the bundle's dtype)")
	return cmd
}

func runVerify(ctx context.Context, env *environment, o verifyOptions) error {
	if o.tolerance < 0 || math.IsNaN(o.tolerance) {
		return api.Usagef("--tolerance must be 0 or more")
	}
	if _, err := api.Find(o.model); err != nil { // before what takes longer
		return err
	}
	request := api.VerifyRequest{Prompt: o.prompt, Tolerance: o.tolerance}
	if o.image != "" {
		img, err := env.loadPicture(o.image)
		if err != nil {
			return err
		}
		request.Image = img
	}
	if o.sound != "" {
		sound, err := audio.DecodeFile(ctx, o.sound)
		if err != nil {
			return err
		}
		request.Sound = sound
	}
	reports, err := o.verify(ctx, env, request)
	if err != nil {
		return err
	}
	breaches, outputs := 0, 0
	for _, report := range reports {
		breaches += len(report.Breaches())
		outputs += len(report.Stages)
	}
	if breaches > 0 {
		err := fmt.Errorf("%d of %d outputs differ by more than the tolerance", breaches, outputs)
		return api.WithKind(err, api.KindBreach)
	}
	return nil
}

// verify makes and shows the reports: of the first engine in float32 and in --precision, or of each
// other engine and the first.
func (o *verifyOptions) verify(
	ctx context.Context, env *environment, request api.VerifyRequest,
) (reports []*compare.Report, err error) {
	config := o.libraries.config(env)
	open := func(opts ...pipeline.Option) (*pipeline.Pipeline, error) {
		return o.openWith(ctx, env, opts...)
	}
	show := func(report *compare.Report) error {
		item := []string{"picture", cmp.Or(o.image, "a synthetic one; --image FILE takes yours")}
		if report.Heard {
			item = []string{"sound", cmp.Or(o.sound, "a synthetic one; --sound FILE takes yours")}
		}
		reports = append(reports, report)
		return showVerify(env, o.model, item, report, len(reports) > 1)
	}
	precision := engine.Precision(o.precision)
	first := api.Engines[0].Name
	if !precision.Exact() {
		first = api.EngineWith(precision)
	}
	native, err := api.SelectEngine(first, config)
	if err != nil {
		return nil, err
	}
	if !precision.Exact() {
		report, err := api.VerifyPrecision(ctx, native.Engine, precision, request, open)
		if err != nil {
			return nil, err
		}
		err = show(report)
		return reports, err
	}
	var unusable error // why the first of the other engines cannot be compared
	for _, row := range api.Engines[1:] {
		choice, err := api.SelectEngine(row.Name, config)
		if err != nil && o.libraries[row.Name] != "" {
			return nil, err
		}
		if err != nil {
			unusable = cmp.Or(unusable, err)
			env.verboseUnusable(row, err)
			continue
		}
		env.verbosef("%v", choice)
		report, err := api.Verify(ctx, choice.Engine, native.Engine, request, open)
		if err != nil {
			return nil, err
		}
		if err := show(report); err != nil {
			return nil, err
		}
	}
	if reports == nil {
		return nil, unusable
	}
	return reports, nil
}

// showVerify prints one report, or with --json one object; item is what went in, its kind before it.
// A report after another one (more) has an empty line before it.
func showVerify(
	env *environment, model string, item []string, report *compare.Report, more bool,
) error {
	if env.json {
		return env.printJSON(api.NewVerification(model, report))
	}
	if more {
		fmt.Fprintln(env.stdout)
	}
	return printVerify(env, model, item, report)
}

func printVerify(env *environment, model string, item []string, r *compare.Report) error {
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "model\t%s\n", api.Visible(model))
	fmt.Fprintf(w, "%s\t%s\n", item[0], api.Visible(item[1]))
	fmt.Fprintf(w, "prompt\t%q\n", r.Prompt)
	fmt.Fprintf(w, "token ids\t%v\n", r.TokenIDs)
	if r.Pixels != nil {
		fmt.Fprintf(w, "pixels\t%v sha256 %s\n", r.Pixels, r.PixelHash)
	}
	if r.Text != "" {
		fmt.Fprintf(w, "text\t%q\n", r.Text)
	}
	if r.IDs[1] != nil {
		same, count := r.SameIDs()
		fmt.Fprintf(w, "ids\t%v on %s\n", r.IDs[0], r.Engines[0])
		fmt.Fprintf(w, "\t%v on %s, by itself: %d of %d the same\n", r.IDs[1], r.Engines[1], same, count)
	}
	for _, note := range r.Notes {
		fmt.Fprintf(w, "note\t%s\n", api.Visible(note))
	}
	fmt.Fprintf(w, "tolerance\t%g\n\n", r.Tolerance)
	w.Flush()
	fmt.Fprintf(w, "graph\toutput\tshape\truns\tmax diff\tmean diff\tcosine\targmax\t"+
		"%s ms\t%s ms\t\n", r.Engines[0], r.Engines[1])
	for _, s := range r.Stages {
		verdict, agreement := "ok", "-"
		if !s.Within(r.Tolerance) {
			verdict = "DIFFERS"
		}
		if !math.IsNaN(s.Argmax) {
			agreement = fmt.Sprintf("%.0f %%", 100*s.Argmax)
		}
		fmt.Fprintf(w, "%s\t%s\t%v\t%d\t%.2g\t%.2g\t%.7f\t%s\t%.1f\t%.1f\t%s\n",
			api.Visible(s.Graph), api.Visible(s.Output), s.Shape, s.Runs,
			s.MaxDiff, s.MeanDiff, s.Cosine, agreement,
			millis(s.Times[0]), millis(s.Times[1]), verdict)
	}
	return w.Flush()
}
