package pdf

import (
	"context"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/klippa-app/go-pdfium/enums"
	"github.com/klippa-app/go-pdfium/references"
	"github.com/klippa-app/go-pdfium/requests"
	"github.com/klippa-app/go-pdfium/responses"

	"github.com/crossattn/xpipe/document"
)

// Page returns what page n, from 1, has beside its picture.
func (d *Document) Page(ctx context.Context, n int) (*document.Page, error) {
	var page *document.Page
	err := d.onPage(ctx, n, func(w *worker) (err error) {
		page, err = w.read(n)
		return err
	})
	return page, err
}

func (w *worker) read(n int) (*document.Page, error) {
	page := &document.Page{Number: n}
	var err error
	if page.Width, page.Height, err = w.size(n); err != nil {
		return nil, err
	}
	if label, err := w.instance.FPDF_GetPageLabel(&requests.FPDF_GetPageLabel{
		Document: w.doc, Page: n - 1,
	}); err == nil {
		page.Label = label.Label
	}
	view, err := w.view(n, page)
	if err != nil {
		return nil, err
	}
	objects, err := w.objects(n, view, page)
	if err != nil {
		return nil, err
	}
	if objects.text {
		if page.Words, err = w.words(n, view, objects); err != nil {
			return nil, err
		}
	}
	page.Links = w.links(n, view)
	return page, nil
}

// affine maps points of a page (x to the right, y up, in points of its own space) to units of its
// width and height as it is shown: x' = a x + c y + e, y' = b x + d y + f.
type affine struct{ a, b, c, d, e, f float64 }

func (m affine) point(x, y float64) (float64, float64) {
	return m.a*x + m.c*y + m.e, m.b*x + m.d*y + m.f
}

// after returns the map that takes inner first and m then.
func (m affine) after(inner affine) affine {
	e, f := m.point(inner.e, inner.f)
	return affine{
		m.a*inner.a + m.c*inner.b, m.b*inner.a + m.d*inner.b,
		m.a*inner.c + m.c*inner.d, m.b*inner.c + m.d*inner.d, e, f,
	}
}

// box returns the box around a rectangle that is mapped.
func (m affine) box(left, bottom, right, top float64) document.Box {
	x0, y0 := m.point(left, bottom)
	x1, y1 := m.point(right, top)
	return document.Box{X0: min(x0, x1), Y0: min(y0, y1), X1: max(x0, x1), Y1: max(y0, y1)}
}

// viewUnits is how finely PDFium is asked where points lie, which it says in whole numbers.
const viewUnits = 10_000_000

// view asks PDFium where three points of the page are shown: it knows of cropping and turning.
func (w *worker) view(n int, page *document.Page) (affine, error) {
	at := func(x, y float64) (float64, float64, error) {
		p, err := w.instance.FPDF_PageToDevice(&requests.FPDF_PageToDevice{
			Page: w.page(n), SizeX: viewUnits, SizeY: viewUnits, PageX: x, PageY: y,
		})
		if err != nil {
			return 0, 0, err
		}
		return float64(p.DeviceX) / viewUnits, float64(p.DeviceY) / viewUnits, nil
	}
	span := max(page.Width, page.Height, 1)
	ox, oy, err := at(0, 0)
	if err != nil {
		return affine{}, err
	}
	xx, xy, err := at(span, 0)
	if err != nil {
		return affine{}, err
	}
	yx, yy, err := at(0, span)
	if err != nil {
		return affine{}, err
	}
	return affine{
		(xx - ox) / span, (xy - oy) / span, (yx - ox) / span, (yy - oy) / span, ox, oy,
	}, nil
}

// words reads the text layer, in the order of the file.
func (w *worker) words(n int, view affine, objects objects) ([]document.Word, error) {
	read, err := w.instance.GetPageTextStructured(&requests.GetPageTextStructured{
		Page: w.page(n), Mode: requests.GetPageTextStructuredModeChars,
	})
	if err != nil {
		return nil, err
	}
	var words []document.Word
	for _, run := range runs(read.Chars) {
		words = append(words, run.word(view))
	}
	if err := w.fonts(n, words, runs(read.Chars), objects); err != nil {
		return nil, err
	}
	return words, nil
}

// run is a range of characters without white space.
type run struct {
	chars []*responses.GetPageTextStructuredChar
	first int // index of the first in the page's text
}

// runs parts characters at white space, which PDFium makes up where there is a gap, and where one lies
// so far from the last that they are no word: another line, or backwards.
func runs(chars []*responses.GetPageTextStructuredChar) []run {
	var all []run
	start := -1
	tall := 0.0 // the highest character of the run: dots and commas say little of the font
	end := func(i int) {
		if start >= 0 {
			all = append(all, run{chars[start:i], start})
		}
		start = -1
	}
	for i, c := range chars {
		if clean(c.Text) == "" {
			end(i)
			continue
		}
		high := c.PointPosition.Top - c.PointPosition.Bottom
		if start >= 0 && apart(chars[i-1], c, max(tall, high)) {
			end(i)
		}
		if start < 0 {
			start, tall = i, 4
		}
		tall = max(tall, high)
		if atLineEnd(c.Text) {
			end(i + 1)
		}
	}
	end(len(chars))
	return all
}

// apart reports whether b cannot go on the word that a is of, whose characters are tall points high.
// Turned text is left to PDFium.
func apart(a, b *responses.GetPageTextStructuredChar, tall float64) bool {
	if a.Angle != b.Angle {
		return true
	}
	p, q := a.PointPosition, b.PointPosition
	if a.Angle != 0 || p.Right <= p.Left || q.Right <= q.Left {
		return false
	}
	return q.Left-p.Right > 2*tall || p.Left-q.Right > tall ||
		q.Bottom-p.Top > tall || p.Bottom-q.Top > tall
}

func (r run) word(view affine) document.Word {
	var text strings.Builder
	var box document.Box
	for _, c := range r.chars {
		text.WriteString(clean(c.Text))
		if p := c.PointPosition; p.Right > p.Left || p.Top > p.Bottom {
			box = box.Union(view.box(p.Left, p.Bottom, p.Right, p.Top))
		}
	}
	// PDFium's angle turns clockwise on the page's own axes; the page itself may be turned.
	s, c := math.Sincos(-r.chars[0].Angle)
	dx, dy := view.a*c+view.c*s, view.b*c+view.d*s
	return document.Word{Text: text.String(), Box: box, Angle: degrees(dx, dy, view)}
}

// degrees returns how far a direction on the shown page is turned, clockwise, to a tenth.
func degrees(dx, dy float64, view affine) float64 {
	// The units of width and height differ: what a page's square is wide and high in them makes up.
	wide, high := math.Hypot(view.a, view.c), math.Hypot(view.b, view.d)
	if wide == 0 || high == 0 {
		return 0
	}
	turned := math.Round(math.Atan2(dy/high, dx/wide)*1800/math.Pi) / 10
	if turned < 0 {
		turned += 360
	}
	return math.Mod(turned, 360)
}

// atLineEnd reports whether a character is what PDFium makes of a hyphen at the end of a line, behind
// which it puts no white space.
func atLineEnd(s string) bool { return s == "\x02" || s == "\ufffe" }

// clean returns what a character stands for; "" for white space and what shows nothing.
func clean(s string) string {
	r, _ := utf8.DecodeRuneInString(s)
	switch {
	case s == "": // no Unicode for the glyph
		return "\ufffd"
	case atLineEnd(s), r == 0xad:
		return "-"
	case r >= 0x80 && r <= 0x9f: // bullets of TeX's symbol fonts
		return "•"
	case r <= ' ', r == 0x7f, r == 0xa0, r >= 0x2000 && r <= 0x200f, r == 0x202f, r == 0x205f,
		r >= 0x2028 && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0x3000, r == 0xfeff:
		return ""
	case r >= 0xfb00 && r <= 0xfb06:
		return [...]string{"ff", "fi", "fl", "ffi", "ffl", "st", "st"}[r-0xfb00]
	}
	return string(r)
}

// fonts finds the size and weight of the words, and which are hidden: each where it may differ from
// the word before.
func (w *worker) fonts(n int, words []document.Word, runs []run, objects objects) error {
	opened, err := w.instance.FPDFText_LoadPage(&requests.FPDFText_LoadPage{Page: w.page(n)})
	if err != nil {
		return err
	}
	text := opened.TextPage
	defer w.instance.FPDFText_ClosePage(&requests.FPDFText_ClosePage{TextPage: text})
	for i := range words {
		words[i].Size, words[i].Bold = w.font(text, runs[i].first)
		if objects.hidden {
			words[i].Hidden = w.hidden(text, runs[i].first)
		}
	}
	return nil
}

// font returns the size and weight of a character.
func (w *worker) font(text references.FPDF_TEXTPAGE, i int) (size float64, bold bool) {
	in := w.instance
	if s, err := in.FPDFText_GetFontSize(&requests.FPDFText_GetFontSize{TextPage: text, Index: i}); err == nil {
		size = s.FontSize
	}
	// A font of size 1 under a matrix that makes it 12 is common.
	if m, err := in.FPDFText_GetMatrix(&requests.FPDFText_GetMatrix{TextPage: text, Index: i}); err == nil {
		size *= math.Hypot(float64(m.Matrix.C), float64(m.Matrix.D))
	}
	if f, err := in.FPDFText_GetFontInfo(&requests.FPDFText_GetFontInfo{TextPage: text, Index: i}); err == nil {
		name := strings.ToLower(f.FontName)
		bold = f.Flags&(1<<18) != 0 || strings.Contains(name, "bold") || strings.Contains(name, "black") ||
			strings.Contains(name, "heavy")
	}
	return math.Round(size*100) / 100, bold
}

// hidden reports whether a character is drawn invisibly.
func (w *worker) hidden(text references.FPDF_TEXTPAGE, i int) bool {
	object, err := w.instance.FPDFText_GetTextObject(&requests.FPDFText_GetTextObject{TextPage: text, Index: i})
	if err != nil {
		return false
	}
	w.handles++
	mode, err := w.instance.FPDFTextObj_GetTextRenderMode(
		&requests.FPDFTextObj_GetTextRenderMode{PageObject: object.TextObject})
	return err == nil && invisible(mode.TextRenderMode)
}

func invisible(mode enums.FPDF_TEXT_RENDERMODE) bool {
	return mode == enums.FPDF_TEXTRENDERMODE_INVISIBLE || mode == enums.FPDF_TEXTRENDERMODE_CLIP
}
