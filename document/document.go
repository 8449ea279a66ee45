// Package document defines what pages and documents are made of: words with boxes, ruling lines,
// links, an outline, and the blocks (headings, paragraphs, tables ...) that text falls into. It holds
// types alone, and no format:
//
//	document/pdf       PDF files, by PDFium as WebAssembly
//	document/pictures  pictures as pages: TIFF and animations of several frames
//	document/office    DOCX, PPTX, XLSX, HTML, Markdown, CSV
//	document/dicom     medical pictures and their records
//	document/layout    words -> reading order, blocks, tables
//
// A program carries the formats that it imports.
package document

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"

	"github.com/crossattn/xpipe/media"
)

// ErrDocument is wrapped by every error about a document that cannot be used: damaged, empty, of a
// kind that is not read.
var ErrDocument = errors.New("document")

// ErrPassword is wrapped, beside ErrDocument, where a document is encrypted and the password is
// missing or wrong.
var ErrPassword = errors.New("password")

// ErrLimit is wrapped by errors about what was refused for its size or time.
var ErrLimit = media.ErrLimit

// ReadFile reads a file of at most so many bytes: formats that are read from memory bound it so. Errors
// are the file system's or wrap ErrLimit.
func ReadFile(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("%s: %w", name, &media.LimitError{Text: fmt.Sprintf("a file of more than %d bytes", most)})
	}
	if err != nil {
		return nil, err
	}
	return data, nil
}

// Box is an upright rectangle on a page, in units of the page's width and height as it is shown
// (cropped and turned): 0,0 is its upper left corner and 1,1 its lower right. X0 <= X1, Y0 <= Y1;
// what lies beyond the page is less than 0 or more than 1.
type Box struct {
	X0 float64 `json:"x0"`
	Y0 float64 `json:"y0"`
	X1 float64 `json:"x1"`
	Y1 float64 `json:"y1"`
}

// W returns the width.
func (b Box) W() float64 { return b.X1 - b.X0 }

// H returns the height.
func (b Box) H() float64 { return b.Y1 - b.Y0 }

// CX returns the middle from left to right.
func (b Box) CX() float64 { return (b.X0 + b.X1) / 2 }

// CY returns the middle from top to bottom.
func (b Box) CY() float64 { return (b.Y0 + b.Y1) / 2 }

// Empty reports whether the box has no area.
func (b Box) Empty() bool { return b.X1 <= b.X0 || b.Y1 <= b.Y0 }

// Union returns the smallest box around both. The zero Box is nothing.
func (b Box) Union(o Box) Box {
	switch {
	case b == Box{}:
		return o
	case o == Box{}:
		return b
	}
	return Box{min(b.X0, o.X0), min(b.Y0, o.Y0), max(b.X1, o.X1), max(b.Y1, o.Y1)}
}

// Intersect returns what both cover; an empty box where they do not meet.
func (b Box) Intersect(o Box) Box {
	return Box{max(b.X0, o.X0), max(b.Y0, o.Y0), min(b.X1, o.X1), min(b.Y1, o.Y1)}
}

// Holds reports whether a point lies in the box.
func (b Box) Holds(x, y float64) bool { return x >= b.X0 && x <= b.X1 && y >= b.Y0 && y <= b.Y1 }

// Quad returns the corners, clockwise from the upper left: the form that boxes of read text have.
func (b Box) Quad() [4][2]float64 {
	return [4][2]float64{{b.X0, b.Y0}, {b.X1, b.Y0}, {b.X1, b.Y1}, {b.X0, b.Y1}}
}

// Word is a run of characters without white space.
type Word struct {
	Text string `json:"text"`
	Box  Box    `json:"box"`
	// Size is the height of the font in points; 0 where it is not known.
	Size float64 `json:"size,omitempty"`
	Bold bool    `json:"bold,omitempty"`
	// Angle is how far the word is turned, clockwise, in degrees from 0 up to 360.
	Angle float64 `json:"angle,omitempty"`
	// Hidden says that the word is drawn invisibly (text render mode 3), as programs do that lay
	// what they read beneath a scan. It is somebody's reading, not what the page shows.
	Hidden bool `json:"hidden,omitempty"`
}

// Link leads from a part of a page to an address, or to a page of the same document.
type Link struct {
	Box  Box    `json:"box"`
	URL  string `json:"url,omitempty"`
	Page int    `json:"page,omitempty"` // from 1; 0 where it leads out of the document
}

// Rule is a ruling line: drawn straight, upright or level, or a thin filled rectangle. One of the
// sides of its box is thin or nothing.
type Rule = Box

// Page is what a page says of itself, beside its picture.
type Page struct {
	Number        int     `json:"page"` // from 1
	Label         string  `json:"label,omitempty"`
	Width, Height float64 // in points of 1/72 inch, as shown: cropped and turned; pictures: pixels
	// Words of the text layer, in the order of the file, which need not be that of reading.
	Words []Word
	// Rules are the ruling lines, for tables.
	Rules []Rule
	// Figures are boxes of pictures and drawings.
	Figures []Box
	// Pictures are the boxes of those made of pixels, on which there may be text that Words lack.
	Pictures []Box
	Links    []Link
	// Partial says that a page had more objects than are looked through: Rules and Figures may lack
	// some.
	Partial bool
}

// Visible returns the words that the page shows: those that are not Hidden.
func (p *Page) Visible() []Word {
	shown := make([]Word, 0, len(p.Words))
	for _, w := range p.Words {
		if !w.Hidden {
			shown = append(shown, w)
		}
	}
	return shown
}

// Mark is an entry of a document's outline.
type Mark struct {
	Title string `json:"title"`
	Level int    `json:"level"` // from 1
	Page  int    `json:"page"`  // from 1; 0 where it leads to none
}

// Info is what a document says of itself.
type Info struct {
	Format   string `json:"format"`
	Title    string `json:"title,omitempty"`
	Author   string `json:"author,omitempty"`
	Subject  string `json:"subject,omitempty"`
	Keywords string `json:"keywords,omitempty"`
	Creator  string `json:"creator,omitempty"`
	Producer string `json:"producer,omitempty"`
	Created  string `json:"created,omitempty"`
	Modified string `json:"modified,omitempty"`
	// Other is what the format has beyond these, by its own names.
	Other map[string]string `json:"other,omitempty"`
}

// Paged is a document whose pages have a fixed look: PDF files and pictures. Methods may be called
// at once by several goroutines, but for Close.
type Paged interface {
	// Pages returns their number.
	Pages() int
	// Page returns the words, lines and links of page n, from 1. A page that cannot be read is an
	// error that names it; the others are none the worse.
	Page(ctx context.Context, n int) (*Page, error)
	// Render draws page n, from 1, at a resolution in dots an inch: ceil(points/72*dpi) pixels.
	// Pictures come as they are, whatever dpi is. The picture is opaque.
	Render(ctx context.Context, n int, dpi float64) (*image.RGBA, error)
	Info() Info
	Outline() []Mark
	Close() error
}
