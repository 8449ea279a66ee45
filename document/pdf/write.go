package pdf

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"

	"github.com/klippa-app/go-pdfium/enums"
	"github.com/klippa-app/go-pdfium/references"
	"github.com/klippa-app/go-pdfium/requests"
	"github.com/klippa-app/go-pdfium/structs"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/document/searchable"
)

// Layer is text to lay over a page, which is not seen.
type Layer struct {
	Words []searchable.Word
	// Whole says that it is all of the page's text: what another program has hidden there is taken out.
	Whole bool
}

// WriteWithText writes the document with layers of invisible text over its pages, by their numbers from 1.
// All else stays as it is: pages without a layer are not touched. A file that was opened with a password
// is written without one.
func (d *Document) WriteWithText(ctx context.Context, out io.Writer, layers map[int]Layer) error {
	// The layers are pages of a file of their own, of which PDFium makes drawings on the document's pages.
	var drawn bytes.Buffer
	w := searchable.NewWriter(&drawn)
	numbers := make([]int, 0, len(layers))
	for n := 1; n <= d.pages; n++ {
		layer, ok := layers[n]
		if !ok || len(layer.Words) == 0 {
			continue
		}
		page, err := d.pageSize(ctx, n)
		if err != nil {
			return err
		}
		if err := w.Add(searchable.Page{Width: page[0], Height: page[1], Words: layer.Words}); err != nil {
			return fmt.Errorf("page %d: %w", n, err)
		}
		numbers = append(numbers, n)
	}
	if err := w.Close(); err != nil {
		return err
	}
	return d.writing(ctx, func(w *worker) error {
		if len(numbers) > 0 {
			if err := w.lay(drawn.Bytes(), numbers, layers); err != nil {
				return err
			}
		}
		flags := requests.SaveFlagNoIncremental
		if d.options.Password != "" {
			flags = requests.SaveFlagRemoveSecurity
		}
		_, err := w.instance.FPDF_SaveAsCopy(&requests.FPDF_SaveAsCopy{Document: w.doc, Flags: flags, FileWriter: out})
		return err
	})
}

// pageSize returns the width and height of a page in points.
func (d *Document) pageSize(ctx context.Context, n int) (size [2]float64, err error) {
	err = d.onPage(ctx, n, func(w *worker) error {
		size[0], size[1], err = w.size(n)
		return err
	})
	return size, err
}

// writing runs f on a worker that is not used again: the document in it is changed.
func (d *Document) writing(ctx context.Context, f func(*worker) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	instance, err := d.instance(ctx)
	if err != nil {
		return err
	}
	w := &worker{instance: instance}
	defer w.end()
	if err := w.guard(func(w *worker) error { return w.open(d) }); err != nil {
		return err
	}
	if err := w.guard(f); err != nil {
		return fmt.Errorf("%w: PDFium could not write it: %s", document.ErrDocument, firstLine(err))
	}
	return nil
}

// lay draws the pages of a file over pages of the document.
func (w *worker) lay(file []byte, numbers []int, layers map[int]Layer) error {
	in := w.instance
	opened, err := in.OpenDocument(&requests.OpenDocument{File: &file})
	if err != nil {
		return err
	}
	defer in.FPDF_CloseDocument(&requests.FPDF_CloseDocument{Document: opened.Document})
	for i, n := range numbers {
		if layers[n].Whole {
			if err := w.unhide(n); err != nil {
				return err
			}
		}
		// go-pdfium 1.21.4 hands PDFium the two documents the wrong way round: the source is where the
		// drawing goes.
		form, err := in.FPDF_NewXObjectFromPage(&requests.FPDF_NewXObjectFromPage{
			Source: w.doc, Destination: opened.Document, SourcePageIndex: i,
		})
		if err != nil {
			return fmt.Errorf("page %d: %w", n, err)
		}
		object, err := in.FPDF_NewFormObjectFromXObject(&requests.FPDF_NewFormObjectFromXObject{XObject: form.XObject})
		if err != nil {
			return fmt.Errorf("page %d: %w", n, err)
		}
		if err := w.place(n, object.PageObject); err != nil {
			return fmt.Errorf("page %d: %w", n, err)
		}
		in.FPDF_CloseXObject(&requests.FPDF_CloseXObject{XObject: form.XObject})
	}
	return nil
}

// place puts a drawing that has the page's shown size onto the page, whose own axes may be turned and
// moved against it.
func (w *worker) place(n int, object references.FPDF_PAGEOBJECT) error {
	in := w.instance
	page := &document.Page{}
	var err error
	if page.Width, page.Height, err = w.size(n); err != nil {
		return err
	}
	view, err := w.view(n, page)
	if err != nil {
		return err
	}
	m, ok := view.shownToPage(page.Width, page.Height)
	if !ok {
		return fmt.Errorf("%w: the page has no area", document.ErrDocument)
	}
	if _, err := in.FPDFPageObj_Transform(&requests.FPDFPageObj_Transform{
		PageObject: object,
		Transform: structs.FPDF_FS_MATRIX{
			A: float32(m.a), B: float32(m.b), C: float32(m.c), D: float32(m.d), E: float32(m.e), F: float32(m.f),
		},
	}); err != nil {
		return err
	}
	if _, err := in.FPDFPage_InsertObject(&requests.FPDFPage_InsertObject{Page: w.page(n), PageObject: object}); err != nil {
		return err
	}
	_, err = in.FPDFPage_GenerateContent(&requests.FPDFPage_GenerateContent{Page: w.page(n)})
	return err
}

// shownToPage inverts a view, from points of the shown page, y up, to those of the page's own axes.
func (m affine) shownToPage(width, height float64) (affine, bool) {
	det := m.a*m.d - m.b*m.c
	if det == 0 || math.IsNaN(det) {
		return affine{}, false
	}
	inverse := affine{m.d / det, -m.b / det, -m.c / det, m.a / det, (m.c*m.f - m.d*m.e) / det, (m.b*m.e - m.a*m.f) / det}
	return inverse.after(affine{1 / width, 0, 0, -1 / height, 0, 1}), true
}

// unhide takes the invisible text off a page.
func (w *worker) unhide(n int) error {
	in := w.instance
	count, err := in.FPDFPage_CountObjects(&requests.FPDFPage_CountObjects{Page: w.page(n)})
	if err != nil {
		return err
	}
	for i := count.Count - 1; i >= 0; i-- {
		o, err := in.FPDFPage_GetObject(&requests.FPDFPage_GetObject{Page: w.page(n), Index: i})
		if err != nil {
			continue
		}
		kind, err := in.FPDFPageObj_GetType(&requests.FPDFPageObj_GetType{PageObject: o.PageObject})
		if err != nil || kind.Type != enums.FPDF_PAGEOBJ_TEXT {
			continue
		}
		mode, err := in.FPDFTextObj_GetTextRenderMode(&requests.FPDFTextObj_GetTextRenderMode{PageObject: o.PageObject})
		if err != nil || mode.TextRenderMode != enums.FPDF_TEXTRENDERMODE_INVISIBLE {
			continue
		}
		if _, err := in.FPDFPage_RemoveObject(&requests.FPDFPage_RemoveObject{Page: w.page(n), PageObject: o.PageObject}); err != nil {
			return err
		}
	}
	return nil
}
