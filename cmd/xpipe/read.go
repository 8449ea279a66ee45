package main

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/spf13/cobra"
)

type readOptions struct {
	modelOptions
	batchOptions
	words      bool
	confidence float64
}

func newReadCommand(env *environment) *cobra.Command {
	var o readOptions
	cmd := &cobra.Command{
		Use:   "read FILE|DIR|GLOB|SHARD.tar|- ...",
		Short: "Write down what is written on pages",
		Example: `  xpipe read scan.png
  xpipe read receipts --out receipts.jsonl --resume
  xpipe read form.jpg --words --json`,
		Long: `Writes down what is written on pictures of pages: letters, forms, receipts, tables,
labels, photographs of them. Text stands in reading order, columns one after the
other; cells of a row are divided by tabs, and blocks by a blank line. A page that
stands on its head or lies on its side is read as it is. Of several pages each has
its name above it.

The embedded model reads Latin script with accents, Chinese and Japanese.

` + picturesHelp + `

--words gives each word its place, too, and --least-confidence leaves out lines of
less.

With --json each page is one line {"document","page","width","height","text",
"lines":[{"text","quad","confidence","words"}],"tables","figures","seconds"}, or
{"document","error"}. A quad has the corners [x,y] from the top left one clockwise,
in units of the page's width and height.

` + resultsHelp + `

` + exitHelp,
		Args: func(cmd *cobra.Command, args []string) error { return o.needs(0)(cmd, args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRead(cmd.Context(), env, o, args)
		},
	}
	o.batch = 1
	o.modelOptions.addFlags(cmd, mini.OCR)
	o.addListFlags(cmd, "pages", "JSON lines")
	f := cmd.Flags()
	f.IntVar(&o.jobs, "jobs", 1, "pages to read at once, each with the memory of one")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "tell nothing of how far a run is")
	f.BoolVar(&o.words, "words", false, "give each word its place, too (with --json or --out)")
	f.Float64Var(&o.confidence, "least-confidence", 0.5, "leave out lines of less, from 0 to 1")
	return cmd
}

// pageItem is what was read on a picture, as an item of a run.
type pageItem struct{ *pipeline.Page }

func (pageItem) Kind() media.Kind { return media.Pages }

func runRead(ctx context.Context, env *environment, o readOptions, args []string) error {
	switch err := o.check(); {
	case err != nil:
		return err
	case !(o.confidence >= 0 && o.confidence <= 1):
		return api.Usagef("--least-confidence must be from 0 to 1")
	case o.words && !env.json && o.out == "":
		return api.Usagef("--words needs --json or --out: text has no places")
	}
	found, err := o.find(env, args)
	if err != nil {
		return err
	}
	found.documents = true
	p, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer p.Close()
	settings := o.settings()
	options := func(r *pipeline.Reading) {
		r.Words, r.Confidence = o.words, o.confidence
		if o.confidence == 0 {
			r.Confidence = -1
		}
	}
	if o.words {
		settings["words"] = true
	}
	if o.confidence != 0.5 {
		settings["least_confidence"] = o.confidence
	}
	out, err := o.newOutput(env, found, p, settings)
	if err != nil {
		return err
	}
	if err := out.openResults(api.ResultsOptions{Key: "page"}); err != nil {
		return err
	}
	printed := false
	// Pages are read where others are decoded: while one page's lines are recognized, those of the
	// next one are found.
	err = runAll(ctx, out, api.Runner[*pipeline.Page]{
		Load: func(ctx context.Context, picture api.Picture) (media.Item, error) {
			img, err := picture.Load()
			if err != nil {
				return nil, err
			}
			page, err := p.Read(ctx, img, options)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", picture.Name, err)
			}
			return pageItem{page}, nil
		},
		Task: func(_ context.Context, batch []api.Loaded) ([]*pipeline.Page, error) {
			pages := make([]*pipeline.Page, len(batch))
			for i, l := range batch {
				pages[i] = l.Item.(pageItem).Page
			}
			return pages, nil
		},
	}, func(f api.Finished[*pipeline.Page]) error {
		if out.printsLines() {
			line := api.NewPage(f.Name, 1, f.Value, f.Seconds)
			line.Origin = out.origin
			return out.write(f.Name, line)
		}
		text := api.Printable(f.Value.Text())
		if !out.single {
			head := api.Visible(f.Name) + ":\n"
			if printed {
				head = "\n" + head
			}
			text = head + text
		}
		printed = true
		if text == "" {
			env.warnf("%s: nothing is written on it, as far as the model sees", f.Name)
			return nil
		}
		_, err := fmt.Fprintln(env.stdout, text)
		return err
	})
	return out.finish(err)
}
