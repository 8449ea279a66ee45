package api

import (
	"bytes"
	_ "embed"
	"encoding/base64"
	"fmt"
	"html/template"
	"image"
	"image/png"
	"io"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
)

var (
	//go:embed document_page.html
	documentPage string

	documentTemplate = template.Must(template.New("document").Parse(documentPage))
)

// WriteDocumentPNG draws where an answer about a document stands over the picture of its page, as a PNG file with the answer
// in its texts.
func WriteDocumentPNG(out io.Writer, page image.Image, a *DocumentAnswer, made MadeBy) error {
	b := page.Bounds()
	w, h := float64(b.Dx()), float64(b.Dy())
	var place pipeline.Place
	pen := max(w, h) / 200 // so that the frame stands around the line and not on it
	for i, p := range a.Quad {
		x, y := p[0]*w-pen, p[1]*h-pen
		if i == 1 || i == 2 {
			x += 2 * pen
		}
		if i > 1 {
			y += 2 * pen
		}
		place.Quad = append(place.Quad, min(max(x, 0), w), min(max(y, 0), h))
	}
	name := fmt.Sprintf("%s, page %d", a.Document, a.Page)
	return WritePlaces(out, page, []pipeline.Place{place}, name, made.String()+": "+a.Question+" "+a.label())
}

// label is what a drawing says at the place of an answer.
func (d *DocumentAnswer) label() string {
	if d.Confidence != nil && d.Unsure {
		return "unsure"
	}
	return d.Answer.Answer
}

// documentSide bounds the sides of a page's picture in a page of HTML, in pixels.
const documentSide = 1600

// WriteDocumentHTML writes one page without dependencies: the picture of a document's page, with the place of an answer and
// of the passages that fit, and the answer.
func WriteDocumentHTML(w io.Writer, page image.Image, a *DocumentAnswer, made MadeBy) error {
	if b := page.Bounds(); max(b.Dx(), b.Dy()) > documentSide {
		small, err := vision.Fit(page, documentSide, documentSide)
		if err != nil {
			return err
		}
		page = small
	}
	var picture bytes.Buffer
	if err := png.Encode(&picture, page); err != nil {
		return err
	}
	type box struct {
		Kind, Text               string
		Left, Top, Width, Height float64 // in percent
	}
	boxOf := func(kind, text string, b [4]float64) box {
		return box{kind, text, 100 * b[0], 100 * b[1], 100 * (b[2] - b[0]), 100 * (b[3] - b[1])}
	}
	var boxes []box
	for _, p := range a.Passages {
		if p.Page == a.Page {
			boxes = append(boxes, boxOf("passage", p.Text, p.Box))
		}
	}
	boxes = append(boxes, boxOf("answer", a.Line, a.Box))
	return documentTemplate.Execute(w, struct {
		Title, Document, Question, Answer, Line, Made string
		Page                                          int
		Unsure                                        bool
		Picture                                       template.URL
		Boxes                                         []box
		Passages                                      []Passage
	}{
		a.label(), Visible(string(a.Document)), a.Question, a.Answer.Answer, a.Line, made.String(), a.Page,
		a.Confidence != nil && a.Unsure,
		template.URL("data:image/png;base64," + base64.StdEncoding.EncodeToString(picture.Bytes())), boxes, a.Passages,
	})
}
