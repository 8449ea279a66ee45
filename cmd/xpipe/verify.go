package main

import (
	"context"
	"fmt"
	"math"
	"text/tabwriter"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/ort"
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

// verifyReport is verify --json.
type verifyReport struct {
	Model     string        `json:"model"`
	Engines   [2]string     `json:"engines"`
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
	Graph    string     `json:"graph"`
	Output   string     `json:"output"`
	Shape    []int      `json:"shape"`
	Runs     int        `json:"runs"`
	MaxDiff  float64    `json:"max_diff"`
	MeanDiff float64    `json:"mean_diff"`
	Largest  float64    `json:"largest"`
	Cosine   float64    `json:"cosine"`
	Argmax   *float64   `json:"argmax_agreement"` // null where rows are no scores
	Millis   [2]float64 `json:"ms"`
	OK       bool       `json:"ok"`
}

func newVerifyCommand(env *environment) *cobra.Command {
	var o verifyOptions
	cmd := &cobra.Command{
		Use:   "verify [BUNDLE]",
		Short: "Compare the two engines on a model, stage by stage",
		Long: `Runs the model's task on both engines and compares every output of every
graph; each stage gets the same inputs on both, so that a difference shows where
it arises. The table also has what goes in: the prompt's token ids and a hash of
the preprocessed pixels. It is what to put into a bug report.

BUNDLE is a folder or the name of an embedded model. A stage fails where a value
differs by more than the tolerance, relative to the largest value where that is
above 1: 1e-4, and 5e-2 for int8 bundles, unless --tolerance says otherwise.

` + exitHelp,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.model = args[0]
			}
			return runVerify(cmd.Context(), env, o)
		},
	}
	o.addFlags(cmd, mini.Default)
	cmd.Flags().Lookup("engine").Hidden = true // both are run
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
	native, _, err := api.SelectEngine("go", "")
	if err != nil {
		return err
	}
	runtime, note, err := api.SelectEngine("ort", o.library, ort.WithCheck(env.checkLibrary))
	if err != nil {
		return err
	}
	env.verbosef("%s", note)
	report, err := api.Verify(ctx, runtime, native, request, func(opts ...pipeline.Option) (*pipeline.Pipeline, error) {
		return o.openWith(ctx, env, opts...)
	})
	if err != nil {
		return err
	}
	if env.json {
		err = env.printJSON(newVerifyReport(o.model, report))
	} else {
		err = printVerify(env, o.model, report)
	}
	if err != nil {
		return err
	}
	if n := len(report.Breaches()); n > 0 {
		return breachError{fmt.Errorf("%d of %d outputs differ by more than the tolerance", n, len(report.Stages))}
	}
	return nil
}

func newVerifyReport(model string, r *compare.Report) verifyReport {
	v := verifyReport{
		Model: model, Engines: r.Engines, Prompt: r.Prompt, TokenIDs: r.TokenIDs, Pixels: r.Pixels, PixelHash: r.PixelHash,
		Text: r.Text, Tolerance: r.Tolerance, OK: len(r.Breaches()) == 0,
	}
	for _, s := range r.Stages {
		stage := stageReport{
			Graph: s.Graph, Output: s.Output, Shape: s.Shape, Runs: s.Runs, MaxDiff: finite(s.MaxDiff), MeanDiff: finite(s.MeanDiff),
			Largest: finite(s.Largest), Cosine: finite(s.Cosine), Millis: [2]float64{millis(s.Times[0]), millis(s.Times[1])}, OK: s.Within(r.Tolerance),
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
	fmt.Fprintf(w, "graph\toutput\tshape\truns\tmax diff\tmean diff\tcosine\targmax\t%s ms\t%s ms\t\n", r.Engines[0], r.Engines[1])
	for _, s := range r.Stages {
		verdict, agreement := "ok", "-"
		if !s.Within(r.Tolerance) {
			verdict = "DIFFERS"
		}
		if !math.IsNaN(s.Argmax) {
			agreement = fmt.Sprintf("%.0f %%", 100*s.Argmax)
		}
		fmt.Fprintf(w, "%s\t%s\t%v\t%d\t%.2g\t%.2g\t%.7f\t%s\t%.1f\t%.1f\t%s\n",
			s.Graph, s.Output, s.Shape, s.Runs, s.MaxDiff, s.MeanDiff, s.Cosine, agreement, millis(s.Times[0]), millis(s.Times[1]), verdict)
	}
	return w.Flush()
}
