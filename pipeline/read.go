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

// Read reads the text of a page: its lines in reading order, each with its place, and the blocks that
// they make: headings, paragraphs, tables, figures. Transparent pixels are blended with black where what
// is drawn is light, else with white.
//
// A model that writes pages down (Florence-2, and those that write DocTags) does so with the generation
// parameters that it has, in as many tokens as a page may take; it gives no confidence (1) and no words.
// Models that do not read give ErrUnsupported.
func (p *Pipeline) Read(
	ctx context.Context, img image.Image, opts ...ReadOption,
) (page *Page, err error) {
	m, ok := p.model.(family.PageReader)
	if !ok {
		return p.writePage(ctx, img)
	}
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	if err := p.checkPage(img); err != nil {
		return nil, err
	}
	var o Reading
	for _, change := range opts {
		if change != nil {
			change(&o)
		}
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
func (p *Pipeline) writePage(ctx context.Context, img image.Image) (*Page, error) {
	m, ok := p.model.(family.PageScribe)
	question, writes := "", false
	if ok {
		question, writes = m.PageQuestion()
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
	texts, err := p.Generate(ctx, []Request{{Image: img, Question: question}}, func(g *Generation) {
		g.MaxNewTokens = pageTokens
	})
	if err != nil {
		return nil, err
	}
	size := img.Bounds().Size()
	return m.PageOf(texts[0][0].Text, size.X, size.Y), nil
}

// ReadFile is Read for a file.
func (p *Pipeline) ReadFile(ctx context.Context, path string, opts ...ReadOption) (*Page, error) {
	img, err := p.DecodeFile(path)
	if err != nil {
		return nil, err
	}
	return p.Read(ctx, img, opts...)
}
