package api

import (
	"context"
	"errors"
	"image"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/crossattn/xpipe/document"
	pagelayout "github.com/crossattn/xpipe/document/layout"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
)

// documentSuffixes are those of files of several pages that are read.
var documentSuffixes = []string{".pdf", ".tif", ".tiff"}

// unreadDocuments are suffixes of documents that read does not take.
var unreadDocuments = []string{
	".doc", ".docx", ".djvu", ".epub", ".htm", ".html", ".md", ".odp", ".ods", ".odt", ".ppt", ".pptx", ".ps",
	".rtf", ".xls", ".xlsx", ".xps",
}

func pageSuffixes() []string {
	all := slices.Concat(vision.Suffixes(), documentSuffixes)
	slices.Sort(all)
	return slices.Compact(all)
}

// CheckDocument says why there is no file to read at a path.
func CheckDocument(path string) error { return pageFiles.check(path) }

// IsDocument reports whether a file is one of several pages, by its name; package pagefiles opens it.
func IsDocument(name string) bool {
	return slices.Contains(documentSuffixes, strings.ToLower(filepath.Ext(name)))
}

// WithDocumentKind gives errors of package document their kind.
func WithDocumentKind(err error) error {
	if errors.Is(err, document.ErrDocument) || errors.Is(err, document.ErrLimit) {
		return WithKind(err, KindInput)
	}
	return err
}

// DocumentReader reads the pages of documents.
type DocumentReader struct {
	// Read reads the picture of a page. Words that it places are taken where it gives them.
	Read func(ctx context.Context, img image.Image) (*pipeline.Page, error)
	// OCR says when a page's picture is read beside its text layer, or in its place:
	//
	//	auto    where that has little text, none, or signs that stand for nothing; and where pictures
	//	        show what it lacks
	//	always  every page, in its place
	//	never   no page: what another program has read and hidden in the layer counts, too
	OCR string
	// DPI is the resolution in which pages are drawn.
	DPI float64
	// Words gives each word its place, too.
	Words bool
}

// OCRChoices are the values of DocumentReader.OCR.
var OCRChoices = []string{"auto", "always", "never"}

// Page reads page number, from 1, of a document.
func (r *DocumentReader) Page(ctx context.Context, name string, d document.Paged, number int) (Page, error) {
	start := time.Now()
	page, err := d.Page(ctx, number)
	if err != nil {
		return Page{}, WithDocumentKind(err)
	}
	whole := r.OCR == "always"
	var unread []document.Box
	switch {
	case r.OCR == "never":
		page = unhidden(page)
	case whole || !hasText(page):
		whole = true
	default:
		unread = unreadParts(page)
	}
	made := Page{}
	switch {
	case whole:
		img, err := d.Render(ctx, number, r.DPI)
		if err != nil {
			return Page{}, WithDocumentKind(err)
		}
		read, err := r.Read(ctx, img)
		if err != nil {
			return Page{}, err
		}
		made = NewPage(name, number, read, 0)
	case len(unread) > 0:
		both, err := r.merge(ctx, d, page, unread)
		if err != nil {
			return Page{}, err
		}
		made = r.layer(name, both)
	default:
		made = r.layer(name, &mergedPage{Page: page})
	}
	made.Seconds = orZero(time.Since(start).Seconds())
	return made, nil
}

// layer makes a page's line of its words and those that were read beside them.
func (r *DocumentReader) layer(name string, page *mergedPage) Page {
	pixels := func(points float64) int { return int(math.Ceil(points / 72 * r.DPI)) }
	made := Page{
		Document: Name(name), Number: page.Number, Width: max(pixels(page.Width), 1), Height: max(pixels(page.Height), 1),
		Lines: []PageLine{},
	}
	lines := pagelayout.Lines(page.Page)
	boxes := make([]document.Box, 0, len(lines)+len(page.read))
	for _, l := range lines {
		boxes = append(boxes, l.Box)
	}
	for _, l := range page.read {
		boxes = append(boxes, l.Quad.Box())
	}
	for _, i := range pagelayout.Order(boxes, page.Width/page.Height) {
		if i >= len(lines) {
			made.Lines = append(made.Lines, page.read[i-len(lines)])
			continue
		}
		line := PageLine{Text: lines[i].Text, Quad: short(lines[i].Box.Quad()), Confidence: 1, Words: []PageWord{}}
		if r.Words {
			for _, w := range lines[i].Words {
				line.Words = append(line.Words, PageWord{w.Text, short(w.Box.Quad()), 1})
			}
		}
		made.Lines = append(made.Lines, line)
	}
	all := *page.Page
	all.Words = slices.Concat(page.Words, page.readWords)
	made.setBlocks(pagelayout.Analyze(&all), func(b document.Box) pipeline.Quad { return b.Quad() })
	return made
}
