package main

import (
	"context"
	"fmt"
	"iter"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/spf13/cobra"
)

type captionOptions struct {
	modelOptions
	generationOptions
	batchOptions

	overlay   overlayOption
	sound     soundOption
	sidecar   bool
	prefix    string
	raw       string
	overwrite bool
}

func newCaptionCommand(env *environment) *cobra.Command {
	var o captionOptions
	cmd := &cobra.Command{
		Use:   "caption IMAGE|DIR|GLOB|SHARD.tar|- ...",
		Short: "Describe pictures in a few words",
		Example: `  xpipe caption photo.jpg
  xpipe caption ~/photos --out captions.jsonl --resume
  xpipe caption 'shards/{000..099}.tar' --batch 8 --json`,
		Long: `Prints one line for each picture, with its name in front unless it is the one
argument; a picture that fails is reported and the others go on. The caption of
a single picture is written word by word on a terminal.

` + picturesHelp + `

--sidecar also writes the caption of photo.jpg to photo.txt beside it, as
programs that train on pictures read them. Where there is a photo.txt it is kept,
and the picture is passed over, unless --overwrite is given. --prefix TEXT goes in
front, such as a trigger word.

Florence-2 names places in the picture for some prompts (--raw-prompt "<OD>"), which
--json has as "places" and --overlay FILE.png draws.

--audio FILE is a sound that the model hears beside each picture, for models that see
and hear.

--raw-prompt TEXT is given to the model as it stands, with a picture or, for models
that read texts without one, alone.

A model that knows how far to trust itself, as the default one does, adds
"(unsure)" to captions that are wrong too often; its card has the figures.

With --json each picture is one line {"image","caption","tokens","logprob",
"seconds","token_logprobs","ids","confidence","unsure"}, or {"image","error"}.

` + resultsHelp + `

` + exitHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if o.unseen(args) {
				return nil
			}
			return o.needs(0)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCaption(cmd.Context(), env, o, args)
		},
	}
	o.modelOptions.addFlags(cmd, mini.BLIP2)
	o.generationOptions.addFlags(cmd)
	o.batchOptions.addFlags(cmd, "JSON lines")
	f := cmd.Flags()
	f.BoolVar(&o.sidecar, "sidecar", false,
		"write each caption to NAME.txt beside its picture, too")
	f.StringVar(&o.prefix, "prefix", "", "with --sidecar: text in front of each caption there")
	f.StringVar(&o.raw, "raw-prompt", "", "the prompt as the model reads it, markup included")
	o.overlay.addFlag(cmd)
	o.sound.addFlag(cmd)
	f.BoolVar(&o.overwrite, "overwrite", false, "with --sidecar: replace a NAME.txt that is there")
	return cmd
}

func runCaption(ctx context.Context, env *environment, o captionOptions, args []string) error {
	switch err := o.check(); {
	case err != nil:
		return err
	case o.prefix != "" && !o.sidecar:
		return api.Usagef("--prefix needs --sidecar")
	case o.overwrite && !o.sidecar:
		return api.Usagef("--overwrite needs --sidecar")
	}
	if o.unseen(args) {
		return o.runUnseen(ctx, env)
	}
	found, err := o.find(env, args)
	if err != nil {
		return err
	}
	if err := o.overlay.check(found); err != nil {
		return err
	}
	p, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer p.Close()
	if err := o.overlay.checkModel(p); err != nil {
		return err
	}
	c := &captions{options: o, pipeline: p}
	if c.sound, err = o.sound.load(ctx, p); err != nil {
		return err
	}
	if o.sidecar {
		c.sidecars = &api.Sidecars{Prefix: o.prefix, Overwrite: o.overwrite}
		found.pictures = c.sidecars.Wanted(found.pictures, o.out != "")
	}
	if found.single && !env.json && isTerminal(env.stdout) && !o.sidecar && o.overlay.path == "" {
		return c.stream(ctx, env, found.pictures)
	}
	settings := o.settings()
	o.sound.set(settings)
	if o.raw != "" {
		settings["raw_prompt"] = o.raw
	}
	if err := settings.SetGeneration(p, o.generation()); err != nil {
		return err
	}
	if c.output, err = o.newOutput(env, found, p, settings); err != nil {
		return err
	}
	if err := c.openResults(api.ResultsOptions{Key: "caption"}); err != nil {
		return err
	}
	err = runAll(ctx, c.output, api.Runner[captionResult]{
		Load: c.options.overlay.load(p), Task: c.caption,
	}, c.write)
	if err == nil && c.sidecars != nil && c.sidecars.Kept() > 0 {
		env.warnf("%d .txt were there already and are kept; --overwrite replaces them",
			c.sidecars.Kept())
	}
	return c.finish(err)
}

// captions is one run of caption.
type captions struct {
	*output
	options  captionOptions
	pipeline *pipeline.Pipeline
	sound    media.Item    // encoded; nil without one
	sidecars *api.Sidecars // nil without --sidecar
}

// captionResult are the texts for a picture, the best first, and the places that it names.
type captionResult struct {
	texts  []*pipeline.Text
	places []pipeline.Place
}

func (c *captions) caption(ctx context.Context, batch []api.Loaded) ([]captionResult, error) {
	requests := make([]pipeline.Request, len(batch))
	for i, l := range batch {
		requests[i] = pipeline.Request{Item: l.Item, Sound: c.sound, Prompt: c.options.raw}
	}
	texts, err := c.pipeline.Generate(ctx, requests, c.options.generation()...)
	if err != nil {
		return nil, err
	}
	done := make([]captionResult, len(batch))
	for i := range done {
		done[i].texts = texts[i]
		done[i].places, err = placesOf(c.pipeline, requests[i], texts[i][0].Text)
		if err != nil {
			return nil, err
		}
	}
	return done, nil
}

// write writes the captions of one picture.
func (c *captions) write(f api.Finished[captionResult]) error {
	texts := f.Value.texts
	best := texts[0]
	c.env.verboseStats(f.Name, best)
	if c.sidecars != nil {
		// Before the line: --resume passes over a picture that has one.
		if err := c.sidecars.Write(f.File, best.Text); err != nil {
			return err
		}
	}
	if c.printsLines() {
		confidence := c.pipeline.CaptionConfidence(best.Tokens)
		line := api.NewCaption(f.Name, texts, confidence, f.Seconds)
		line.Places = f.Value.places
		line.Origin = c.origin
		if err := c.output.write(f.Name, line); err != nil {
			return err
		}
		return c.options.overlay.write(c.env, c.pipeline, f.Name, f.Value.places)
	}
	for _, t := range texts {
		_, err := fmt.Fprintln(c.env.stdout,
			c.title(f.Name)+api.Printable(t.Text)+doubt(c.pipeline.CaptionConfidence(t.Tokens)))
		if err != nil {
			return err
		}
	}
	return c.options.overlay.write(c.env, c.pipeline, f.Name, f.Value.places)
}

// doubt marks a caption that the model does not trust.
func doubt(c *pipeline.Confidence) string {
	if c != nil && c.Unsure {
		return " (unsure)"
	}
	return ""
}

// stream writes the caption of one picture as it comes.
func (c *captions) stream(
	ctx context.Context, env *environment, pictures iter.Seq2[api.Picture, error],
) error {
	for p, err := range pictures {
		if err != nil {
			return err
		}
		img, err := p.Load()
		if err != nil {
			return err
		}
		request := pipeline.Request{Image: img, Sound: c.sound, Prompt: c.options.raw}
		var tokens []pipeline.Token
		return env.printStream(func(yield func(pipeline.Token, error) bool) {
			for t, err := range c.pipeline.Stream(ctx, request, c.options.generation()...) {
				tokens = append(tokens, t)
				if !yield(t, err) {
					return
				}
			}
			if text := doubt(c.pipeline.CaptionConfidence(tokens)); text != "" {
				yield(pipeline.Token{Text: text}, nil)
			}
		})
	}
	return nil
}
