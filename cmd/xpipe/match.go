package main

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/spf13/cobra"
)

func newMatchCommand(env *environment) *cobra.Command {
	var o modelOptions
	cmd := &cobra.Command{
		Use:   "match IMAGE TEXT...",
		Short: "Say how well texts fit a picture",
		Example: `  xpipe match photo.jpg "a dog on a beach" "a dog in the snow"
  xpipe match photo.jpg "a red car" "a blue car" --json
  curl -s https://example.org/photo.jpg | xpipe match - "a boat" "a bridge"`,
		Long: `Prints the probability that each text belongs to the picture, its similarity
(a cosine), and the text. BLIP, BLIP-2 and SigLIP judge each text for itself;
CLIP compares, so that its probabilities sum to 1.

With --json each text is one line {"image","text","probability","similarity"}.

` + exitHelp,
		Args: usageArgs(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runMatch(cmd.Context(), env, o, args[0], args[1:])
		},
	}
	o.addFlags(cmd, mini.Labels)
	return cmd
}

func runMatch(
	ctx context.Context, env *environment, o modelOptions, path string, texts []string,
) error {
	if err := checkTexts("match", "text", texts); err != nil {
		return err
	}
	img, err := env.loadPicture(path)
	if err != nil {
		return err
	}
	p, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer p.Close()
	matches, err := p.Match(ctx, img, texts...)
	if err != nil {
		return err
	}
	env.hintAlone("text", len(texts), matches[0].Probability)
	for _, m := range matches {
		if env.json {
			err = env.printJSON(api.NewMatch(path, m))
		} else {
			_, err = fmt.Fprintf(env.stdout, "%.4f\t%.4f\t%s\n",
				m.Probability, m.Similarity, m.Text)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
