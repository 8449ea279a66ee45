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

// Read reads the text of a page: its lines in reading order, each with its place. Transparent pixels
// are blended with black where what is drawn is light, else with white. Models that do not read give
// ErrUnsupported.
func (p *Pipeline) Read(
	ctx context.Context, img image.Image, opts ...ReadOption,
) (page *Page, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	m, ok := p.model.(family.PageReader)
	if !ok {
		return nil, p.unsupported("read pages")
	}
	if err := p.checkPicture(img); err != nil {
		return nil, err
	}
	if img.Bounds().Empty() {
		return nil, fmt.Errorf("%w: the picture has no pixels", ErrImage)
	}
	var o Reading
	for _, change := range opts {
		if change != nil {
			change(&o)
		}
	}
	return m.ReadPage(ctx, reading.Opaque(vision.FromImage(img)), o)
}

// ReadFile is Read for a file.
func (p *Pipeline) ReadFile(ctx context.Context, path string, opts ...ReadOption) (*Page, error) {
	img, err := p.DecodeFile(path)
	if err != nil {
		return nil, err
	}
	return p.Read(ctx, img, opts...)
}
