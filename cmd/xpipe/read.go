package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"slices"
	"strings"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/api/pagefiles"
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
	ocr        string
	dpi        float64
	password   string
}

func newReadCommand(env *environment) *cobra.Command {
	var o readOptions
	cmd := &cobra.Command{
		Use:   "read FILE|DIR|GLOB|SHARD.tar|- ...",
		Short: "Write down what is written on pages",
		Example: `  xpipe read scan.png
  xpipe read paper.pdf --json
  xpipe read receipts --out receipts.jsonl --resume`,
		Long: `Writes down what is written on pictures of pages: letters, forms, receipts, tables,
labels, photographs of them; and on the pages of PDF and TIFF files. Text stands in
reading order, columns one after the other; cells of a row are divided by tabs, and
blocks by a blank line. A page that stands on its head or lies on its side is read
as it is. Of several pages each has its name above it.

A PDF file's own text is taken where a page has any, with its tables; a page that
is a picture is drawn and read. --ocr always has all pages read, and never none.

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
	f.StringVar(&o.ocr, "ocr", "auto", "read the picture of a page: auto (where it has no text of its own), always, never")
	f.Float64Var(&o.dpi, "dpi", 150, "dots an inch of pages of PDF files")
	f.StringVar(&o.password, "password", "", "password of encrypted PDF files")
	f.Float64Var(&o.confidence, "least-confidence", 0.5, "leave out lines of less, from 0 to 1")
	return cmd
}

// document is what was read of a file, as an item of a run: its pages.
type document struct {
	pages  []readPage
	failed int
}

// readPage is a page, or why there is none.
type readPage struct {
	api.Page
	err error
}

func (document) Kind() media.Kind { return media.Pages }

func runRead(ctx context.Context, env *environment, o readOptions, args []string) error {
	switch err := o.check(); {
	case err != nil:
		return err
	case !(o.confidence >= 0 && o.confidence <= 1):
		return api.Usagef("--least-confidence must be from 0 to 1")
	case o.words && !env.json && o.out == "":
		return api.Usagef("--words needs --json or --out: text has no places")
	case !slices.Contains(api.OCRChoices, o.ocr):
		return api.Usagef("--ocr must be one of %s", strings.Join(api.OCRChoices, ", "))
	case !(o.dpi >= 10 && o.dpi <= 1200):
		return api.Usagef("--dpi must be from 10 to 1200")
	}
	found, err := o.findBy(env, args, api.Sources.Documents)
	if err != nil {
		return err
	}
	found.kind = media.Pages
	p, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer p.Close()
	settings := o.settings()
	reader := &api.DocumentReader{OCR: o.ocr, DPI: o.dpi, Words: o.words}
	reader.Read = func(ctx context.Context, img image.Image) (*pipeline.Page, error) {
		return p.Read(ctx, img, func(r *pipeline.Reading) {
			r.Words, r.Confidence = o.words, o.confidence
			if o.confidence == 0 {
				r.Confidence = -1
			}
		})
	}
	if o.words {
		settings["words"] = true
	}
	if o.confidence != 0.5 {
		settings["least_confidence"] = o.confidence
	}
	if o.ocr != "auto" {
		settings["ocr"] = o.ocr
	}
	if o.dpi != 150 {
		settings["dpi"] = o.dpi
	}
	out, err := o.newOutput(env, found, p, settings)
	if err != nil {
		return err
	}
	if err := out.openResults(api.ResultsOptions{Key: "page"}); err != nil {
		return err
	}
	// Pages are read where others are decoded: while one page's lines are recognized, those of the
	// next one are found.
	first := true
	err = runAll(ctx, out, api.Runner[document]{
		Load: func(ctx context.Context, picture api.Picture) (media.Item, error) {
			return readDocument(ctx, reader, picture, o.password)
		},
		Task: func(_ context.Context, batch []api.Loaded) ([]document, error) {
			read := make([]document, len(batch))
			for i, l := range batch {
				read[i] = l.Item.(document)
			}
			return read, nil
		},
	}, func(f api.Finished[document]) error {
		out.failed += min(f.Value.failed, 1)
		if out.printsLines() {
			return out.write(f.Name, out.pageLines(f.Name, f.Value)...)
		}
		for _, page := range f.Value.pages {
			if err := out.printPage(f.Name, page, len(f.Value.pages), first); err != nil {
				return err
			}
			first = false
		}
		return nil
	})
	return out.finish(err)
}

// readDocument reads the pages of a file.
func readDocument(
	ctx context.Context, reader *api.DocumentReader, picture api.Picture, password string,
) (read document, err error) {
	if picture.File == "" || !api.IsDocument(picture.File) {
		start := time.Now()
		img, err := picture.Load()
		if err != nil {
			return read, err
		}
		page, err := reader.Read(ctx, img)
		if err != nil {
			return read, fmt.Errorf("%s: %w", picture.Name, err)
		}
		read.pages = []readPage{{Page: api.NewPage(picture.Name, 1, page, time.Since(start).Seconds())}}
		return read, nil
	}
	d, err := pagefiles.Open(ctx, picture.File, password)
	if err != nil {
		return read, err // which names the file
	}
	defer d.Close()
	for n := 1; n <= d.Pages(); n++ {
		page, err := reader.Page(ctx, picture.Name, d, n)
		if err != nil {
			if ctx.Err() != nil || d.Pages() == 1 || errors.Is(err, pipeline.ErrUnsupported) {
				return read, err
			}
			read.failed++
		}
		read.pages = append(read.pages, readPage{page, err})
	}
	if read.failed == d.Pages() {
		return read, fmt.Errorf("%s: none of its %d pages can be read: %w", picture.Name, d.Pages(),
			read.pages[0].err)
	}
	return read, nil
}

// pageLines are the lines of a document's pages.
func (o *output) pageLines(name string, read document) []any {
	lines := make([]any, len(read.pages))
	for i, page := range read.pages {
		if page.err != nil {
			lines[i] = o.failureLine(name, page.err)
			continue
		}
		page.Origin = o.origin
		lines[i] = page.Page
	}
	return lines
}

// printPage prints the text of a page, one of so many of a document.
func (o *output) printPage(name string, page readPage, pages int, first bool) error {
	if page.err != nil {
		o.env.report(fmt.Errorf("%s: %w", name, page.err))
		return nil
	}
	text := api.Printable(page.Text)
	if text == "" {
		o.env.warnf("%s, page %d: nothing is written on it, as far as the model sees", name, page.Number)
		return nil
	}
	head := ""
	switch {
	case pages > 1:
		head = fmt.Sprintf("%s, page %d:\n", api.Visible(name), page.Number)
	case !o.single:
		head = api.Visible(name) + ":\n"
	}
	if head != "" && !first {
		head = "\n" + head
	}
	_, err := fmt.Fprintln(o.env.stdout, head+text)
	return err
}
