package main

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/spf13/cobra"
)

type classifyOptions struct {
	modelOptions
	top int
}

func newClassifyCommand(env *environment) *cobra.Command {
	var o classifyOptions
	cmd := &cobra.Command{
		Use:   "classify IMAGE LABEL...",
		Short: "Pick the label that fits a picture best, without training",
		Example: `  xpipe classify photo.jpg cat dog bird
  xpipe classify photo.jpg 'a cat asleep' 'a cat at play' --top 1
  xpipe classify photo.jpg day night --model ~/models/siglip --json`,
		Long: `Prints each label with its probability, the best first. The model reads the
label inside its own prompt, such as "a photo of a {}".

With --json each label is one line {"image","label","probability"}.

` + exitHelp,
		Args: usageArgs(cobra.MinimumNArgs(2)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runClassify(cmd.Context(), env, o, args[0], args[1:])
		},
	}
	o.addFlags(cmd, mini.Labels)
	cmd.Flags().IntVar(&o.top, "top", 0, "print the best N only (0: all)")
	return cmd
}

func runClassify(
	ctx context.Context, env *environment, o classifyOptions, path string, labels []string,
) error {
	if o.top < 0 {
		return api.Usagef("--top must be 0 or more")
	}
	if err := checkTexts("classify", "label", labels); err != nil {
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
	scored, err := p.Classify(ctx, img, labels...)
	if err != nil {
		return err
	}
	env.hintAlone("label", len(labels), scored[0].Probability)
	if o.top > 0 && o.top < len(scored) {
		scored = scored[:o.top]
	}
	for _, s := range scored {
		if env.json {
			err = env.printJSON(api.NewLabel(path, s))
		} else {
			_, err = fmt.Fprintf(env.stdout, "%.4f\t%s\n", s.Probability, s.Label)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
