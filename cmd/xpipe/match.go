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

type matchOptions struct {
	modelOptions
	batchOptions
}

func newMatchCommand(env *environment) *cobra.Command {
	var o matchOptions
	cmd := &cobra.Command{
		Use:   "match IMAGE|SOUND|DIR|GLOB|SHARD.tar|- TEXT...",
		Short: "Say how well texts fit a picture or a sound",
		Example: `  xpipe match photo.jpg "a dog on a beach" "a dog in the snow"
  xpipe match photos "a red car" "a blue car" --out cars.jsonl
  curl -s https://example.org/photo.jpg | xpipe match - "a boat" "a bridge"`,
		Long: `Prints the probability that each text belongs to the picture, its similarity
(a cosine), and the text. BLIP, BLIP-2 and SigLIP judge each text for itself;
CLIP compares, so that its probabilities sum to 1. A folder of two graphs without
model.onnx has no trained scale of the scores: there are similarities alone, "-" or
null stands for the probability, and the lines have "score":"similarity".

A model that hears (CLAP) takes sounds in the pictures' place, and its lines have
"audio" in place of "image".

The first argument may stand for several pictures, a pattern in quotation marks;
with --list FILE all arguments are texts.

` + picturesHelp + `

With --json each text is one line {"image","text","probability","similarity"}, and
a picture that failed {"image","error"}.

` + resultsHelp + `

` + exitHelp,
		Args: func(cmd *cobra.Command, args []string) error { return o.needs(1)(cmd, args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			return runMatch(cmd.Context(), env, o, args)
		},
	}
	o.modelOptions.addFlags(cmd, mini.CLIP)
	o.batchOptions.addFlags(cmd, "JSON lines")
	return cmd
}

func runMatch(ctx context.Context, env *environment, o matchOptions, args []string) error {
	if err := o.check(); err != nil {
		return err
	}
	pictures, texts := o.split(args)
	if err := checkTexts("match", "text", texts); err != nil {
		return err
	}
	p, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer p.Close()
	found, err := o.findFor(env, p, pictures)
	if err != nil {
		return err
	}
	settings := o.settings()
	settings.SetList("texts", texts)
	out, err := o.newOutput(env, found, p, settings)
	if err != nil {
		return err
	}
	out.quiet = true
	if err := out.openResults(api.ResultsOptions{Key: "similarity", Lines: len(texts)}); err != nil {
		return err
	}
	hint := sync.OnceFunc(func() { env.hintAlone("text", len(texts), 1) })
	unscaled := sync.OnceFunc(func() { env.warnUnscaled(p) })
	return scoring[pipeline.Match]{
		output: out,
		score: func(ctx context.Context, items []media.Item) ([][]pipeline.Match, error) {
			all, err := p.MatchItems(ctx, items, texts...)
			for _, m := range slices.Concat(all...) {
				if m.Unscaled {
					unscaled()
				}
				if m.Probability == 1 {
					hint()
				}
			}
			return all, err
		},
		line: func(image string, m pipeline.Match) any {
			line := api.NewMatch("", m)
			line.Image, line.Audio = out.named(image)
			line.Origin = out.origin
			return line
		},
		text: func(m pipeline.Match) string {
			probability := fmt.Sprintf("%.4f", m.Probability)
			if m.Unscaled {
				probability = "-"
			}
			return fmt.Sprintf("%s\t%.4f\t%s", probability, m.Similarity, m.Text)
		},
	}.run(ctx, p)
}
