package api

import (
	"context"
	"errors"
	"fmt"
	"image"
	"maps"
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

// pagedSuffixes are those of files of pages with a fixed look, and textSuffixes those of text with
// structure, whose pages, if any, are slides and sheets.
var (
	pagedSuffixes = []string{".pdf", ".tif", ".tiff", ".dcm", ".dicom"}
	textSuffixes  = []string{
		".csv", ".docm", ".docx", ".htm", ".html", ".markdown", ".md", ".pptm", ".pptx", ".tsv", ".xhtml", ".xlsm", ".xlsx",
	}
)

// unreadDocuments are suffixes of documents that read does not take.
var unreadDocuments = []string{".doc", ".djvu", ".epub", ".odp", ".ods", ".odt", ".ppt", ".ps", ".rtf", ".xls", ".xps"}

func pageSuffixes() []string {
	all := slices.Concat(vision.Suffixes(), pagedSuffixes, textSuffixes)
	slices.Sort(all)
	return slices.Compact(all)
}

// CheckDocument says why there is no file to read at a path.
func CheckDocument(path string) error { return pageFiles.check(path) }

// IsPaged reports whether a file is one of pages with a fixed look that is no picture, by its name;
// package pagefiles opens it, and knows some by what they begin with.
func IsPaged(name string) bool { return hasSuffix(pagedSuffixes, name) }

// IsText reports whether a file is text with structure, by its name; package pagefiles reads it. Plain text
// (.txt) is when it is named itself, and not taken from folders.
func IsText(name string) bool {
	return hasSuffix(textSuffixes, name) || hasSuffix([]string{".txt"}, name)
}

func hasSuffix(suffixes []string, name string) bool {
	return slices.Contains(suffixes, strings.ToLower(filepath.Ext(name)))
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
	// Placeless says that what Read gives has no places: pictures on a page with text of its own are not
	// read, since there is no place for their text in it.
	Placeless bool
	// Figures is a folder that figures are cut out to, as PNG files; "" cuts none.
	Figures string
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
	case !r.Placeless:
		unread = unreadParts(page)
	}
	var img image.Image
	made := Page{}
	switch {
	case whole:
		drawn, err := d.Render(ctx, number, r.DPI)
		if err != nil {
			return Page{}, WithDocumentKind(err)
		}
		read, err := r.Read(ctx, drawn)
		if err != nil {
			return Page{}, err
		}
		img, made = drawn, NewPage(name, number, read, 0)
		made.whole = true
	case len(unread) > 0:
		both, err := r.merge(ctx, d, page, unread)
		if err != nil {
			return Page{}, err
		}
		made = r.layer(name, both)
	default:
		made = r.layer(name, &mergedPage{Page: page})
	}
	if r.Figures != "" && len(made.Figures) > 0 {
		if img == nil {
			if img, err = d.Render(ctx, number, r.DPI); err != nil {
				return Page{}, WithDocumentKind(err)
			}
		}
		if err := cutFigures(&made, img, r.Figures); err != nil {
			return Page{}, err
		}
	}
	if info := d.Info(); info.Format == "DICOM" && number == 1 { // which is of all frames
		made.setRecord(info.Other)
	}
	made.Seconds = orZero(time.Since(start).Seconds())
	return made, nil
}

// Picture reads a picture as a document of one page.
func (r *DocumentReader) Picture(ctx context.Context, name string, img image.Image) (Page, error) {
	start := time.Now()
	read, err := r.Read(ctx, img)
	if err != nil {
		return Page{}, fmt.Errorf("%s: %w", name, err)
	}
	made := NewPage(name, 1, read, 0)
	made.whole = true
	if r.Figures != "" {
		if err := cutFigures(&made, img, r.Figures); err != nil {
			return Page{}, err
		}
	}
	made.Seconds = orZero(time.Since(start).Seconds())
	return made, nil
}

// TextPages makes pages of a document without a fixed look, read in so many seconds: slides and sheets are
// pages, all else is one.
func TextPages(name string, blocks []document.Block, seconds float64) []Page {
	var pages []Page
	for len(blocks) > 0 || len(pages) == 0 {
		n := 0
		for n < len(blocks) && blocks[n].Page == blocks[0].Page {
			n++
		}
		page := Page{Document: Name(name), Number: len(pages) + 1, Lines: []PageLine{}}
		if n > 0 {
			page.Number = max(blocks[0].Page, 1)
		}
		page.setBlocks(blocks[:n], func(b document.Box) pipeline.Quad { return b.Quad() })
		pages = append(pages, page)
		blocks = blocks[n:]
	}
	pages[0].Seconds = orZero(seconds)
	return pages
}

// RecordPage makes the page of a medical record that has no picture.
func RecordPage(name string, info document.Info) Page {
	page := TextPages(name, nil, 0)[0]
	page.setRecord(info.Other)
	return page
}

// setRecord puts the texts of a medical picture's record before what is written on it: on the first frame.
func (p *Page) setRecord(record map[string]string) {
	p.Record = record
	rows := [][]string{}
	for _, k := range slices.Sorted(maps.Keys(record)) {
		rows = append(rows, []string{k, record[k]})
	}
	if len(rows) == 0 {
		return
	}
	p.Blocks = slices.Insert(p.Blocks, 0, document.Block{Kind: document.TableKind, Table: document.NewTable(rows)})
	for i := range p.Blocks {
		if p.Blocks[i].Of > 0 {
			p.Blocks[i].Of++
		}
	}
	p.Text = document.Text(p.Blocks)
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
		line := PageLine{Text: lines[i].Text, Quad: short(lines[i].Box.Quad()), Confidence: 1, Words: []PageWord{}, own: true}
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
