package main

import (
	"context"
	"fmt"
	"slices"
	"sync"

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
		Use:   "classify IMAGE|DIR|GLOB|SHARD.tar|- [LABEL...]",
		Short: "Pick the label that fits a picture best, without training",
		Example: `  xpipe classify photo.jpg cat dog bird
  xpipe classify photo.jpg 'a cat asleep' 'a cat at play' --top 1
  xpipe classify 'photos/*.jpg' day night --out day.jsonl --resume`,
		Long: `Prints each label with its probability, the best first. The model reads the
label inside its own prompt, such as "a photo of a {}". A model that was trained
on classes of its own, such as timm's, takes no labels and prints those. A folder
of two graphs without model.onnx has no trained scale of the scores: similarities
are printed, and the lines have "score":"similarity".

The first argument may stand for several pictures, a pattern in quotation marks;
with --list FILE all arguments are labels.

` + picturesHelp + `

With --json each label is one line {"image","label","probability"}, and a picture
that failed {"image","error"}.

` + resultsHelp + `

` + exitHelp,
		Args: func(cmd *cobra.Command, args []string) error { return o.needs(0)(cmd, args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			return runClassify(cmd, env, o, args)
		},
	}
	o.modelOptions.addFlags(cmd, mini.CLIP)
	o.batchOptions.addFlags(cmd, "JSON lines")
	cmd.Flags().IntVar(&o.top, "top", 0, "print the best N only (0: all)")
	return cmd
}

func runClassify(cmd *cobra.Command, env *environment, o classifyOptions, args []string) error {
	ctx := cmd.Context()
	if o.top < 0 {
		return api.Usagef("--top must be 0 or more")
	}
	if err := o.check(); err != nil {
		return err
	}
	pictures, labels := o.split(args)
	if len(labels) > 0 {
		if err := checkTexts("classify", "label", labels); err != nil {
			return err
		}
		env.hintAlone("label", len(labels), 1)
	}
	lines := len(labels)
	var p *pipeline.Pipeline
	defer func() { p.Close() }()
	if lines == 0 { // only the model tells whether that is enough, and how many it has
		var err error
		if p, err = o.open(ctx, env); err != nil {
			return err
		}
		own, err := p.Classes()
		if err != nil && p.Abilities().Match {
			err = usageOf(cmd, "classify needs LABEL")
		}
		if err != nil {
			return err
		}
		lines = len(own)
	}
	if p == nil {
		var err error
		if p, err = o.open(ctx, env); err != nil {
			return err
		}
	}
	found, err := o.findFor(env, p, pictures)
	if err != nil {
		return err
	}
	settings := o.settings()
	if len(labels) > 0 {
		settings.SetList("labels", labels)
	}
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
	unscaled := sync.OnceFunc(func() { env.warnUnscaled(p) })
	return scoring[pipeline.Label]{
		output: out,
		score: func(ctx context.Context, items []media.Item) ([][]pipeline.Label, error) {
			all, err := p.ClassifyItems(ctx, items, labels...)
			for i, scored := range all { // nil for those that failed
				all[i] = scored[:min(lines, len(scored))]
				if slices.ContainsFunc(scored, func(l pipeline.Label) bool { return l.Unscaled }) {
					unscaled()
				}
			}
			return all, err
		},
		line: func(image string, label pipeline.Label) any {
			line := api.NewLabel("", label)
			line.Image, line.Audio = out.named(image)
			line.Origin = out.origin
			return line
		},
		text: func(label pipeline.Label) string {
			score := label.Probability
			if label.Unscaled {
				score = label.Similarity
			}
			return fmt.Sprintf("%.4f\t%s", score, label.Label)
		},
	}.run(ctx, p)
}
