package main

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/tensor"
	"github.com/spf13/cobra"
)

type embedOptions struct {
	modelOptions
	texts []string
	out   string
}

func newEmbedCommand(env *environment) *cobra.Command {
	var o embedOptions
	cmd := &cobra.Command{
		Use:   "embed IMAGE... | --text TEXT ...",
		Short: "Turn pictures or texts into vectors that can be compared",
		Example: `  xpipe embed photo.jpg --json
  xpipe embed photos/*.jpg --out photos.npy
  xpipe embed --text "a dog on a beach" --text "a cat"`,
		Long: `Prints one vector of length 1 for each picture and text; the dot product of
two is their cosine. --out writes all of them, pictures first, as one float32
array [N,E].

With --json each is one line {"image","embedding"} or {"text","embedding"}.

` + exitHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args)+len(o.texts) == 0 {
				return api.Usagef("embed needs a picture or --text TEXT (see: %s --help)",
					cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runEmbed(cmd.Context(), env, o, args)
		},
	}
	o.addFlags(cmd, mini.Labels)
	cmd.Flags().StringArrayVar(&o.texts, "text", nil, "a text to embed (repeat)")
	cmd.Flags().StringVarP(&o.out, "out", "o", "", "write the vectors as .npy")
	return cmd
}

// embedBatch is how many pictures are decoded and go through the model at once.
const embedBatch = 32

func runEmbed(ctx context.Context, env *environment, o embedOptions, paths []string) error {
	paths, err := api.Expand(paths...)
	if err != nil {
		return err
	}
	batches, stop := iter.Pull2(api.LoadBatches(env.sources().Files(paths...), embedBatch))
	defer stop()
	images, err, _ := batches() // before the model is opened, which takes longer
	if err != nil {
		return err
	}
	p, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer p.Close()
	var lines []api.Embedding
	for {
		vectors, err := p.EmbedImages(ctx, images...)
		if err != nil {
			return err
		}
		for _, v := range vectors {
			lines = append(lines, api.Embedding{Image: api.Name(paths[len(lines)]), Embedding: v})
		}
		var more bool
		if images, err, more = batches(); err != nil {
			return err
		}
		if !more {
			break
		}
	}
	vectors, err := p.EmbedTexts(ctx, o.texts...)
	if err != nil {
		return err
	}
	for i, v := range vectors {
		lines = append(lines, api.Embedding{Text: o.texts[i], Embedding: v})
	}
	if o.out != "" {
		return saveVectors(o.out, lines)
	}
	for _, line := range lines {
		if env.json {
			err = env.printJSON(line)
		} else {
			_, err = fmt.Fprintln(env.stdout, numbers(line.Embedding))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// numbers are a vector's numbers with spaces between.
func numbers(vector []float32) string {
	var b strings.Builder
	for i, v := range vector {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.FormatFloat(float64(v), 'g', -1, 32))
	}
	return b.String()
}

func saveVectors(path string, lines []api.Embedding) error {
	var all []float32
	for _, l := range lines {
		all = append(all, l.Embedding...)
	}
	t, err := tensor.New([]int{len(lines), len(lines[0].Embedding)}, all)
	if err != nil {
		return err
	}
	return tensor.SaveNpy(path, t)
}
