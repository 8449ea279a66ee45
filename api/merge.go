package api

import (
	"context"
	"image"
	"image/color"
	"image/draw"
	"math"
	"slices"
	"unicode"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/pipeline"
)

// What a text layer must have to be taken at its word: no more than a tenth of signs that stand for
// none, some letters among them, and on a page that a picture covers, which may be a scan with a stamp,
// more than a line or two.
const (
	mostUnknown   = 0.1
	leastLetters  = 0.25
	coveringShare = 0.5
	fewSigns      = 160
)

// hasText reports whether a page's text layer says what the page shows. What is hidden in it does not count:
// it is what another program has read.
func hasText(page *document.Page) bool {
	signs, unknown, letters := 0, 0, 0
	for _, w := range page.Visible() {
		for _, r := range w.Text {
			signs++
			switch {
			case r == unicode.ReplacementChar || unicode.In(r, unicode.Co): // fonts without a table of characters
				unknown++
			case unicode.IsLetter(r) || unicode.IsDigit(r):
				letters++
			}
		}
	}
	if signs == 0 || float64(unknown) > mostUnknown*float64(signs) || float64(letters) < leastLetters*float64(signs) {
		return false
	}
	for _, f := range page.Pictures {
		if shown := shownPart(f); !shown.Empty() && shown.W()*shown.H() > coveringShare {
			return signs >= fewSigns
		}
	}
	return true
}

func shownPart(b document.Box) document.Box { return b.Intersect(document.Box{X1: 1, Y1: 1}) }

// unhidden returns a page with the words that another program has read and hidden, where it shows none.
func unhidden(page *document.Page) *document.Page {
	if len(page.Visible()) > 0 || len(page.Words) == 0 {
		return page
	}
	p := *page
	p.Words = slices.Clone(page.Words)
	for i := range p.Words {
		p.Words[i].Hidden = false
	}
	return &p
}

// The least size of a picture that may show text, in points, and how many of a page are looked at: the
// largest.
const (
	leastHigh    = 8
	leastWide    = 24
	mostPictures = 100
)

// unreadParts returns the shown parts of pictures that are large enough for text.
func unreadParts(page *document.Page) []document.Box {
	var large []document.Box
	for _, p := range page.Pictures {
		p = shownPart(p)
		if !p.Empty() && p.W()*page.Width >= leastWide && p.H()*page.Height >= leastHigh {
			large = append(large, p)
		}
	}
	slices.SortStableFunc(large, func(a, b document.Box) int { return int(math.Copysign(1, b.W()*b.H()-a.W()*a.H())) })
	return large[:min(len(large), mostPictures)]
}

// mergedPage is a page with what was read on its pictures.
type mergedPage struct {
	*document.Page
	read      []PageLine
	readWords []document.Word
}

// merge reads the pictures of a page. What its text layer says is painted over before, so that nothing is
// read twice, and all that is no picture is left blank.
func (r *DocumentReader) merge(
	ctx context.Context, d document.Paged, page *document.Page, pictures []document.Box,
) (*mergedPage, error) {
	merged := &mergedPage{Page: page}
	img, err := d.Render(ctx, page.Number, r.DPI)
	if err != nil {
		return nil, WithDocumentKind(err)
	}
	w, h := float64(img.Rect.Dx()), float64(img.Rect.Dy())
	pixels := func(b document.Box) image.Rectangle {
		return image.Rect(int(b.X0*w), int(b.Y0*h), int(math.Ceil(b.X1*w)), int(math.Ceil(b.Y1*h))).Intersect(img.Rect)
	}
	var part image.Rectangle
	for _, b := range pictures {
		part = part.Union(pixels(b))
	}
	if part.Empty() {
		return merged, nil
	}
	seen := image.NewRGBA(image.Rect(0, 0, part.Dx(), part.Dy()))
	draw.Draw(seen, seen.Rect, image.White, image.Point{}, draw.Src)
	for _, b := range pictures {
		at := pixels(b)
		draw.Draw(seen, at.Sub(part.Min), img, at.Min, draw.Src)
	}
	for _, word := range page.Visible() {
		paintOver(seen, pixels(word.Box).Sub(part.Min))
	}
	read, err := r.Read(ctx, seen)
	if err != nil {
		return nil, err
	}
	x, y := float64(part.Min.X)/w, float64(part.Min.Y)/h
	wide, high := float64(part.Dx())/w, float64(part.Dy())/h
	for _, l := range read.Lines {
		merged.read = append(merged.read, pageLine(l, func(q pipeline.Quad) pipeline.Quad {
			for i := range q {
				q[i] = [2]float64{x + q[i][0]*wide, y + q[i][1]*high}
			}
			return q
		}))
	}
	for _, word := range read.Layer().Words {
		b := word.Box
		word.Box = document.Box{X0: x + b.X0*wide, Y0: y + b.Y0*high, X1: x + b.X1*wide, Y1: y + b.Y1*high}
		word.Size *= 72 / r.DPI
		merged.readWords = append(merged.readWords, word)
	}
	return merged, nil
}

// paintOver fills a box with what stands around it: each channel's middle value there.
func paintOver(img *image.RGBA, box image.Rectangle) {
	box = box.Inset(-1).Intersect(img.Rect)
	if box.Empty() {
		return
	}
	var around [3][]uint8
	add := func(x, y int) {
		if (image.Point{x, y}).In(img.Rect) {
			p := img.Pix[img.PixOffset(x, y):]
			for c := range around {
				around[c] = append(around[c], p[c])
			}
		}
	}
	for x := box.Min.X - 1; x <= box.Max.X; x++ {
		add(x, box.Min.Y-1)
		add(x, box.Max.Y)
	}
	for y := box.Min.Y; y < box.Max.Y; y++ {
		add(box.Min.X-1, y)
		add(box.Max.X, y)
	}
	if len(around[0]) == 0 {
		return // the box is all there is
	}
	var middle [3]uint8
	for c, values := range around {
		slices.Sort(values)
		middle[c] = values[len(values)/2]
	}
	draw.Draw(img, box, image.NewUniform(color.RGBA{middle[0], middle[1], middle[2], 255}), image.Point{}, draw.Src)
}
