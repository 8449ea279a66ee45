package main

import (
	"context"
	"fmt"
	"image"
	"strconv"
	"strings"

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
		Long: `Prints one vector of length 1 for each picture and text; the dot product of
two is their cosine. --out writes all of them, pictures first, as one float32
array [N,E].

With --json each is one line {"image","embedding"} or {"text","embedding"}.

` + exitHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args)+len(o.texts) == 0 {
				return usagef("embed needs a picture or --text TEXT (see: %s --help)", cmd.CommandPath())
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

// embedLine is one line of embed --json.
type embedLine struct {
	Image     string    `json:"image,omitempty"`
	Text      string    `json:"text,omitempty"`
	Embedding []float32 `json:"embedding"`
}

func runEmbed(ctx context.Context, env *environment, o embedOptions, paths []string) error {
	images := make([]image.Image, len(paths))
	for i, path := range paths {
		var err error
		if images[i], err = env.loadPicture(path); err != nil {
			return err
		}
	}
	p, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer p.Close()
	pictures, err := p.EmbedImages(ctx, images...)
	if err != nil {
		return err
	}
	words, err := p.EmbedTexts(ctx, o.texts...)
	if err != nil {
		return err
	}
	var lines []embedLine
	for i, v := range pictures {
		lines = append(lines, embedLine{Image: paths[i], Embedding: v})
	}
	for i, v := range words {
		lines = append(lines, embedLine{Text: o.texts[i], Embedding: v})
	}
	if o.out != "" {
		return saveVectors(o.out, lines)
	}
	for _, line := range lines {
		if env.json {
			err = env.printJSON(line)
		} else {
			_, err = fmt.Fprintln(env.stdout, line)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// String is the vector's numbers with spaces between.
func (l embedLine) String() string {
	var b strings.Builder
	for i, v := range l.Embedding {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(strconv.FormatFloat(float64(v), 'g', -1, 32))
	}
	return b.String()
}

func saveVectors(path string, lines []embedLine) error {
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
