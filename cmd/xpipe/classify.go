package main

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/spf13/cobra"
)

type classifyOptions struct {
	modelOptions
	batchOptions
	top int
}

func newClassifyCommand(env *environment) *cobra.Command {
	var o classifyOptions
	cmd := &cobra.Command{
		Use:   "classify IMAGE|DIR|GLOB|SHARD.tar|- LABEL...",
		Short: "Pick the label that fits a picture best, without training",
		Example: `  xpipe classify photo.jpg cat dog bird
  xpipe classify photo.jpg 'a cat asleep' 'a cat at play' --top 1
  xpipe classify 'photos/*.jpg' day night --out day.jsonl --resume`,
		Long: `Prints each label with its probability, the best first. The model reads the
label inside its own prompt, such as "a photo of a {}".

The first argument may stand for several pictures, a pattern in quotation marks;
with --list FILE all arguments are labels.

` + picturesHelp + `

With --json each label is one line {"image","label","probability"}, and a picture
that failed {"image","error"}.

` + resultsHelp + `

` + exitHelp,
		Args: func(cmd *cobra.Command, args []string) error { return o.needs(1)(cmd, args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			return runClassify(cmd.Context(), env, o, args)
		},
	}
	o.modelOptions.addFlags(cmd, mini.CLIP)
	o.batchOptions.addFlags(cmd, "JSON lines")
	cmd.Flags().IntVar(&o.top, "top", 0, "print the best N only (0: all)")
	return cmd
}

func runClassify(ctx context.Context, env *environment, o classifyOptions, args []string) error {
	if o.top < 0 {
		return api.Usagef("--top must be 0 or more")
	}
	if err := o.check(); err != nil {
		return err
	}
	pictures, labels := o.split(args)
	if err := checkTexts("classify", "label", labels); err != nil {
		return err
	}
	env.hintAlone("label", len(labels), 1)
	found, err := o.find(env, pictures)
	if err != nil {
		return err
	}
	p, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer p.Close()
	lines := len(labels)
	settings := o.settings()
	settings.SetList("labels", labels)
	if o.top > 0 && o.top < lines {
		lines = o.top
		settings["top"] = o.top
	}
	out, err := o.newOutput(env, found, p, settings)
	if err != nil {
		return err
	}
	out.quiet = true
	if err := out.openResults(api.ResultsOptions{Key: "label", Lines: lines}); err != nil {
		return err
	}
	return scoring[pipeline.Label]{
		output: out,
		score: func(ctx context.Context, items []media.Item) ([][]pipeline.Label, error) {
			all, err := p.ClassifyItems(ctx, items, labels...)
			for i, scored := range all { // nil for those that failed
				all[i] = scored[:min(lines, len(scored))]
			}
			return all, err
		},
		line: func(image string, label pipeline.Label) any {
			line := api.NewLabel(image, label)
			line.Origin = out.origin
			return line
		},
		text: func(label pipeline.Label) string {
			return fmt.Sprintf("%.4f\t%s", label.Probability, label.Label)
		},
	}.run(ctx, p)
}
