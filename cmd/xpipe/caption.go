package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"
)

type captionOptions struct {
	modelOptions
	generationOptions
	batch  int
	jobs   int
	out    string
	resume bool
}

// captionLine is one line of caption --json.
type captionLine struct {
	Image   string      `json:"image"`
	Caption string      `json:"caption"`
	Others  []string    `json:"others,omitempty"` // with --num-return-sequences
	Tokens  int         `json:"tokens"`
	LogProb float64     `json:"logprob"`
	Seconds float64     `json:"seconds"`
	Each    []tokenLine `json:"token_logprobs"`
	// Where the model is calibrated: the probability that the caption is right,
	// and whether it is below the model's threshold.
	Confidence *float64 `json:"confidence,omitempty"`
	Unsure     bool     `json:"unsure,omitempty"`
}

// tokenLine is one generated token.
type tokenLine struct {
	ID      int64   `json:"id"`
	Text    string  `json:"text"`
	LogProb float64 `json:"logprob"`
}

// failedLine takes a line's place where a picture failed.
type failedLine struct {
	Image string `json:"image"`
	Error string `json:"error"`
}

func newCaptionCommand(env *environment) *cobra.Command {
	var o captionOptions
	cmd := &cobra.Command{
		Use:   "caption IMAGE|DIR|GLOB|SHARD.tar|- ...",
		Short: "Describe pictures in a few words",
		Long: `Prints one line for each picture. Several pictures are named in front of
their captions; one that fails is reported and the others go on. A folder
stands for every picture in and below it, a .tar for every picture in it.
"-" reads a picture, or a list of files, from standard input. The caption of a
single picture is written word by word on a terminal.

A model that knows how far to trust itself, as the default one does, adds
"(unsure)" to captions that are wrong too often; its card has the figures.

With --json each picture is one line {"image","caption","tokens","logprob",
"seconds","token_logprobs","confidence","unsure"}, or {"image","error"}. With --out the lines go to
a file, a progress bar shows on a terminal, and --resume goes on where an
earlier run ended, whatever ended it.

` + exitHelp,
		Args: usageArgs(cobra.MinimumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runCaption(cmd.Context(), env, o, args)
		},
	}
	o.modelOptions.addFlags(cmd, mini.Captions)
	o.generationOptions.addFlags(cmd)
	cmd.Flags().IntVar(&o.batch, "batch", 1, "pictures to run through the model at once")
	cmd.Flags().IntVar(&o.jobs, "jobs", runtime.NumCPU(), "pictures to decode at once")
	cmd.Flags().StringVarP(&o.out, "out", "o", "", "write JSON lines to a file")
	cmd.Flags().BoolVar(&o.resume, "resume", false, "with --out: skip pictures that have a line already")
	return cmd
}

func runCaption(ctx context.Context, env *environment, o captionOptions, args []string) error {
	switch {
	case o.batch < 1:
		return usagef("--batch must be 1 or more")
	case o.jobs < 1:
		return usagef("--jobs must be 1 or more")
	case o.resume && o.out == "":
		return usagef("--resume needs --out FILE")
	}
	pictures, count, err := env.pictures(args)
	if err != nil {
		return err
	}
	p, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer p.Close()
	c := &captioner{env: env, options: o, pipeline: p, single: count == 1 && o.out == ""}
	if c.single && !env.json && isTerminal(env.stdout) {
		return c.stream(ctx, pictures)
	}
	if o.out != "" {
		if c.results, err = openResults(o.out, o.resume); err != nil {
			return err
		}
		if isTerminal(env.stderr) {
			c.bar = progressbar.NewOptions(count, progressbar.OptionSetWriter(env.stderr),
				progressbar.OptionShowCount(), progressbar.OptionShowIts(), progressbar.OptionSetItsString("img"),
				progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
		}
	}
	err = c.run(ctx, pictures)
	if c.results != nil {
		err = errors.Join(err, c.results.Close())
	}
	return err
}

func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// captioner is one run of caption.
type captioner struct {
	env      *environment
	options  captionOptions
	pipeline *pipeline.Pipeline
	results  *resultFile              // nil without --out
	bar      *progressbar.ProgressBar // nil where nobody watches
	single   bool                     // one picture: its error is the command's
	total    int
	failed   int
}

// loaded is a picture after decoding.
type loaded struct {
	name    string
	img     image.Image
	err     error
	seconds float64
}

// run captions all pictures: while the model has one batch, the next is read.
func (c *captioner) run(ctx context.Context, pictures func(func(picture, error) bool)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	batches := make(chan []loaded, 1)
	var reader sync.WaitGroup
	defer reader.Wait()
	reader.Go(func() {
		defer close(batches)
		if err := c.read(ctx, pictures, batches); err != nil {
			cancel(err)
		}
	})
	for batch := range batches {
		if err := c.caption(ctx, batch); err != nil {
			cancel(err)
			break
		}
	}
	if err := context.Cause(ctx); err != nil {
		return err
	}
	if c.failed > 0 && !c.single {
		return fmt.Errorf("%d of %d pictures failed", c.failed, c.total)
	}
	return nil
}

// read decodes the pictures, in order, into batches.
func (c *captioner) read(ctx context.Context, pictures func(func(picture, error) bool), batches chan<- []loaded) error {
	seen := map[string]bool{}
	var waiting []picture
	flush := func() error {
		if len(waiting) == 0 {
			return nil
		}
		batch := make([]loaded, len(waiting))
		free := make(chan struct{}, c.options.jobs)
		var decoding sync.WaitGroup
		for i, p := range waiting {
			free <- struct{}{}
			decoding.Go(func() {
				start := time.Now()
				img, err := p.load()
				batch[i] = loaded{p.name, img, err, time.Since(start).Seconds()}
				<-free
			})
		}
		decoding.Wait()
		waiting = nil
		select {
		case batches <- batch:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for p, err := range pictures {
		if err != nil {
			return err
		}
		if c.results != nil && c.results.done[p.name] {
			c.advance(1)
			continue
		}
		if seen[p.name] {
			continue
		}
		seen[p.name] = true
		if waiting = append(waiting, p); len(waiting) == c.options.batch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	return flush()
}

// caption runs one batch and writes its lines.
func (c *captioner) caption(ctx context.Context, batch []loaded) error {
	var requests []pipeline.Request
	for _, l := range batch {
		if l.err == nil {
			requests = append(requests, pipeline.Request{Image: l.img})
		}
	}
	start := time.Now()
	texts, err := c.pipeline.Generate(ctx, requests, c.options.generation()...)
	if err != nil && len(requests) > 1 && ctx.Err() == nil {
		// One of them may be to blame: each on its own tells which.
		for _, l := range batch {
			if err := c.caption(ctx, []loaded{l}); err != nil {
				return err
			}
		}
		return nil
	}
	share := time.Since(start).Seconds() / float64(max(1, len(requests)))
	for _, l := range batch {
		var text []*pipeline.Text
		if l.err == nil && err == nil {
			text, texts = texts[0], texts[1:]
		}
		if l.err == nil {
			l.err = err
		}
		l.seconds += share
		if err := c.write(ctx, l, text); err != nil {
			return err
		}
	}
	return nil
}

// write reports one picture, captioned or failed.
func (c *captioner) write(ctx context.Context, l loaded, texts []*pipeline.Text) error {
	if l.err != nil && ctx.Err() != nil {
		return l.err
	}
	c.total++
	c.advance(1)
	if l.err == nil {
		c.env.verboseStats(l.name, texts[0])
		line := c.line(l, texts)
		switch {
		case c.results != nil:
			return c.results.add(line)
		case c.env.json:
			return c.env.printJSON(line)
		}
		for _, t := range texts {
			if !c.single {
				fmt.Fprintf(c.env.stdout, "%s: ", l.name)
			}
			if _, err := fmt.Fprintln(c.env.stdout, t.Text+doubt(c.pipeline.CaptionConfidence(t.Tokens))); err != nil {
				return err
			}
		}
		return nil
	}
	c.failed++
	line := failedLine{l.name, oneLine(l.err)}
	var err error
	switch {
	case c.results != nil:
		err = c.results.add(line)
	case c.env.json:
		err = c.env.printJSON(line)
	case !c.single:
		c.env.report(l.err)
	}
	if c.single && err == nil {
		err = l.err
	}
	return err
}

// doubt is what follows a caption that is better not trusted.
func doubt(c *pipeline.Confidence) string {
	if c != nil && c.Unsure {
		return " (unsure)"
	}
	return ""
}

// line is what --json and --out write of a captioned picture.
func (c *captioner) line(l loaded, texts []*pipeline.Text) captionLine {
	line := captionLine{
		Image: l.name, Caption: texts[0].Text, Tokens: len(texts[0].Tokens), LogProb: texts[0].LogProb,
		Seconds: l.seconds, Each: tokenLines(texts[0]),
	}
	for _, t := range texts[1:] {
		line.Others = append(line.Others, t.Text)
	}
	if confidence := c.pipeline.CaptionConfidence(texts[0].Tokens); confidence != nil {
		line.Confidence, line.Unsure = &confidence.Probability, confidence.Unsure
	}
	return line
}

func tokenLines(t *pipeline.Text) []tokenLine {
	lines := make([]tokenLine, len(t.Tokens))
	for i, token := range t.Tokens {
		lines[i] = tokenLine{token.ID, token.Text, token.LogProb}
	}
	return lines
}

// advance moves the progress bar.
func (c *captioner) advance(n int) {
	if c.bar != nil {
		c.bar.Add(n)
	}
}

// stream writes the caption of one picture as it comes.
func (c *captioner) stream(ctx context.Context, pictures func(func(picture, error) bool)) error {
	for p, err := range pictures {
		if err != nil {
			return err
		}
		img, err := p.load()
		if err != nil {
			return err
		}
		var tokens []pipeline.Token
		stream := func(yield func(pipeline.Token, error) bool) {
			for t, err := range c.pipeline.Stream(ctx, pipeline.Request{Image: img}, c.options.generation()...) {
				tokens = append(tokens, t)
				if !yield(t, err) {
					return
				}
			}
			if text := doubt(c.pipeline.CaptionConfidence(tokens)); text != "" {
				yield(pipeline.Token{Text: text}, nil)
			}
		}
		return c.env.printStream(stream)
	}
	return nil
}

// printStream writes tokens as they come, and ends the line.
func (env *environment) printStream(tokens func(func(pipeline.Token, error) bool)) error {
	started := false
	for t, err := range tokens {
		if err != nil {
			if started {
				fmt.Fprintln(env.stdout)
			}
			return err
		}
		text := t.Text
		if !started {
			text = strings.TrimLeft(text, " ")
			started = text != ""
		}
		if _, err := io.WriteString(env.stdout, text); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintln(env.stdout)
	return err
}

// verboseStats tells where the time went.
func (env *environment) verboseStats(name string, t *pipeline.Text) {
	ms := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	s := t.Stats
	env.verbosef("%s: preprocess %.1f ms, encode %.1f ms, first token after %.1f ms, %d tokens in %.1f ms (%.0f tokens/s)",
		name, ms(s.Preprocess), ms(s.Encode), ms(s.FirstToken), s.Tokens, ms(s.Generate), float64(s.Tokens)/s.Generate.Seconds())
}
