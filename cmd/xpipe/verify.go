package main

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/compare"
	"github.com/spf13/cobra"
)

type verifyOptions struct {
	modelOptions
	image     string
	prompt    string
	tolerance float64
}

// breachError ends verify where the engines disagree.
type breachError struct{ error }

// verifyReport is verify --json: one object for each engine that is compared with the first of the
// table.
type verifyReport struct {
	Model     string        `json:"model"`
	Engines   []string      `json:"engines"` // the two compared; the second is the table's first
	Prompt    string        `json:"prompt"`
	TokenIDs  []int64       `json:"token_ids"`
	Pixels    []int         `json:"pixels,omitempty"`
	PixelHash string        `json:"pixels_sha256,omitempty"`
	Text      string        `json:"text"`
	Tolerance float64       `json:"tolerance"`
	OK        bool          `json:"ok"`
	Stages    []stageReport `json:"stages"`
}

type stageReport struct {
	Graph    string    `json:"graph"`
	Output   string    `json:"output"`
	Shape    []int     `json:"shape"`
	Runs     int       `json:"runs"`
	MaxDiff  float64   `json:"max_diff"`
	MeanDiff float64   `json:"mean_diff"`
	Largest  float64   `json:"largest"`
	Cosine   float64   `json:"cosine"`
	Argmax   *float64  `json:"argmax_agreement"` // null where rows are no scores
	Millis   []float64 `json:"ms"`               // on each of the engines
	OK       bool      `json:"ok"`
}

func newVerifyCommand(env *environment) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify [BUNDLE]",
		Short: "Compare the engines on a model, stage by stage",
		Long: fmt.Sprintf(`Runs the model's task on engine %s and on each other engine (%s), and compares
every output of every graph; each stage gets the same inputs on both, so that a
difference shows where it arises. The table also has what goes in: the prompt's
token ids and a hash of the preprocessed pixels. It is what to put into a bug
report.

BUNDLE is a folder or the name of an embedded model. A stage fails where a value
differs by more than the tolerance, relative to the largest value where that is
above 1: 1e-4, and 5e-2 for int8 bundles, unless --tolerance says otherwise.

`, api.Engines[0].Name, strings.Join(api.EngineNames()[1:], ", ")) + exitHelp,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.model = args[0]
			}
			return runVerify(cmd.Context(), env, o)
		},
	}
	o.addFlags(cmd, mini.Default)
	cmd.Flags().Lookup("engine").Hidden = true // all are run
	cmd.Flags().StringVar(&o.image, "image", "", "picture to run on (default: a synthetic one)")
	cmd.Flags().StringVar(&o.prompt, "prompt", "", "text to run on (default: the model's own)")
	cmd.Flags().Float64Var(&o.tolerance, "tolerance", 0, "largest difference allowed (0: by the bundle's dtype)")
	return cmd
}

func runVerify(ctx context.Context, env *environment, o verifyOptions) error {
	if o.tolerance < 0 || math.IsNaN(o.tolerance) {
		return usagef("--tolerance must be 0 or more")
	}
	request := api.VerifyRequest{Prompt: o.prompt, Tolerance: o.tolerance}
	if o.image != "" {
		img, err := env.loadPicture(o.image)
		if err != nil {
			return err
		}
		request.Image = img
	}
	config := o.libraries.config(env)
	native, err := api.SelectEngine(api.Engines[0].Name, config)
	if err != nil {
		return err
	}
	var reports []*compare.Report
	var unusable error // why the first of the other engines cannot be compared
	for _, row := range api.Engines[1:] {
		choice, err := api.SelectEngine(row.Name, config)
		if err != nil && o.libraries[row.Name] != "" {
			return err
		}
		if err != nil {
			unusable = cmp.Or(unusable, err)
			env.verbosef("engine: without %s, because %s is not usable (%v)", row.Name, row.About, err)
			continue
		}
		env.verbosef("%v", choice)
		open := func(opts ...pipeline.Option) (*pipeline.Pipeline, error) {
			return o.openWith(ctx, env, opts...)
		}
		report, err := api.Verify(ctx, choice.Engine, native.Engine, request, open)
		if err != nil {
			return err
		}
		if err := showVerify(env, o.model, report, len(reports) > 0); err != nil {
			return err
		}
		reports = append(reports, report)
	}
	if reports == nil {
		return unusable
	}
	breaches, outputs := 0, 0
	for _, report := range reports {
		breaches += len(report.Breaches())
		outputs += len(report.Stages)
	}
	if breaches > 0 {
		return breachError{fmt.Errorf("%d of %d outputs differ by more than the tolerance", breaches, outputs)}
	}
	return nil
}

// showVerify prints one report, or with --json one object; more says that others stand before it.
func showVerify(env *environment, model string, report *compare.Report, more bool) error {
	if env.json {
		return env.printJSON(newVerifyReport(model, report))
	}
	if more {
		fmt.Fprintln(env.stdout)
	}
	return printVerify(env, model, report)
}

func newVerifyReport(model string, r *compare.Report) verifyReport {
	v := verifyReport{
		Model: model, Engines: r.Engines[:], Prompt: r.Prompt, TokenIDs: r.TokenIDs,
		Pixels: r.Pixels, PixelHash: r.PixelHash,
		Text: r.Text, Tolerance: r.Tolerance, OK: len(r.Breaches()) == 0,
	}
	for _, s := range r.Stages {
		stage := stageReport{
			Graph: s.Graph, Output: s.Output, Shape: s.Shape, Runs: s.Runs,
			MaxDiff: finite(s.MaxDiff), MeanDiff: finite(s.MeanDiff), Largest: finite(s.Largest),
			Cosine: finite(s.Cosine), OK: s.Within(r.Tolerance),
		}
		for _, t := range s.Times {
			stage.Millis = append(stage.Millis, millis(t))
		}
		if !math.IsNaN(s.Argmax) {
			stage.Argmax = &s.Argmax
		}
		v.Stages = append(v.Stages, stage)
	}
	return v
}

// finite keeps JSON, which has no infinity, valid.
func finite(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return math.MaxFloat64
	}
	return v
}

func millis(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

func printVerify(env *environment, model string, r *compare.Report) error {
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "model\t%s\n", model)
	fmt.Fprintf(w, "prompt\t%q\n", r.Prompt)
	fmt.Fprintf(w, "token ids\t%v\n", r.TokenIDs)
	if r.Pixels != nil {
		fmt.Fprintf(w, "pixels\t%v sha256 %s\n", r.Pixels, r.PixelHash)
	}
	if r.Text != "" {
		fmt.Fprintf(w, "text\t%q\n", r.Text)
	}
	fmt.Fprintf(w, "tolerance\t%g\n\n", r.Tolerance)
	w.Flush()
	fmt.Fprintf(w, "graph\toutput\tshape\truns\tmax diff\tmean diff\tcosine\targmax\t%s ms\t%s ms\t\n",
		r.Engines[0], r.Engines[1])
	for _, s := range r.Stages {
		verdict, agreement := "ok", "-"
		if !s.Within(r.Tolerance) {
			verdict = "DIFFERS"
		}
		if !math.IsNaN(s.Argmax) {
			agreement = fmt.Sprintf("%.0f %%", 100*s.Argmax)
		}
		fmt.Fprintf(w, "%s\t%s\t%v\t%d\t%.2g\t%.2g\t%.7f\t%s\t%.1f\t%.1f\t%s\n",
			s.Graph, s.Output, s.Shape, s.Runs, s.MaxDiff, s.MeanDiff, s.Cosine, agreement,
			millis(s.Times[0]), millis(s.Times[1]), verdict)
	}
	return w.Flush()
}
