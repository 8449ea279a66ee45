package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"os"
	"runtime"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

type captionOptions struct {
	modelOptions
	generationOptions
	batch  int
	jobs   int
	out    string
	resume bool
	lists  []string

	sidecar   bool
	prefix    string
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

  DIR        every picture in and below a folder, links followed
  GLOB       a pattern with * ? [ ], or ** for any folders between
  SHARD.tar  every picture in it; so with .tar.gz, .tar.zst and .tar.bz2
  {000..999} and {a,b} in a name stand for several, as in a shell
  -          standard input: a picture, a shard, or a list

A list has one of the above on each line, and paths from the folder where xpipe
runs; --list FILE reads one. Mix them as you like.

--sidecar also writes the caption of photo.jpg to photo.txt beside it, as
programs that train on pictures read them. Where there is a photo.txt it is kept,
and the picture is passed over, unless --overwrite is given. --prefix TEXT goes in
front, such as a trigger word.

A model that knows how far to trust itself, as the default one does, adds
"(unsure)" to captions that are wrong too often; its card has the figures.

With --json each picture is one line {"image","caption","tokens","logprob",
"seconds","token_logprobs","confidence","unsure"}, or {"image","error"}. With
--out the lines go to a file, a progress bar shows on a terminal, and --resume
goes on where an earlier run ended, whatever ended it. In a file name that is not
UTF-8 each byte that is to blame is written as U+FFFD and two hexadecimal digits.

` + exitHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(o.lists) > 0 {
				return nil
			}
			return usageArgs(cobra.MinimumNArgs(1))(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCaption(cmd.Context(), env, o, args)
		},
	}
	o.modelOptions.addFlags(cmd, mini.Captions)
	o.generationOptions.addFlags(cmd)
	f := cmd.Flags()
	f.IntVar(&o.batch, "batch", 1, "pictures to run through the model at once")
	f.IntVar(&o.jobs, "jobs", runtime.NumCPU(), "pictures to decode at once")
	f.StringVarP(&o.out, "out", "o", "", "write JSON lines to a file")
	f.BoolVar(&o.resume, "resume", false, "with --out: skip pictures that have a line already")
	f.StringArrayVar(&o.lists, "list", nil,
		"a file that lists pictures, one a line; - is standard input (repeat)")
	f.BoolVar(&o.sidecar, "sidecar", false,
		"write each caption to NAME.txt beside its picture, too")
	f.StringVar(&o.prefix, "prefix", "", "with --sidecar: text in front of each caption there")
	f.BoolVar(&o.overwrite, "overwrite", false, "with --sidecar: replace a NAME.txt that is there")
	return cmd
}

func runCaption(ctx context.Context, env *environment, o captionOptions, args []string) error {
	switch {
	case o.batch < 1:
		return api.Usagef("--batch must be 1 or more")
	case o.jobs < 1:
		return api.Usagef("--jobs must be 1 or more")
	case o.resume && o.out == "":
		return api.Usagef("--resume needs --out FILE")
	case o.prefix != "" && !o.sidecar:
		return api.Usagef("--prefix needs --sidecar")
	case o.overwrite && !o.sidecar:
		return api.Usagef("--overwrite needs --sidecar")
	}
	sources := env.sources()
	sources.Lists = o.lists
	pictures, count, err := sources.Pictures(args...)
	if err != nil {
		return err
	}
	p, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer p.Close()
	c := &captions{env: env, options: o, pipeline: p}
	c.single = count == 1 && len(args) == 1 && namesPicture(args[0]) && o.out == ""
	if o.sidecar {
		c.sidecars = &api.Sidecars{Prefix: o.prefix, Overwrite: o.overwrite}
		pictures = c.sidecars.Wanted(pictures, o.out != "")
	}
	if c.single && !env.json && isTerminal(env.stdout) && !o.sidecar {
		return c.stream(ctx, pictures)
	}
	if o.out != "" {
		if c.results, err = openResults(o.out, o.resume); err != nil {
			return err
		}
		if isTerminal(env.stderr) {
			c.bar = progressbar.NewOptions(count, progressbar.OptionSetWriter(env.stderr),
				progressbar.OptionShowCount(), progressbar.OptionShowIts(),
				progressbar.OptionSetItsString("img"), progressbar.OptionSetPredictTime(true),
				progressbar.OptionClearOnFinish())
		}
	}
	err = c.run(ctx, pictures)
	if c.results != nil {
		err = errors.Join(err, c.results.Close())
	}
	return err
}

// namesPicture says whether an argument that stands for one picture is that picture's own name, and
// not a folder's or a pattern.
func namesPicture(arg string) bool {
	if info, err := os.Stat(arg); err == nil {
		return !info.IsDir()
	}
	return !strings.ContainsAny(arg, "*?[{")
}

// openResults opens the file of --out, with errors that name the flags.
func openResults(path string, resume bool) (*api.Results, error) {
	r, err := api.OpenResults(path, resume)
	switch {
	case errors.Is(err, api.ErrHasResults):
		err = api.Usagef("%s has results already; --resume goes on with them", path)
	case errors.Is(err, api.ErrNotRegular):
		err = api.Usagef("%s is no regular file; --resume needs one", path)
	}
	return r, err
}

// captions is the output of one run of caption.
type captions struct {
	env      *environment
	options  captionOptions
	pipeline *pipeline.Pipeline
	results  *api.Results             // nil without --out
	sidecars *api.Sidecars            // nil without --sidecar
	bar      *progressbar.ProgressBar // nil where none is shown
	single   bool                     // one picture: its error is the command's
	total    int
	failed   int
}

// run captions all pictures and writes their lines.
func (c *captions) run(ctx context.Context, pictures iter.Seq2[api.Picture, error]) error {
	captioner := api.Captioner{
		Pipeline: c.pipeline, Options: c.options.generation(),
		Batch: c.options.batch, Jobs: c.options.jobs, Skip: c.skip,
	}
	for captioned, err := range captioner.Run(ctx, pictures) {
		if err == nil {
			err = c.write(captioned)
		}
		if err != nil {
			return err
		}
	}
	if c.sidecars != nil && c.sidecars.Kept() > 0 {
		c.env.warnf("%d .txt were there already and are kept; --overwrite replaces them",
			c.sidecars.Kept())
	}
	if c.failed > 0 && !c.single {
		return fmt.Errorf("%d of %d pictures failed", c.failed, c.total)
	}
	return nil
}

// skip leaves out pictures that have a line already.
func (c *captions) skip(name string) bool {
	done := c.results != nil && c.results.Done(name)
	if done {
		c.advance()
	}
	return done
}

// advance moves the progress bar, which any goroutine may do.
func (c *captions) advance() {
	if c.bar != nil {
		c.bar.Add(1)
	}
}

// write reports one picture, captioned or failed.
func (c *captions) write(captioned api.Captioned) error {
	c.total++
	c.advance()
	if captioned.Err != nil {
		return c.writeFailure(captioned.Name, captioned.Err)
	}
	best := captioned.Texts[0]
	c.env.verboseStats(captioned.Name, best)
	if c.sidecars != nil {
		// Before the line: --resume passes over a picture that has one.
		if err := c.sidecars.Write(captioned.File, best.Text); err != nil {
			return err
		}
	}
	if c.results != nil || c.env.json {
		confidence := c.pipeline.CaptionConfidence(best.Tokens)
		return c.writeLine(api.NewCaption(
			captioned.Name, captioned.Texts, confidence, captioned.Seconds))
	}
	for _, t := range captioned.Texts {
		if !c.single {
			fmt.Fprintf(c.env.stdout, "%s: ", api.Visible(captioned.Name))
		}
		_, err := fmt.Fprintln(c.env.stdout, t.Text+doubt(c.pipeline.CaptionConfidence(t.Tokens)))
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *captions) writeFailure(name string, failure error) error {
	c.failed++
	var err error
	switch {
	case c.results != nil || c.env.json:
		err = c.writeLine(api.NewFailure(name, failure))
	case !c.single:
		c.env.report(failure)
	}
	if c.single && err == nil {
		err = failure
	}
	return err
}

// writeLine writes a line of JSON to the results file, if there is one, or to stdout.
func (c *captions) writeLine(line any) error {
	if c.results != nil {
		return c.results.Add(line)
	}
	return c.env.printJSON(line)
}

// doubt marks a caption that the model does not trust.
func doubt(c *pipeline.Confidence) string {
	if c != nil && c.Unsure {
		return " (unsure)"
	}
	return ""
}

// stream writes the caption of one picture as it comes.
func (c *captions) stream(ctx context.Context, pictures iter.Seq2[api.Picture, error]) error {
	for p, err := range pictures {
		if err != nil {
			return err
		}
		img, err := p.Load()
		if err != nil {
			return err
		}
		request := pipeline.Request{Image: img}
		var tokens []pipeline.Token
		return c.env.printStream(func(yield func(pipeline.Token, error) bool) {
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
