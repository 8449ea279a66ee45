package main

import (
	"context"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/spf13/cobra"
)

type embedOptions struct {
	modelOptions
	batchOptions
	texts []string
}

func newEmbedCommand(env *environment) *cobra.Command {
	var o embedOptions
	cmd := &cobra.Command{
		Use:   "embed IMAGE|SOUND|DIR|GLOB|SHARD.tar|- ... | --text TEXT ...",
		Short: "Turn pictures, sounds or texts into vectors that can be compared",
		Example: `  xpipe embed photo.jpg --json
  xpipe embed ~/photos --out photos.npy --resume
  xpipe embed --text "a dog on a beach" --text "a cat"`,
		Long: `Prints one vector of length 1 for each picture and text, with its name in front
unless there is one; the dot product of two is their cosine. A model that hears
(CLAP) takes sounds in the pictures' place, and its lines have "audio" in place of
"image".

` + picturesHelp + `

With --json each is one line {"image","embedding"} or {"text","embedding"}, and a
picture that failed {"image","error"}. --out x.jsonl writes these lines. --out
x.npy writes one float32 array [N,E], pictures first, and x.names.jsonl beside it,
a line for each row: {"image","row"} or {"text","row"}.

` + resultsHelp + `

` + exitHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args)+len(o.texts)+len(o.lists) == 0 {
				return api.Usagef("embed needs a picture or --text TEXT (see: %s --help)",
					cmd.CommandPath())
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runEmbed(cmd.Context(), env, o, args)
		},
	}
	o.modelOptions.addFlags(cmd, mini.CLIP)
	o.batchOptions.addFlags(cmd, "the vectors as .jsonl or .npy")
	cmd.Flags().StringArrayVar(&o.texts, "text", nil, "a text to embed (repeat)")
	return cmd
}

const npySuffix = ".npy"

// check refuses files of other forms, and texts that say nothing.
func (o *embedOptions) check() error {
	for i, text := range o.texts {
		if strings.TrimSpace(text) == "" {
			return fmt.Errorf("%w: text %d is empty", pipeline.ErrPrompt, i+1)
		}
	}
	lines := o.batchOptions
	switch suffix := filepath.Ext(o.out); {
	case suffix == npySuffix:
		lines.out += ".jsonl"
	case o.out != "" && suffix != ".jsonl":
		return api.Usagef("--out %s: .jsonl and .npy are written, which its suffix decides", o.out)
	}
	return lines.check()
}

// embedder is one run of embed.
type embedder struct {
	*output
	options  embedOptions
	pipeline *pipeline.Pipeline
	vectors  *api.Vectors // nil without --out x.npy
}

func runEmbed(ctx context.Context, env *environment, o embedOptions, args []string) error {
	if err := o.check(); err != nil {
		return err
	}
	var opts []pipeline.Option
	if len(o.texts) == 0 {
		opts = append(opts, pipeline.WithItemsAlone())
	}
	p, err := o.open(ctx, env, opts...)
	if err != nil {
		return err
	}
	defer p.Close()
	found, err := o.findFor(env, p, args)
	if err != nil {
		return err
	}
	e := &embedder{options: o, pipeline: p}
	// Texts are told from pictures by their names, but one text by itself has none.
	found.single = o.out == "" && found.count+len(o.texts) == 1 &&
		(found.single || found.count == 0)
	if e.output, err = o.newOutput(env, found, p, o.settings()); err != nil {
		return err
	}
	e.quiet = true
	if err := e.openResults(); err != nil {
		return err
	}
	embed := func(ctx context.Context, batch []api.Loaded) ([][]float32, error) {
		return p.EmbedItems(ctx, itemsOf(batch)...)
	}
	err = runAll(ctx, e.output, api.Runner[[]float32]{Load: api.LoadFor(p), Task: embed},
		func(f api.Finished[[]float32]) error { return e.write(f.Name, "", f.Value) })
	if err == nil {
		err = e.embedTexts(ctx)
	}
	if e.vectors != nil {
		return e.end(err, e.vectors.Close)
	}
	return e.finish(err)
}

// openResults opens the files of --out.
func (e *embedder) openResults() error {
	if filepath.Ext(e.options.out) != npySuffix {
		return e.output.openResults(api.ResultsOptions{Key: "embedding"})
	}
	options := api.ResultsOptions{Resume: e.options.resume, Origin: e.origin}
	var err error
	if e.vectors, err = api.OpenVectors(e.options.out, options); err != nil {
		return resultsError(e.options.out, err)
	}
	e.results = e.vectors.Results
	e.opened()
	return nil
}

// embedTexts embeds the texts that have no vector yet, a batch at a time.
func (e *embedder) embedTexts(ctx context.Context) error {
	var texts []string
	for _, text := range e.options.texts {
		if e.results == nil || !e.results.DoneText(text) {
			texts = append(texts, text)
		}
	}
	const atOnce = 256
	for len(texts) > 0 {
		n := min(len(texts), atOnce)
		vectors, err := e.pipeline.EmbedTexts(ctx, texts[:n]...)
		if err != nil {
			return err
		}
		for i, v := range vectors {
			if err := e.write("", texts[i], v); err != nil {
				return err
			}
			if e.progress != nil {
				e.progress.texts++
			}
		}
		texts = texts[n:]
	}
	return nil
}

// write writes the vector of a picture or sound, or of a text; the other one is empty.
func (e *embedder) write(name, text string, vector []float32) error {
	image, audio := e.named(name)
	switch {
	case e.vectors != nil:
		return e.vectors.Add(api.VectorRow{Image: image, Audio: audio, Text: text, Origin: e.origin}, vector)
	case e.printsLines():
		line := api.Embedding{Image: image, Audio: audio, Text: text, Embedding: vector, Origin: e.origin}
		return e.output.write(name, line)
	}
	_, err := fmt.Fprintln(e.env.stdout, e.title(name+text)+numbers(vector))
	return err
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
