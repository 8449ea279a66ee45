package pdf

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"math"
	"strings"

	"github.com/klippa-app/go-pdfium"
	"github.com/klippa-app/go-pdfium/enums"
	pdferrors "github.com/klippa-app/go-pdfium/errors"
	"github.com/klippa-app/go-pdfium/references"
	"github.com/klippa-app/go-pdfium/requests"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/media"
)

// errPage is wrapped where a page is at fault and PDFium is none the worse.
var errPage = errors.New("page")

// worker is an instance of PDFium with the document open.
type worker struct {
	instance pdfium.Pdfium
	doc      references.FPDF_DOCUMENT
	pages    int
	served   int // pages
	handles  int // of page objects, which go-pdfium keeps
}

// guard turns a panic of go-pdfium or wazero into an error: what is in the file is not to end a
// program.
func (w *worker) guard(f func(*worker) error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("%w: PDFium failed: %s", document.ErrDocument, firstLine(fmt.Errorf("%v", v)))
		}
	}()
	return f(w)
}

func (w *worker) end() {
	// An instance that failed may fail to close, too; its memory goes all the same.
	_ = w.guard(func(w *worker) error { return w.instance.Close() })
}

func (w *worker) open(d *Document) error {
	request := &requests.OpenDocument{
		FileReader:     io.NewSectionReader(d.source, 0, d.size),
		FileReaderSize: d.size,
	}
	if d.options.Password != "" {
		request.Password = &d.options.Password
	}
	opened, err := w.instance.OpenDocument(request)
	if err != nil {
		return openError(err, d.options.Password != "")
	}
	w.doc = opened.Document
	count, err := w.instance.FPDF_GetPageCount(&requests.FPDF_GetPageCount{Document: w.doc})
	if err != nil {
		return openError(err, true)
	}
	w.pages = count.PageCount
	return nil
}

// onPage runs f for page n, from 1, and names the page in errors.
func (d *Document) onPage(ctx context.Context, n int, f func(*worker) error) error {
	if n < 1 || n > d.pages {
		return fmt.Errorf("%w: there is no page %d: the PDF has %d", document.ErrDocument, n, d.pages)
	}
	err := d.do(ctx, func(w *worker) error {
		w.served++
		return f(w)
	})
	if err == nil || ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return err
	}
	if errors.Is(err, pdferrors.ErrPage) {
		err = fmt.Errorf("%w: it is damaged or missing", document.ErrDocument)
	} else if !errors.Is(err, document.ErrDocument) && !errors.Is(err, document.ErrLimit) {
		err = fmt.Errorf("%w: PDFium gave it up: %s", document.ErrDocument, firstLine(err))
	}
	return fmt.Errorf("page %d: %w", n, err)
}

// firstLine leaves out the stack of WebAssembly functions, which have no names. "unreachable" is where
// PDFium ends itself: memory or depth beyond its bounds.
func firstLine(err error) string {
	line, _, _ := strings.Cut(err.Error(), "\n")
	return strings.Replace(line, "wasm error: unreachable", "it is nested too deep, or takes too much memory", 1)
}

// Render draws page n, from 1, with its annotations, on white: as pypdfium2's render(scale=dpi/72).
func (d *Document) Render(ctx context.Context, n int, dpi float64) (*image.RGBA, error) {
	var picture *image.RGBA
	err := d.onPage(ctx, n, func(w *worker) error {
		width, height, err := w.size(n)
		if err != nil {
			return err
		}
		scale := dpi / 72 // first, as whoever calls pypdfium2 does: the product is rounded otherwise
		x, y := math.Ceil(width*scale), math.Ceil(height*scale)
		if !(x >= 1 && y >= 1) {
			return fmt.Errorf("%w%w: %g by %g points at %g dpi is no picture",
				document.ErrDocument, quiet{errPage}, width, height, dpi)
		}
		if x*y > float64(d.options.Pixels) {
			fits := dpi * math.Sqrt(float64(d.options.Pixels)/(x*y))
			return fmt.Errorf("%w%w", &media.LimitError{Text: fmt.Sprintf(
				"%.0f by %.0f points at %g dpi are %.0f pixels, the limit is %d: draw it at %.0f dpi or less",
				width, height, dpi, x*y, d.options.Pixels, math.Floor(fits))}, quiet{errPage})
		}
		picture, err = w.render(n, int(x), int(y))
		return err
	})
	return picture, err
}

// quiet is an error to be found by errors.Is and not read.
type quiet struct{ error }

func (quiet) Error() string   { return "" }
func (q quiet) Unwrap() error { return q.error }

// size returns the width and height of a page in points, cropped and turned. PDFium keeps them in
// float32, as pypdfium2 gets them.
func (w *worker) size(n int) (width, height float64, err error) {
	x, err := w.instance.FPDF_GetPageWidthF(&requests.FPDF_GetPageWidthF{Page: w.page(n)})
	if err != nil {
		return 0, 0, err
	}
	y, err := w.instance.FPDF_GetPageHeightF(&requests.FPDF_GetPageHeightF{Page: w.page(n)})
	if err != nil {
		return 0, 0, err
	}
	return float64(x.PageWidth), float64(y.PageHeight), nil
}

func (w *worker) render(n, width, height int) (*image.RGBA, error) {
	in := w.instance
	// Without alpha, as pypdfium2 has it: PDFium blends otherwise where there is one. Four bytes a pixel.
	made, err := in.FPDFBitmap_Create(&requests.FPDFBitmap_Create{Width: width, Height: height})
	if err != nil {
		return nil, err
	}
	defer in.FPDFBitmap_Destroy(&requests.FPDFBitmap_Destroy{Bitmap: made.Bitmap})
	if _, err := in.FPDFBitmap_FillRect(&requests.FPDFBitmap_FillRect{
		Bitmap: made.Bitmap, Width: width, Height: height, Color: 0xffffffff,
	}); err != nil {
		return nil, err
	}
	if _, err := in.FPDF_RenderPageBitmap(&requests.FPDF_RenderPageBitmap{
		Bitmap: made.Bitmap, Page: w.page(n), SizeX: width, SizeY: height,
		Flags: enums.FPDF_RENDER_FLAG_ANNOT | enums.FPDF_RENDER_FLAG_REVERSE_BYTE_ORDER,
	}); err != nil {
		return nil, err
	}
	stride, err := in.FPDFBitmap_GetStride(&requests.FPDFBitmap_GetStride{Bitmap: made.Bitmap})
	if err != nil {
		return nil, err
	}
	buffer, err := in.FPDFBitmap_GetBuffer(&requests.FPDFBitmap_GetBuffer{Bitmap: made.Bitmap})
	if err != nil {
		return nil, err
	}
	picture := image.NewRGBA(image.Rect(0, 0, width, height))
	for y := range height {
		row := picture.Pix[y*picture.Stride:][:4*width]
		copy(row, buffer.Buffer[y*stride.Stride:][:4*width])
		for x := 3; x < len(row); x += 4 {
			row[x] = 255
		}
	}
	return picture, nil
}
