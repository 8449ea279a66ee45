package main

import (
	"context"
	"fmt"
	"image"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/api/pagefiles"
	docs "github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/spf13/cobra"
)

// This file is ask and attend about documents: files of pages, and pictures of pages where a flag says so.

const askDocumentHelp = `A PDF file, a TIFF file of several pages, and with --read or --page any picture is a
document. Its text is read as xpipe read does, and the line that answers is found, by
the words of the question and of what stands around the line (labels, heads of rows
and columns, sentences), and by what is asked for: a date, a person, an amount. No
model writes the answer: it is a part of the line. Where none seems to answer, that
is said, with the closest line. With --model a model that sees pictures is asked
about the page that a search finds, or --page N; about "figure 2" or "the chart" of
a page, where the question names one. A language model is given the passages that
fit best. Each answer names its page; --overlay FILE.png draws where it stands.`

// documentOptions are the flags of verbs that ask documents.
type documentOptions struct {
	read     bool
	page     int
	ocr      string
	dpi      float64
	password string
}

func (o *documentOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.read, "read", false, "take pictures for pages, and answer from what is written on them")
	f.IntVar(&o.page, "page", 0, "the page of a document to ask about, from 1 (default: the one that fits the question)")
	f.StringVar(&o.ocr, "ocr", "auto", "read the picture of a page: auto (where it has no text of its own), always, never")
	f.Float64Var(&o.dpi, "dpi", 150, "dots an inch of pages of PDF files")
	f.StringVar(&o.password, "password", "", "password of encrypted PDF files")
}

func (o *documentOptions) check() error {
	switch {
	case o.page < 0:
		return api.Usagef("--page must be 1 or more")
	case !slices.Contains(api.OCRChoices, o.ocr):
		return api.Usagef("--ocr must be one of %s", strings.Join(api.OCRChoices, ", "))
	case !(o.dpi >= 10 && o.dpi <= 1200):
		return api.Usagef("--dpi must be from 10 to 1200")
	}
	return nil
}

// asksDocuments reports whether files are documents rather than pictures: by the flags, or by what they are.
func (o *documentOptions) asksDocuments(ctx context.Context, files []string) bool {
	return o.read || o.page != 0 || slices.ContainsFunc(files, func(name string) bool {
		if strings.EqualFold(filepath.Ext(name), ".pdf") {
			return true
		}
		if !api.IsPaged(name) {
			return false
		}
		d, err := pagefiles.Open(ctx, name, "")
		if err != nil {
			return false // as a picture it gives an error as good
		}
		defer d.Close()
		return d.Pages() > 1
	})
}

// set notes the flags that change answers.
func (o *documentOptions) set(settings api.Settings) {
	if o.page != 0 {
		settings["page"] = o.page
	}
	if o.ocr != "auto" {
		settings["ocr"] = o.ocr
	}
	if o.dpi != 150 {
		settings["dpi"] = o.dpi
	}
}

// openPaged opens a document, or takes a picture for one.
func (o *documentOptions) openPaged(ctx context.Context, p api.Picture) (docs.Paged, error) {
	if p.File != "" && api.IsPaged(p.File) {
		return pagefiles.Open(ctx, p.File, o.password)
	}
	img, err := p.Load()
	if err != nil {
		return nil, err
	}
	return api.PictureDocument(img), nil
}

// documentModels are the models that documents are asked with.
type documentModels struct {
	shown  *pipeline.Pipeline // what lines of results name
	asked  *pipeline.Pipeline // that answers; nil: a line does
	reader *api.DocumentReader
	close  func()
}

// openModels opens the model that answers, where the user names one, and the one that reads: at once where it answers, else
// when a page needs it.
func (o *documentOptions) openModels(ctx context.Context, env *environment, m modelOptions, named bool) (*documentModels, error) {
	made := &documentModels{reader: &api.DocumentReader{OCR: o.ocr, DPI: o.dpi}}
	if !named {
		m.model = mini.OCR
	}
	p, err := m.open(ctx, env)
	if err != nil {
		return nil, err
	}
	closers := []func() error{p.Close}
	made.close = func() {
		for _, c := range closers {
			c()
		}
	}
	made.shown = p
	reads := func(ctx context.Context) (*pipeline.Pipeline, error) { return p, nil }
	if can := p.Abilities(); !can.Read || can.Write || can.Pick {
		made.asked = p
		var mu sync.Mutex
		var reader *pipeline.Pipeline
		reads = func(ctx context.Context) (*pipeline.Pipeline, error) {
			mu.Lock()
			defer mu.Unlock()
			if reader != nil {
				return reader, nil
			}
			m := m
			m.model, m.variant = mini.OCR, ""
			opened, err := m.open(ctx, env)
			if err == nil {
				reader = opened
				closers = append(closers, opened.Close)
			}
			return opened, err
		}
	}
	made.reader.Read = func(ctx context.Context, img image.Image) (*pipeline.Page, error) {
		p, err := reads(ctx)
		if err != nil {
			return nil, err
		}
		return p.Read(ctx, img)
	}
	return made, nil
}

// askedDocument is the answers about a document, as an item of a run.
type askedDocument struct {
	answers []*api.DocumentAnswer
	drawn   image.Image // the page of the only answer, for --overlay
}

func (askedDocument) Kind() media.Kind { return media.Pages }

// runDocuments answers questions about documents.
func (o *askOptions) runDocuments(ctx context.Context, env *environment, files, questions []string) error {
	switch {
	case len(o.choices) > 0 || len(o.shots) > 0 || o.shotsFile != "" || o.regions != "" || o.sound.path != "" || o.raw != "":
		return api.Usagef("--choices, --shot, --shots, --regions, --audio and --raw-prompt are for pictures, not for documents")
	case o.overlay.path != "" && len(questions) != 1:
		return api.Usagef("--overlay takes one question")
	}
	if err := o.document.check(); err != nil {
		return err
	}
	found, err := o.findBy(env, files, api.Sources.Documents)
	if err != nil {
		return err
	}
	found.kind = media.Pages
	if err := o.overlay.check(found); err != nil {
		return err
	}
	models, err := o.document.openModels(ctx, env, o.modelOptions, o.named)
	if err != nil {
		return err
	}
	defer models.close()
	settings := o.modelOptions.settings()
	if len(questions) == 1 {
		settings["question"] = questions[0]
	} else {
		settings.SetList("questions", questions)
	}
	o.document.set(settings)
	if models.asked != nil {
		if err := settings.SetGeneration(models.asked, o.generation()); err != nil {
			return err
		}
	}
	out, err := o.newOutput(env, found, models.shown, settings)
	if err != nil {
		return err
	}
	if err := out.openResults(api.ResultsOptions{Key: "answer", Lines: len(questions)}); err != nil {
		return err
	}
	return out.finish(runAll(ctx, out, api.Runner[askedDocument]{
		Load: func(ctx context.Context, p api.Picture) (media.Item, error) {
			return o.askDocument(ctx, env, models, p, questions)
		},
		Task: func(_ context.Context, batch []api.Loaded) ([]askedDocument, error) {
			asked := make([]askedDocument, len(batch))
			for i, l := range batch {
				asked[i] = l.Item.(askedDocument)
			}
			return asked, nil
		},
	}, func(f api.Finished[askedDocument]) error {
		var lines []any
		for _, a := range f.Value.answers {
			if out.printsLines() {
				a.Origin = out.origin
				lines = append(lines, a)
			} else if _, err := fmt.Fprintln(env.stdout, out.title(f.Name)+a.String()); err != nil {
				return err
			}
		}
		if err := out.write(f.Name, lines...); err != nil {
			return err
		}
		return o.writeOverlay(env, models, f)
	}))
}

// askDocument asks one document.
func (o *askOptions) askDocument(
	ctx context.Context, env *environment, models *documentModels, p api.Picture, questions []string,
) (asked askedDocument, err error) {
	d, err := o.document.openPaged(ctx, p)
	if err != nil {
		return asked, err
	}
	defer d.Close()
	a := &api.AskDocument{
		Name: p.Name, Document: d, Reader: models.reader, Model: models.asked, Number: o.document.page, Options: o.generation(),
	}
	for _, question := range questions {
		answer, err := a.Ask(ctx, question)
		if err != nil {
			return asked, err
		}
		if o.overlay.path != "" {
			if asked.drawn, err = d.Render(ctx, answer.Page, o.document.dpi); err != nil {
				return asked, err
			}
		}
		asked.answers = append(asked.answers, answer)
	}
	if text, err := a.Text(ctx); err == nil {
		for _, failed := range text.Failed {
			env.warnf("%s: %w", p.Name, failed)
		}
	}
	return asked, nil
}

// writeOverlay draws where the answer stands over its page.
func (o *askOptions) writeOverlay(env *environment, models *documentModels, f api.Finished[askedDocument]) error {
	if o.overlay.path == "" || len(f.Value.answers) == 0 {
		return nil
	}
	answer := f.Value.answers[0]
	made := models.madeBy()
	err := writeFile(o.overlay.path, func(w io.Writer) error {
		return api.WriteDocumentPNG(w, f.Value.drawn, answer, made)
	})
	if err == nil && !env.json {
		fmt.Fprintf(env.stderr, "wrote %s: page %d\n", api.Visible(o.overlay.path), answer.Page)
	}
	return err
}

func (m *documentModels) madeBy() api.MadeBy {
	return api.MadeBy{Model: m.shown.Bundle().Name, Engine: m.shown.Engine().Name(), Version: version()}
}

// attendDocument shows where a document answers a question: the line's box on the page, or where a model looked on the
// picture of the page.
func attendDocument(ctx context.Context, env *environment, o attendOptions, kind string, args []string) error {
	switch {
	case o.regions != "" || o.text != "":
		return api.Usagef("--regions and --text are for pictures, not for documents")
	case len(args) < 2:
		return api.Usagef("a document is asked: xpipe attend %s QUESTION", api.Visible(args[0]))
	}
	if err := o.document.check(); err != nil {
		return err
	}
	if err := checkTexts("attend", "question", args[1:]); err != nil {
		return err
	}
	question := strings.TrimSpace(strings.Join(args[1:], " "))
	picture := api.Picture{Name: args[0], File: args[0], Load: func() (image.Image, error) { return env.loadPicture(args[0]) }}
	d, err := o.document.openPaged(ctx, picture)
	if err != nil {
		return err
	}
	defer d.Close()
	models, err := o.document.openModels(ctx, env, o.modelOptions, o.named)
	if err != nil {
		return err
	}
	defer models.close()
	a := &api.AskDocument{
		Name: args[0], Document: d, Reader: models.reader, Model: models.asked, Number: o.document.page, Options: o.generation(),
	}
	if models.asked != nil && models.asked.Abilities().Takes(media.Pictures) {
		answer := &api.DocumentAnswer{}
		answer.Question = question
		shown, err := a.Show(ctx, answer)
		if err != nil {
			return err
		}
		where := fmt.Sprintf("%s, page %d", args[0], answer.Page)
		return o.attendPicture(ctx, env, models.asked, kind, where, pipeline.Request{Image: shown, Question: question})
	}
	if o.rollout || len(o.picks) > 0 {
		return api.Usagef("--pick and --rollout are for models that see pictures: give --model")
	}
	answer, err := a.Ask(ctx, question)
	if err != nil {
		return err
	}
	if kind == ".npz" {
		return api.Usagef("--out %s: a line of a document has no maps; .png, .html and .json are written", o.out)
	}
	made := models.madeBy()
	settings := o.modelOptions.settings()
	o.document.set(settings)
	if answer.Origin, err = api.NewOrigin(models.shown, version(), settings); err != nil {
		return err
	}
	switch {
	case o.out == "" && env.json:
		return env.printJSON(answer)
	case o.out == "":
		b := answer.Box
		if answer.Line == "" && b == [4]float64{} { // there is no place
			_, err := fmt.Fprintln(env.stdout, answer.String())
			return err
		}
		_, err := fmt.Fprintf(env.stdout, "%s\nx %.3f to %.3f, y %.3f to %.3f of the page: %s\n", answer.String(),
			b[0], b[2], b[1], b[3], api.Printable(answer.Line))
		return err
	}
	page, err := d.Render(ctx, answer.Page, o.document.dpi)
	if err != nil {
		return err
	}
	err = writeFile(o.out, map[string]func(io.Writer) error{
		".png":  func(w io.Writer) error { return api.WriteDocumentPNG(w, page, answer, made) },
		".html": func(w io.Writer) error { return api.WriteDocumentHTML(w, page, answer, made) },
		".json": func(w io.Writer) error { return api.WriteJSON(w, answer) },
	}[kind])
	if err == nil && !env.json {
		fmt.Fprintf(env.stderr, "wrote %s: %v\n", api.Visible(o.out), answer)
	}
	return err
}
