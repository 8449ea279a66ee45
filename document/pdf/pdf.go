// Package pdf reads PDF files: pictures of pages, the text layer as words with boxes, ruling lines,
// links, the outline and what the file says of itself.
//
// The reader is PDFium, compiled to WebAssembly by github.com/klippa-app/go-pdfium and run by wazero,
// without cgo. It sees no file, no network and no clock of the system beyond the bytes of the document;
// an instance takes at most 512 MiB of memory. A program that does not import this package does not
// carry PDFium (5.8 MB). The first use on a machine compiles it, 5 to 20 seconds, and keeps the result
// in the user's cache folder (xpipe/wasm, 21 MB); later starts take 0.2 s.
package pdf

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"sync"
	"time"

	pdferrors "github.com/klippa-app/go-pdfium/errors"
	"github.com/klippa-app/go-pdfium/requests"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/media"
)

// Options of opening. The zero value is usable.
type Options struct {
	// Password of an encrypted file: the user's or the owner's.
	Password string
	// Workers is how many pages are read at once at most: by default as many as Go uses threads, 4 at
	// most. Each worker is an instance of PDFium with memory of its own, started when it is first
	// needed.
	Workers int
	// PageTime is the most that one page may take to be read or drawn, 60 s by default. A page
	// beyond it is an error that wraps document.ErrLimit; the others go on.
	PageTime time.Duration
	// Interruptible has PDFium stop where a context or PageTime ends. Without it the caller is
	// answered in time just as well, but the work on that page goes on in the background until
	// PDFium comes to an end of it. The checks make pages take 2 to 4 times as long: they are for
	// servers that open strangers' files.
	Interruptible bool
	// Pixels is the most pixels of a page's picture: 67,108,864 by default, an A0 sheet at 200 dpi.
	Pixels int
}

const (
	defaultWorkers  = 4
	defaultPageTime = time.Minute
	defaultPixels   = 64 << 20

	// most bounds what is looked through: more is taken for an attack or a mistake.
	mostPages = 1 << 20
	// recycle is after how many pages a worker starts afresh: what PDFium keeps of fonts and pictures
	// of earlier pages goes with it, and go-pdfium's handles of page objects, which it keeps until an
	// instance ends.
	recyclePages   = 128
	recycleHandles = 100_000
)

// Document is an open PDF file. Its methods may be called at once, but for Close.
type Document struct {
	source  io.ReaderAt
	size    int64
	closer  io.Closer
	options Options

	pages   int
	info    document.Info
	outline []document.Mark

	slots  chan struct{} // one for each worker that may be
	mu     sync.Mutex
	idle   []*worker
	closed bool
}

var _ document.Paged = (*Document)(nil)

// Open opens a file by name.
func Open(ctx context.Context, name string, options Options) (*Document, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = fmt.Errorf("%s is a folder", name)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	d, err := New(ctx, f, info.Size(), options)
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	d.closer = f
	return d, nil
}

// New opens a file of size bytes, which are read when they are needed, by several goroutines at once.
// Errors wrap document.ErrDocument, and document.ErrPassword where the password is missing or wrong.
func New(ctx context.Context, r io.ReaderAt, size int64, options Options) (*Document, error) {
	if options.Workers <= 0 {
		options.Workers = min(runtime.GOMAXPROCS(0), defaultWorkers)
	}
	if options.PageTime <= 0 {
		options.PageTime = defaultPageTime
	}
	if options.Pixels <= 0 {
		options.Pixels = defaultPixels
	}
	if size <= 0 {
		return nil, fmt.Errorf("%w: the file is empty", document.ErrDocument)
	}
	if size > math.MaxUint32 {
		return nil, &media.LimitError{Text: fmt.Sprintf("a PDF of %d bytes, the limit is 4 GiB", size)}
	}
	d := &Document{source: r, size: size, options: options, slots: make(chan struct{}, options.Workers)}
	err := d.do(ctx, func(w *worker) error {
		d.pages = w.pages
		d.info = w.info()
		d.outline = w.outline()
		return nil
	})
	if err == nil && d.pages == 0 {
		err = fmt.Errorf("%w: the PDF has no pages", document.ErrDocument)
	}
	if err == nil && d.pages > mostPages {
		err = &media.LimitError{Text: fmt.Sprintf("a PDF of %d pages, the limit is %d", d.pages, mostPages)}
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// Pages returns the number of pages.
func (d *Document) Pages() int { return d.pages }

// Info returns what the file says of itself.
func (d *Document) Info() document.Info { return d.info }

// Outline returns the file's own table of contents; 10,000 entries at most.
func (d *Document) Outline() []document.Mark { return d.outline }

// Close ends the workers and closes the file that Open opened. No other method may be running.
func (d *Document) Close() error {
	d.mu.Lock()
	idle := d.idle
	d.idle, d.closed = nil, true
	d.mu.Unlock()
	for _, w := range idle {
		w.end()
	}
	if d.closer != nil {
		return d.closer.Close()
	}
	return nil
}

var errClosed = fmt.Errorf("%w: closed", document.ErrDocument)

// do runs f on a worker, within the time that a page may take. Where f fails the worker is not used
// again: PDFium may have stopped in the middle of something.
func (d *Document) do(ctx context.Context, f func(*worker) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case d.slots <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	limited, cancel := context.WithTimeoutCause(ctx, d.options.PageTime,
		&media.LimitError{Text: fmt.Sprintf("PDFium took more than %v", d.options.PageTime)})
	var w *worker
	done := make(chan error, 1)
	began := make(chan *worker, 1)
	go func() {
		defer func() { <-d.slots }()
		w, err := d.worker(limited)
		if err != nil {
			done <- err
			return
		}
		began <- w
		err = w.guard(f)
		d.giveBack(w, err)
		done <- err
	}()
	select {
	case err := <-done:
		cancel()
		return err
	case <-limited.Done():
	}
	defer cancel()
	if d.options.Interruptible {
		// Kill needs the instance, which is there once it began; until then its context ends it.
		select {
		case w = <-began:
			w.instance.Kill()
			<-done
		case <-done:
		}
	}
	return context.Cause(limited)
}

// worker returns an idle worker or starts one.
func (d *Document) worker(ctx context.Context) (*worker, error) {
	d.mu.Lock()
	if d.closed {
		d.mu.Unlock()
		return nil, errClosed
	}
	if n := len(d.idle); n > 0 {
		w := d.idle[n-1]
		d.idle = d.idle[:n-1]
		d.mu.Unlock()
		return w, nil
	}
	d.mu.Unlock()
	instance, err := d.instance(ctx)
	if err != nil {
		return nil, err
	}
	w := &worker{instance: instance}
	if err := w.guard(func(w *worker) error { return w.open(d) }); err != nil {
		w.end()
		return nil, err
	}
	return w, nil
}

func (d *Document) giveBack(w *worker, err error) {
	spent := err != nil && !errors.Is(err, errPage) || w.served >= recyclePages || w.handles >= recycleHandles
	d.mu.Lock()
	if !spent && !d.closed {
		d.idle = append(d.idle, w)
		w = nil
	}
	d.mu.Unlock()
	if w != nil {
		w.end()
	}
}

// openError says what PDFium's words mean and what to do.
func openError(err error, password bool) error {
	switch {
	case errors.Is(err, pdferrors.ErrPassword) && !password:
		return fmt.Errorf("%w: the PDF is encrypted: give its %w", document.ErrDocument, document.ErrPassword)
	case errors.Is(err, pdferrors.ErrPassword):
		return fmt.Errorf("%w: the PDF is encrypted and has another %w", document.ErrDocument, document.ErrPassword)
	case errors.Is(err, pdferrors.ErrFormat):
		return fmt.Errorf("%w: not a PDF, or one that is damaged beyond repair", document.ErrDocument)
	case errors.Is(err, pdferrors.ErrSecurity):
		return fmt.Errorf("%w: the PDF is encrypted in a way that PDFium does not read", document.ErrDocument)
	}
	return fmt.Errorf("%w: PDFium gave it up: %s", document.ErrDocument, firstLine(err))
}

// pageRequest names a page by its number, from 1.
func (w *worker) page(n int) requests.Page {
	return requests.Page{ByIndex: &requests.PageByIndex{Document: w.doc, Index: n - 1}}
}
