// Package reading reads pictures of pages: a graph finds the lines of text (DB, Liao et al.,
// 1911.08947), a second one tells lines that stand on their head, a third writes down what each
// says (CTC, Graves et al., 2006). Between them stand the steps of RapidOCR 3.10.0, equal to it in
// every quadrilateral and text but where that errs: a whole page decides its direction, and the
// order of lines is that of reading. It knows no bundle and no engine.
package reading

import (
	"context"
	"image/color"
	"strings"
	"unicode/utf8"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/document/layout"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/vision"
	"github.com/crossattn/xpipe/vision/geometry"
)

// Graph runs a graph from one float32 tensor [B,3,H,W] to another.
type Graph func(ctx context.Context, pixels *tensor.Tensor) (*tensor.Tensor, error)

// Reader reads pages. It is safe for concurrent use where its graphs are.
type Reader struct {
	// Detect gives for a page [1,3,H,W], sides multiples of 32, how likely each pixel is text:
	// [1,1,H,W].
	Detect Graph
	// Direct gives for pictures of lines [B,3,48,192] the probabilities of upright and turned by 180
	// degrees: [B,2]. nil: all pages are upright.
	Direct Graph
	// Recognize gives for pictures of lines [B,3,48,W] the probabilities of each class in columns
	// from the left: [B,T,C].
	Recognize Graph
	// Characters are those of the classes from the second on; the first is the blank of CTC.
	Characters []string
}

// Options are the parameters of one reading.
type Options struct {
	// Words gives each word of a line its place, too.
	Words bool
	// Confidence is what a line must reach; those below are left out. 0 stands for 0.5, a negative
	// number for none.
	Confidence float64
	// WriteLines, where it is not nil, says what stands on upright pictures of lines, a text for each, in
	// the place of the Reader's recognizer. Lines have the confidence 1 then, and no words.
	WriteLines func(ctx context.Context, lines []*vision.RGB) ([]string, error)
	// Prompt takes the place of a model's own prompt where it writes whole pages down unasked; "": none.
	Prompt string
}

// Page is what is read on a picture of a page.
type Page struct {
	// Width and Height are the picture's, in pixels.
	Width, Height int
	// Turn is by how many degrees clockwise the picture has to be turned for the text to stand
	// upright: 0, 90, 180 or 270.
	Turn int
	// Lines are in reading order.
	Lines []Line
	// Blocks are the page's headings, paragraphs, tables, figures and so on, in reading order. Their
	// boxes are on the page as it stands upright and level; Quad says where on the picture they lie.
	Blocks []document.Block
	// Fields are what a model wrote as a form's fields (Donut): what package document/donut makes of
	// its markup; nil where there is no such thing.
	Fields any

	upright *upright
	words   []document.Word
}

// Layer returns what is read as the words of a page as the picture shows it: not turned, its sizes in
// pixels. Words that run otherwise than from the left have an angle.
func (p *Page) Layer() *document.Page {
	return &document.Page{Number: 1, Width: float64(p.Width), Height: float64(p.Height), Words: p.words}
}

// Quad returns where a box of Blocks lies on the picture.
func (p *Page) Quad(b document.Box) Quad {
	if p.upright == nil {
		return b.Quad()
	}
	return p.upright.quad(b)
}

// Text returns the page's text: the blocks', parted by blank lines, cells of a row by tabs.
func (p *Page) Text() string { return document.Text(p.Blocks) }

// Quad is a quadrilateral in units of the picture's width and height: its corners from the one at
// the top left of the picture clockwise, each x and y.
type Quad [4][2]float64

// Box is the upright rectangle around it.
func (q Quad) Box() document.Box {
	b := document.Box{X0: q[0][0], Y0: q[0][1], X1: q[0][0], Y1: q[0][1]}
	for _, c := range q[1:] {
		b = document.Box{X0: min(b.X0, c[0]), Y0: min(b.Y0, c[1]), X1: max(b.X1, c[0]), Y1: max(b.Y1, c[1])}
	}
	return b
}

// Line is a line of text, or a cell of a table: what the detector takes for one.
type Line struct {
	Text       string
	Quad       Quad
	Confidence float64 // the mean over its characters, 0 to 1
	Detected   float64 // how likely the detector holds the place for text, 0 to 1
	Words      []Word  // nil unless Options.Words
}

// Word is a word of a line; of a line with Chinese or Japanese characters, each of those.
type Word struct {
	Text       string
	Quad       Quad
	Confidence float64
}

// defaultConfidence is what a line must reach unless Options say otherwise.
const defaultConfidence = 0.5

// Read reads a page.
func (r *Reader) Read(ctx context.Context, img *vision.RGB, o Options) (*Page, error) {
	page := &Page{Width: img.Width, Height: img.Height}
	sheet := newSheet(img)
	regions, err := r.detect(ctx, sheet.picture)
	if err != nil || len(regions) == 0 {
		return page, err
	}
	strips := make([]*strip, len(regions))
	for i, region := range regions {
		strips[i] = newStrip(sheet.picture, region)
	}
	if err := r.turn(ctx, strips); err != nil {
		return nil, err
	}
	if err := r.recognize(ctx, strips, o.WriteLines); err != nil {
		return nil, err
	}
	least := o.Confidence
	if least == 0 {
		least = defaultConfidence
	}
	kept := strips[:0]
	for _, s := range strips {
		if strings.TrimSpace(s.text) != "" && s.confidence >= least {
			kept = append(kept, s)
		}
	}
	page.Turn = pageTurn(kept)
	page.upright = newUpright(sheet, kept, page.Turn)
	for _, at := range page.upright.order(kept) {
		s := kept[at]
		line := Line{Text: s.text, Quad: sheet.quad(s.quad), Confidence: s.confidence, Detected: s.score}
		if o.Words && o.WriteLines == nil {
			for _, w := range s.words(true) {
				w.Quad = sheet.quad(s.part(w.from, w.to))
				line.Words = append(line.Words, w.Word)
			}
		}
		page.Lines = append(page.Lines, line)
		for _, w := range s.words(false) {
			page.words = append(page.words, document.Word{
				Text: w.Text, Box: sheet.quad(s.part(w.from, w.to)).Box(), Angle: float64(s.angle()),
				Size: s.high() * float64(sheet.scaleY) / boxBySize,
			})
		}
	}
	page.Blocks = layout.Analyze(page.upright.page(kept, regions))
	page.upright.sheet = sheet.bare()
	return page, nil
}

// sheet is a page as the detector sees it: within bounds of its size and shape, with what was done to
// it.
type sheet struct {
	picture       *vision.RGB
	width, height int     // of the page
	scaleX        float32 // of the page's pixels to the picture's
	scaleY        float32
	left, top     int // of the page in the picture
}

// bare is a sheet without its pixels.
func (s *sheet) bare() *sheet {
	c := *s
	c.picture = nil
	return &c
}

// corners are those of the page in the sheet's picture.
func (s *sheet) corners() geometry.Quad {
	left, top := float64(s.left), float64(s.top)
	right, bottom := float64(s.picture.Width-s.left), float64(s.picture.Height-s.top)
	return geometry.Quad{{X: left, Y: top}, {X: right, Y: top}, {X: right, Y: bottom}, {X: left, Y: bottom}}
}

// Bounds of a page's sides in pixels, and of how much longer one may be than the other: a line of
// text alone gets bands round it.
const (
	longest  = 2000
	shortest = 30
	slimmest = 8
)

// multiple is that of the sides that the detector takes.
const multiple = 32

// newSheet brings a page within the bounds.
func newSheet(img *vision.RGB) *sheet {
	s := &sheet{picture: img, width: img.Width, height: img.Height, scaleX: 1, scaleY: 1}
	w, h := img.Width, img.Height
	fit := func(scale float64) {
		w, h = divided(int(float64(w)*scale)), divided(int(float64(h)*scale))
	}
	if long := max(w, h); long > longest {
		fit(float64(longest) / float64(long))
	}
	if short := min(w, h); short < shortest {
		fit(float64(shortest) / float64(short))
	}
	if long := max(w, h); long > slimmest*longest {
		w, h = min(w, slimmest*longest), min(h, slimmest*longest)
	}
	if w != img.Width || h != img.Height {
		s.picture = geometry.Resize(img, w, h)
		s.scaleX = float32(float64(img.Width) / float64(w))
		s.scaleY = float32(float64(img.Height) / float64(h))
	}
	band := func(long, short int) int {
		return abs(2*max(long/slimmest, shortest)-short) / 2
	}
	switch {
	case h <= shortest || w > slimmest*h:
		s.top = band(w, h)
	case h > slimmest*w:
		s.left = band(h, w)
	default:
		return s
	}
	wide := vision.NewRGB(w+2*s.left, h+2*s.top)
	for y := range h {
		from := s.picture.Pix[y*s.picture.Stride:]
		copy(wide.Pix[(y+s.top)*wide.Stride+4*s.left:][:4*w], from[:4*w])
	}
	s.picture = wide
	return s
}

func abs(n int) int { return max(n, -n) }

// quad returns a quadrilateral of the picture in units of the page's width and height.
func (s *sheet) quad(q geometry.Quad) Quad {
	var out Quad
	unit := func(v, before, scale float32, size int) float64 {
		v = float32((v - before) * scale)
		return float64(min(max(v, 0), float32(size))) / float64(size)
	}
	for i, p := range q {
		out[i] = [2]float64{
			unit(float32(p.X), float32(s.left), s.scaleX, s.width),
			unit(float32(p.Y), float32(s.top), s.scaleY, s.height),
		}
	}
	return out
}

// Opaque blends what is transparent of a picture with white where the visible pixels are dark, and
// with black where they are light.
func Opaque(img *vision.RGB) *vision.RGB {
	if img.Alpha == nil {
		return img
	}
	var sum float64
	visible := 0
	for y := range img.Height {
		row := img.Pix[y*img.Stride:]
		for x := range img.Width {
			if img.Alpha[y*img.Width+x] > 0 {
				p := row[4*x:]
				sum += 0.299*float64(p[0]) + 0.587*float64(p[1]) + 0.114*float64(p[2])
				visible++
			}
		}
	}
	if visible > 0 && sum/float64(visible) >= 128 {
		return img.On(color.RGBA{A: 255})
	}
	return img.On(color.RGBA{255, 255, 255, 255})
}

// NewPage makes a page of lines that stand upright, as a model wrote them down on a picture of width by
// height pixels, in any order.
func NewPage(width, height int, lines []Line) *Page {
	p := &Page{Width: width, Height: height}
	var boxes []document.Box
	for _, l := range lines {
		b := l.Quad.Box()
		boxes = append(boxes, b)
		// A word takes as much of its line as of the line's characters.
		words, at := strings.Fields(l.Text), 0
		all := max(utf8.RuneCountInString(strings.Join(words, " ")), 1)
		for _, w := range words {
			n := utf8.RuneCountInString(w)
			p.words = append(p.words, document.Word{Text: w, Size: b.H() * float64(height) / boxBySize, Box: document.Box{
				X0: b.X0 + b.W()*float64(at)/float64(all), X1: b.X0 + b.W()*float64(at+n)/float64(all), Y0: b.Y0, Y1: b.Y1,
			}})
			at += n + 1
		}
	}
	for _, i := range layout.Order(boxes, float64(width)/float64(max(height, 1))) {
		p.Lines = append(p.Lines, lines[i])
	}
	p.Blocks = layout.Analyze(p.Layer())
	return p
}
