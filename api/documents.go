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
	// Read reads the picture of a page.
	Read func(ctx context.Context, img image.Image) (*pipeline.Page, error)
	// OCR says when a page's picture is read rather than its text layer: "auto" where that has little or is no
	// text, "always" or "never".
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
	if r.OCR == "never" || r.OCR != "always" && hasText(page) {
		return r.layer(name, page, start), nil
	}
	img, err := d.Render(ctx, number, r.DPI)
	if err != nil {
		return Page{}, WithDocumentKind(err)
	}
	read, err := r.Read(ctx, img)
	if err != nil {
		return Page{}, err
	}
	return NewPage(name, number, read, time.Since(start).Seconds()), nil
}

// What a text layer must have to be read in its picture's place: no more than a tenth of signs that stand for
// none, and on a page that a picture covers, which may be a scan with a stamp, more than a line or two.
const (
	mostUnknown   = 0.1
	coveringShare = 0.5
	fewSigns      = 160
)

// hasText reports whether a page's text layer says what the page shows. What is hidden in it does not count:
// it is what another program has read.
func hasText(page *document.Page) bool {
	signs, unknown := 0, 0
	for _, w := range page.Visible() {
		for _, r := range w.Text {
			signs++
			if r == '\uFFFD' {
				unknown++
			}
		}
	}
	if signs == 0 || float64(unknown) > mostUnknown*float64(signs) {
		return false
	}
	for _, f := range page.Figures {
		if shown := f.Intersect(document.Box{X1: 1, Y1: 1}); !shown.Empty() && shown.W()*shown.H() > coveringShare {
			return signs >= fewSigns
		}
	}
	return true
}

// layer makes a page's line of its text layer.
func (r *DocumentReader) layer(name string, page *document.Page, start time.Time) Page {
	blocks := pagelayout.Analyze(page)
	pixels := func(points float64) int { return int(math.Ceil(points / 72 * r.DPI)) }
	made := Page{
		Document: Name(name), Number: page.Number, Width: max(pixels(page.Width), 1), Height: max(pixels(page.Height), 1),
		Lines: []PageLine{},
	}
	made.setBlocks(blocks, func(b document.Box) pipeline.Quad { return b.Quad() })
	lines := pagelayout.Lines(page)
	boxes := make([]document.Box, len(lines))
	for i, l := range lines {
		boxes[i] = l.Box
	}
	for _, i := range pagelayout.Order(boxes, page.Width/page.Height) {
		line := PageLine{Text: lines[i].Text, Quad: short(lines[i].Box.Quad()), Confidence: 1, Words: []PageWord{}}
		if r.Words {
			for _, w := range lines[i].Words {
				line.Words = append(line.Words, PageWord{w.Text, short(w.Box.Quad()), 1})
			}
		}
		made.Lines = append(made.Lines, line)
	}
	made.Seconds = orZero(time.Since(start).Seconds())
	return made
}
