package main

import (
	"context"
	"errors"
	"fmt"
	"image"
	"os"
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
	raw        string
	ocr        string
	dpi        float64
	password   string
	format     string
	figures    string
}

func newReadCommand(env *environment) *cobra.Command {
	var o readOptions
	cmd := &cobra.Command{
		Use:   "read FILE|DIR|GLOB|SHARD.tar|- ...",
		Short: "Write down what is written on pages",
		Example: `  xpipe read scan.png
  xpipe read paper.pdf --out paper.md
  xpipe read receipts --out receipts.jsonl --resume`,
		Long: `Writes down what is written on pictures of pages: letters, forms, receipts, tables,
labels, photographs of them; on the pages of PDF and TIFF files; in DOCX, PPTX, XLSX,
HTML, Markdown and CSV files; and in DICOM files, with their record. Text stands in
reading order, columns one after the other; cells of a row are divided by tabs, and
blocks by a blank line. A page that stands on its head or lies on its side is read
as it is. Of several pages each has its name above it.

Of a PDF file's page its own text is taken. Where it has none, or signs that stand
for nothing, the page is drawn and read, and where pictures on it show more, those
are. --ocr always has all pages read, and never none.

The embedded model reads Latin script with accents, Chinese and Japanese. Of others
Florence-2, SmolDocling and granite-docling write pages down with places, Donut and
Pix2Struct without any: text alone, in "lines" nothing. Donut's fields are "fields" in
JSON. TrOCR reads each of the lines that the embedded model finds. --raw-prompt TEXT
takes the place of the prompt that Donut, Pix2Struct or a model of DocTags has.

` + picturesHelp + `

--format writes text, Markdown, hOCR or ALTO (XML with the places of lines and words).
--out FILE does by its suffix: .txt, .md, .hocr, .xml. With .pdf it writes a PDF file
in which the text can be found: of a PDF file with its pages as they are, of pictures
with each as a page. Any other FILE gets JSON lines.

--figures DIR cuts the figures out to PNG files. --words gives each word its place,
too, and --least-confidence leaves out lines of less.

With --json each page is one line {"document","page","width","height","text",
"lines":[{"text","quad","confidence","words"}],"tables":[{"rows","quad","caption"}],
"figures":[{"quad","caption","file"}],"seconds"}, or {"document","error"}. A quad has
the corners [x,y] from the top left one clockwise, in units of the page's width and
height. Files without fixed pages have no lines; a DICOM file has its "record", and what Donut reads "fields".

` + resultsHelp + `

` + exitHelp,
		Args: func(cmd *cobra.Command, args []string) error { return o.needs(0)(cmd, args) },
		RunE: func(cmd *cobra.Command, args []string) error {
			return runRead(cmd.Context(), env, o, args)
		},
	}
	o.batch = 1
	o.modelOptions.addFlags(cmd, mini.OCR)
	o.addListFlags(cmd, "pages", "pages, by its suffix, or JSON lines")
	f := cmd.Flags()
	f.IntVar(&o.jobs, "jobs", 1, "pages to read at once, each with the memory of one")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "tell nothing of how far a run is")
	f.StringVar(&o.format, "format", "", "what to write: text (the default), markdown, hocr, alto")
	f.StringVar(&o.figures, "figures", "", "folder to cut figures out to; made if missing")
	f.BoolVar(&o.words, "words", false, "give each word its place, too (with JSON lines)")
	f.StringVar(&o.ocr, "ocr", "auto", "read the pictures of pages: auto (where they show more than the page's own text), always, never")
	f.Float64Var(&o.dpi, "dpi", 150, "dots an inch of pages of PDF files, and of pictures in one that is written")
	f.StringVar(&o.password, "password", "", "password of encrypted PDF files")
	f.StringVar(&o.raw, "raw-prompt", "", "the prompt as the model reads it, for models that write pages down unasked")
	f.Float64Var(&o.confidence, "least-confidence", 0.5, "leave out lines of less, from 0 to 1")
	return cmd
}

// document is what was read of a file, as an item of a run: its pages.
type document struct {
	pages  []readPage
	failed int
	file   string // "" where there is none
	pdf    bool
}

// readPage is a page, or why there is none.
type readPage struct {
	api.Page
	err     error
	picture image.Image // for a PDF file that is written of pictures
}

func (document) Kind() media.Kind { return media.Pages }

func (o *readOptions) checkRead(env *environment, form string) error {
	batch := o.batchOptions
	if form != jsonLines {
		batch.out = "" // which no JSON lines go to
	}
	switch err := batch.check(); {
	case o.resume && o.out != "" && form != jsonLines:
		return api.Usagef("--resume goes on with JSON lines (--out FILE.jsonl), not with %s", form)
	case err != nil:
		return err
	case o.format != "" && !slices.Contains(api.PageForms, o.format):
		return api.Usagef("--format must be one of %s", strings.Join(api.PageForms, ", "))
	case o.format != "" && env.json:
		return api.Usagef("--format and --json: one of them")
	case !(o.confidence >= 0 && o.confidence <= 1):
		return api.Usagef("--least-confidence must be from 0 to 1")
	case o.words && form != jsonLines:
		return api.Usagef("--words needs --json or --out FILE.jsonl: text has no places, and hOCR and ALTO have all")
	case !slices.Contains(api.OCRChoices, o.ocr):
		return api.Usagef("--ocr must be one of %s", strings.Join(api.OCRChoices, ", "))
	case !(o.dpi >= 10 && o.dpi <= 1200):
		return api.Usagef("--dpi must be from 10 to 1200")
	}
	return nil
}

func runRead(ctx context.Context, env *environment, o readOptions, args []string) error {
	form := o.form(env)
	if err := o.checkRead(env, form); err != nil {
		return err
	}
	args, spooled, err := spoolPDF(env, args)
	if err != nil {
		return err
	}
	if spooled != "" {
		defer os.Remove(spooled)
	}
	found, err := o.findBy(env, args, api.Sources.Documents)
	if err != nil {
		return err
	}
	found.kind = media.Pages
	if spooled != "" {
		found.pictures = named(found.pictures, spooled, "-")
	}
	p, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer p.Close()
	reader := &api.DocumentReader{OCR: o.ocr, DPI: o.dpi, Figures: o.figures}
	reader.Placeless = p.Abilities().Placeless
	reader.Words = o.words || form == "hocr" || form == "alto" || form == pdfForm
	if reader.Placeless && !slices.Contains([]string{"text", "markdown", jsonLines}, form) {
		return api.Usagef("model %s writes pages down without places, and %s needs them: "+
			"text, markdown or --json", p.Bundle().Name, form)
	}
	finder, lines := p, pipeline.ReadOption(nil)
	if p.Abilities().ReadLines {
		embedded := o.modelOptions
		embedded.model, embedded.variant = mini.OCR, ""
		if finder, err = embedded.open(ctx, env); err != nil {
			return err
		}
		defer finder.Close()
		lines = pipeline.WithLinesBy(p)
	}
	reader.Read = func(ctx context.Context, img image.Image) (*pipeline.Page, error) {
		return finder.Read(ctx, img, lines, pipeline.WithPagePrompt(o.raw), func(r *pipeline.Reading) {
			r.Words, r.Confidence = reader.Words, o.confidence
			if o.confidence == 0 {
				r.Confidence = -1
			}
		})
	}
	var pages *pageOutput
	options := o.batchOptions
	if form != jsonLines {
		if pages, err = o.newPageOutput(env, form, found.count != 1); err != nil {
			return err
		}
		options.out = ""
	}
	out, err := options.newOutput(env, found, p, o.readSettings())
	if err != nil {
		return errors.Join(err, pages.close(err, 0))
	}
	if err := out.openResults(api.ResultsOptions{Key: "page"}); err != nil {
		return err
	}
	if pages != nil && pages.file != nil && !o.quiet {
		out.progress = newProgress(env, o.out, found.count)
		out.progress.whole = true // there is no going on with it
	}
	// Pages are read where others are decoded: while one page's lines are recognized, those of the
	// next one are found.
	err = runAll(ctx, out, api.Runner[document]{
		Load: func(ctx context.Context, picture api.Picture) (media.Item, error) {
			return readDocument(ctx, reader, picture, o.password, form == pdfForm)
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
		if pages == nil {
			return out.write(f.Name, out.pageLines(f.Name, f.Value)...)
		}
		return pages.write(ctx, f.Name, f.Value, o)
	})
	if pages != nil {
		err = errors.Join(err, pages.close(err, out.failed))
	}
	return out.finish(err)
}

// readSettings are those that change results and are not by default.
func (o *readOptions) readSettings() api.Settings {
	settings := o.settings()
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
	if o.raw != "" {
		settings["raw_prompt"] = o.raw
	}
	return settings
}

// readDocument reads the pages of a file; it keeps the pictures of those that a PDF file is made of.
func readDocument(
	ctx context.Context, reader *api.DocumentReader, picture api.Picture, password string, keep bool,
) (read document, err error) {
	read.file = picture.File
	switch {
	case picture.File != "" && api.IsText(picture.File):
		start := time.Now()
		blocks, err := pagefiles.Text(picture.File)
		if err != nil {
			return read, err // which names the file
		}
		for _, page := range api.TextPages(picture.Name, blocks, time.Since(start).Seconds()) {
			read.pages = append(read.pages, readPage{Page: page})
		}
		return read, nil
	case picture.File == "" || pagefiles.Format(picture.File) == "":
		img, err := picture.Load()
		if err != nil {
			return read, err
		}
		page, err := reader.Picture(ctx, picture.Name, img)
		if err != nil {
			return read, err
		}
		read.pages = []readPage{{Page: page, picture: img}}
		return read, nil
	}
	read.pdf = pagefiles.Format(picture.File) == pagefiles.PDF
	d, err := pagefiles.Open(ctx, picture.File, password)
	if err != nil {
		return read, err // which names the file
	}
	defer d.Close()
	if d.Pages() == 0 { // a medical record without a picture
		read.pages = []readPage{{Page: api.RecordPage(picture.Name, d.Info())}}
		return read, nil
	}
	for n := 1; n <= d.Pages(); n++ {
		page, err := reader.Page(ctx, picture.Name, d, n)
		if err != nil {
			if ctx.Err() != nil || errors.Is(err, pipeline.ErrUnsupported) {
				return read, err
			}
			if d.Pages() == 1 {
				return read, fmt.Errorf("%s: %w", picture.Name, err)
			}
			read.failed++
		}
		one := readPage{Page: page, err: err}
		if keep && !read.pdf && err == nil {
			if one.picture, err = d.Render(ctx, n, reader.DPI); err != nil {
				return read, api.WithDocumentKind(err)
			}
		}
		read.pages = append(read.pages, one)
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
