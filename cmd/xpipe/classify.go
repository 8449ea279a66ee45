package main

import (
	"context"
	"fmt"
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
	found, err := o.find(env, pictures)
	if err != nil {
		return err
	}
	if p == nil {
		if p, err = o.open(ctx, env); err != nil {
			return err
		}
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
	classify := func(ctx context.Context, batch []api.Loaded) ([][]pipeline.Label, error) {
		return p.ClassifyItems(ctx, itemsOf(batch), labels...)
	}
	write := func(f api.Finished[[]pipeline.Label]) error {
		var all []any
		for _, label := range f.Value[:lines] {
			if label.Unscaled {
				unscaled()
			}
			if out.printsLines() {
				line := api.NewLabel(f.Name, label)
				line.Origin = out.origin
				all = append(all, line)
				continue
			}
			score := label.Probability
			if label.Unscaled {
				score = label.Similarity
			}
			_, err := fmt.Fprintf(env.stdout, "%s%.4f\t%s\n", out.title(f.Name), score, label.Label)
			if err != nil {
				return err
			}
		}
		return out.write(f.Name, all...)
	}
	return out.finish(runAll(ctx, out, api.Runner[[]pipeline.Label]{
		Load: api.LoadFor(p), Task: classify, SameTexts: true,
	}, write))
}

// itemsOf are the items of a batch.
func itemsOf(batch []api.Loaded) []media.Item {
	items := make([]media.Item, len(batch))
	for i, l := range batch {
		items[i] = l.Item
	}
	return items
}
