package pdf

import (
	"math"
	"slices"

	"github.com/klippa-app/go-pdfium/enums"
	"github.com/klippa-app/go-pdfium/references"
	"github.com/klippa-app/go-pdfium/requests"

	"github.com/crossattn/xpipe/document"
)

// What is looked through of a page's drawing, beyond which Page.Partial is set.
const (
	mostObjects  = 20_000
	mostSegments = 20_000
	mostDepth    = 8 // of drawings in drawings
	mostDrawings = 2_000
)

// objects is what looking through a page's objects found.
type objects struct {
	text, hidden bool // some text; some of it invisible
	count        int  // objects seen
	segments     int  // of paths
	drawings     []document.Box
}

// objects looks for ruling lines, pictures and drawings, and whether text is hidden.
func (w *worker) objects(n int, view affine, page *document.Page) (objects, error) {
	count, err := w.instance.FPDFPage_CountObjects(&requests.FPDFPage_CountObjects{Page: w.page(n)})
	if err != nil {
		return objects{}, err
	}
	found := objects{}
	for i := range count.Count {
		object, err := w.instance.FPDFPage_GetObject(&requests.FPDFPage_GetObject{Page: w.page(n), Index: i})
		if err != nil {
			continue
		}
		if !w.object(object.PageObject, view, page, &found, 0) {
			page.Partial = true
			found.text = true // there may be some among the rest
			break
		}
	}
	page.Figures = slices.Concat(page.Pictures, clusters(found.drawings))
	return found, nil
}

// object takes up one object, and those in it; false where there are too many.
func (w *worker) object(o references.FPDF_PAGEOBJECT, view affine, page *document.Page, found *objects, depth int) bool {
	w.handles++
	if found.count++; found.count > mostObjects || depth > mostDepth {
		return false
	}
	kind, err := w.instance.FPDFPageObj_GetType(&requests.FPDFPageObj_GetType{PageObject: o})
	if err != nil {
		return true
	}
	switch kind.Type {
	case enums.FPDF_PAGEOBJ_TEXT:
		found.text = true
		if !found.hidden {
			mode, err := w.instance.FPDFTextObj_GetTextRenderMode(
				&requests.FPDFTextObj_GetTextRenderMode{PageObject: o})
			found.hidden = err == nil && invisible(mode.TextRenderMode)
		}
	case enums.FPDF_PAGEOBJ_PATH:
		return w.path(o, view, page, found)
	case enums.FPDF_PAGEOBJ_IMAGE, enums.FPDF_PAGEOBJ_SHADING:
		if box, ok := w.bounds(o, view); ok && kind.Type == enums.FPDF_PAGEOBJ_IMAGE {
			page.Pictures = append(page.Pictures, box)
		}
	case enums.FPDF_PAGEOBJ_FORM:
		inner := view
		if m, err := w.instance.FPDFPageObj_GetMatrix(&requests.FPDFPageObj_GetMatrix{PageObject: o}); err == nil {
			inner = view.after(matrix(m.Matrix.A, m.Matrix.B, m.Matrix.C, m.Matrix.D, m.Matrix.E, m.Matrix.F))
		}
		count, err := w.instance.FPDFFormObj_CountObjects(&requests.FPDFFormObj_CountObjects{PageObject: o})
		if err != nil {
			return true
		}
		for i := range count.Count {
			part, err := w.instance.FPDFFormObj_GetObject(&requests.FPDFFormObj_GetObject{
				PageObject: o, Index: uint64(i),
			})
			if err == nil && !w.object(part.PageObject, inner, page, found, depth+1) {
				return false
			}
		}
	}
	return true
}

func matrix(a, b, c, d, e, f float32) affine {
	return affine{float64(a), float64(b), float64(c), float64(d), float64(e), float64(f)}
}

func (w *worker) bounds(o references.FPDF_PAGEOBJECT, view affine) (document.Box, bool) {
	b, err := w.instance.FPDFPageObj_GetBounds(&requests.FPDFPageObj_GetBounds{PageObject: o})
	if err != nil {
		return document.Box{}, false
	}
	box := view.box(float64(b.Left), float64(b.Bottom), float64(b.Right), float64(b.Top))
	return box, !math.IsNaN(box.X0 + box.X1 + box.Y0 + box.Y1)
}

// thin is how thick a ruling line may be, and short how long it is at least, in points.
const (
	thin  = 3
	short = 4
)

// path takes up a drawn path: ruling lines where it is made of upright and level strokes or is a thin
// filled rectangle, else a drawing.
func (w *worker) path(o references.FPDF_PAGEOBJECT, view affine, page *document.Page, found *objects) bool {
	in := w.instance
	mode, err := in.FPDFPath_GetDrawMode(&requests.FPDFPath_GetDrawMode{PageObject: o})
	if err != nil || !mode.Stroke && mode.FillMode == enums.FPDF_FILLMODE_NONE {
		return true
	}
	box, ok := w.bounds(o, view)
	if !ok {
		return true
	}
	wide, high := box.W()*page.Width, box.H()*page.Height
	if min(wide, high) <= thin { // a line, however it was drawn; what is white is no line
		if max(wide, high) >= short && (mode.Stroke || !w.white(o)) {
			page.Rules = append(page.Rules, box)
		}
		return true
	}
	count, err := in.FPDFPath_CountSegments(&requests.FPDFPath_CountSegments{PageObject: o})
	if err != nil {
		return true
	}
	if !mode.Stroke {
		// Filled: shading behind text where it is a rectangle.
		if count.Count > 5 {
			found.drawing(box)
		}
		return true
	}
	if found.segments += count.Count; found.segments > mostSegments {
		return false
	}
	lines, straight := w.segments(o, count.Count, view)
	if !straight {
		found.drawing(box)
		return true
	}
	for _, line := range lines {
		if max(line.W()*page.Width, line.H()*page.Height) >= short {
			page.Rules = append(page.Rules, line)
		}
	}
	return true
}

func (f *objects) drawing(box document.Box) {
	if len(f.drawings) < mostDrawings {
		f.drawings = append(f.drawings, box)
	}
}

func (w *worker) white(o references.FPDF_PAGEOBJECT) bool {
	c, err := w.instance.FPDFPageObj_GetFillColor(&requests.FPDFPageObj_GetFillColor{PageObject: o})
	return err == nil && min(c.FillColor.R, c.FillColor.G, c.FillColor.B) >= 250
}

// segments returns the strokes of a path as boxes; straight says that all are upright or level.
func (w *worker) segments(o references.FPDF_PAGEOBJECT, n int, view affine) (lines []document.Box, straight bool) {
	in := w.instance
	if m, err := in.FPDFPageObj_GetMatrix(&requests.FPDFPageObj_GetMatrix{PageObject: o}); err == nil {
		view = view.after(matrix(m.Matrix.A, m.Matrix.B, m.Matrix.C, m.Matrix.D, m.Matrix.E, m.Matrix.F))
	}
	var startX, startY, x, y float64
	line := func(toX, toY float64) bool {
		box := document.Box{X0: min(x, toX), Y0: min(y, toY), X1: max(x, toX), Y1: max(y, toY)}
		x, y = toX, toY
		if min(box.W(), box.H()) > 0.002 {
			return false
		}
		lines = append(lines, box)
		return true
	}
	for i := range n {
		segment, err := in.FPDFPath_GetPathSegment(&requests.FPDFPath_GetPathSegment{PageObject: o, Index: i})
		if err != nil {
			return lines, false
		}
		w.handles++
		kind, err := in.FPDFPathSegment_GetType(&requests.FPDFPathSegment_GetType{PathSegment: segment.PathSegment})
		if err != nil || kind.Type == enums.FPDF_SEGMENT_BEZIERTO {
			return lines, false
		}
		p, err := in.FPDFPathSegment_GetPoint(&requests.FPDFPathSegment_GetPoint{PathSegment: segment.PathSegment})
		if err != nil {
			return lines, false
		}
		toX, toY := view.point(float64(p.X), float64(p.Y))
		if kind.Type == enums.FPDF_SEGMENT_MOVETO {
			startX, startY, x, y = toX, toY, toX, toY
			continue
		}
		if !line(toX, toY) {
			return lines, false
		}
		closed, err := in.FPDFPathSegment_GetClose(&requests.FPDFPathSegment_GetClose{PathSegment: segment.PathSegment})
		if err == nil && closed.IsClose && !line(startX, startY) {
			return lines, false
		}
	}
	return lines, true
}

// clusters joins drawings that touch and returns those that are large enough to be a figure: a 40th of
// the page's width and height at least.
func clusters(boxes []document.Box) []document.Box {
	for joined := true; joined; {
		joined = false
		for i := 0; i < len(boxes); i++ {
			for j := i + 1; j < len(boxes); j++ {
				const gap = 0.005
				grown := document.Box{
					X0: boxes[i].X0 - gap, Y0: boxes[i].Y0 - gap, X1: boxes[i].X1 + gap, Y1: boxes[i].Y1 + gap,
				}
				if grown.Intersect(boxes[j]).Empty() {
					continue
				}
				boxes[i] = boxes[i].Union(boxes[j])
				boxes[j] = boxes[len(boxes)-1]
				boxes = boxes[:len(boxes)-1]
				joined = true
				j = i
			}
		}
	}
	var figures []document.Box
	for _, b := range boxes {
		if b.W() >= 0.025 && b.H() >= 0.025 {
			figures = append(figures, b)
		}
	}
	return figures
}
