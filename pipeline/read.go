package pipeline

import (
	"context"
	"fmt"
	"image"

	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/reading"
	"github.com/crossattn/xpipe/vision"
)

// What is read on a page; package reading defines it.
type (
	// Page is the text of a page, and where it stands.
	Page = reading.Page
	// Line is a line of a page, or a cell of a table.
	Line = reading.Line
	// PageWord is a word of a line.
	PageWord = reading.Word
	// Quad is a quadrilateral in units of a page's width and height.
	Quad = reading.Quad
	// Reading holds the parameters of Read. A ReadOption changes them for one call.
	Reading = reading.Options
	// ReadOption changes the parameters of one call:
	//
	//	func(r *pipeline.Reading) { r.Confidence = 0.8 }
	ReadOption = func(*Reading)
)

// WithPlacedWords gives each word of a line its place.
func WithPlacedWords() ReadOption { return func(r *Reading) { r.Words = true } }

// WithPagePrompt gives a model that writes pages down unasked (Donut, Pix2Struct, those of DocTags) a prompt
// in the place of its own, as it is written. Others give ErrUnsupported.
func WithPagePrompt(prompt string) ReadOption { return func(r *Reading) { r.Prompt = prompt } }

// WithLinesBy has a model that reads single lines (TrOCR; Abilities.ReadLines) read those that are found.
// It is for the Read of a model that finds them, whose quadrilaterals, directions and order stay as they
// are. It gives no confidence (1) and no words.
func WithLinesBy(p *Pipeline) ReadOption {
	return func(r *Reading) { r.WriteLines = p.writeLines }
}

// Read reads the text of a page: its lines in reading order, each with its place, and the blocks that
// they make: headings, paragraphs, tables, figures. Transparent pixels are blended with black where what
// is drawn is light, else with white.
//
// A model that writes pages down (Florence-2, those that write DocTags, Donut, Pix2Struct) does so with the
// generation parameters that it has, in as many tokens as a page may take; it gives no confidence (1) and
// no words; Donut and Pix2Struct no lines either, but blocks without places, and Donut Page.Fields.
// Models that do not read give ErrUnsupported.
func (p *Pipeline) Read(
	ctx context.Context, img image.Image, opts ...ReadOption,
) (page *Page, err error) {
	var o Reading
	for _, change := range opts {
		if change != nil {
			change(&o)
		}
	}
	m, ok := p.model.(family.PageReader)
	if !ok {
		return p.writePage(ctx, img, o)
	}
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	if err := p.checkPage(img); err != nil {
		return nil, err
	}
	if o.Prompt != "" {
		return nil, p.unsupported("be given a prompt: it finds lines and reads them")
	}
	return m.ReadPage(ctx, reading.Opaque(vision.FromImage(img)), o)
}

func (p *Pipeline) checkPage(img image.Image) error {
	if err := p.checkPicture(img); err != nil {
		return err
	}
	if img.Bounds().Empty() {
		return fmt.Errorf("%w: the picture has no pixels", ErrImage)
	}
	return nil
}

// pageTokens is how long a page may be that a model writes down.
const pageTokens = 4096

// writePage is Read for a model that writes pages down.
func (p *Pipeline) writePage(ctx context.Context, img image.Image, o Reading) (*Page, error) {
	m, ok := p.model.(family.PageScribe)
	question, writes := "", false
	if ok {
		question, writes = m.PageQuestion()
	}
	switch {
	case p.Abilities().ReadLines:
		return nil, p.unsupported("find the lines of a page: it reads single ones (pipeline.WithLinesBy; xpipe read)")
	case writes && o.WriteLines != nil:
		return nil, p.unsupported("have lines read by another: it writes whole pages down")
	case writes && o.Prompt != "" && question != "":
		return nil, p.unsupported("be given another prompt: it reads pages by " + question)
	}
	if !writes {
		task := "read pages"
		if _, ok := p.model.(family.Writer); ok {
			task += "; it writes texts about pictures: caption them, or ask it"
		}
		return nil, p.unsupported(task)
	}
	if err := p.checkPage(img); err != nil {
		return nil, err
	}
	texts, err := p.Generate(ctx, []Request{{Image: img, Question: question, Prompt: o.Prompt}}, func(g *Generation) {
		g.MaxNewTokens = pageTokens
	})
	if err != nil {
		return nil, err
	}
	size := img.Bounds().Size()
	return m.PageOf(o.Prompt, texts[0][0].Text, size.X, size.Y), nil
}

// lineTokens is how long a line may be that a model writes down.
const lineTokens = 200

// writeLines writes down pictures of lines, a text for each.
func (p *Pipeline) writeLines(ctx context.Context, lines []*vision.RGB) ([]string, error) {
	if !p.Abilities().ReadLines {
		return nil, p.unsupported("read single lines of text")
	}
	requests := make([]Request, len(lines))
	for i, l := range lines {
		requests[i].Image = l
	}
	written, err := p.Generate(ctx, requests, WithMaxNewTokens(lineTokens))
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(lines))
	for i, w := range written {
		texts[i] = w[0].Text
	}
	return texts, nil
}

// ReadFile is Read for a file.
func (p *Pipeline) ReadFile(ctx context.Context, path string, opts ...ReadOption) (*Page, error) {
	img, err := p.DecodeFile(path)
	if err != nil {
		return nil, err
	}
	return p.Read(ctx, img, opts...)
}
