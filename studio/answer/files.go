package answer

import (
	"context"
	"errors"
	"fmt"
	"image"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/document/office"
	"github.com/crossattn/xpipe/document/pdf"
	"github.com/crossattn/xpipe/document/pictures"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/studio"
	"github.com/crossattn/xpipe/vision"
)

// mostRead bounds an attachment that a model is given, in bytes.
const mostRead = 256 << 20

// read returns an attachment's content.
func (d *Desk) read(ctx context.Context, p studio.Part) ([]byte, error) {
	f, err := d.Store.OpenBlob(ctx, p.Blob)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, mostRead+1))
	if err == nil && len(data) > mostRead {
		err = cannot("%s is larger than %d MB", p.Name, mostRead>>20)
	}
	return data, err
}

// frames are pictures that lie evenly over a film.
func (d *Desk) frames(ctx context.Context, p studio.Part, n int) ([]*vision.RGB, error) {
	f, err := d.Store.OpenBlob(ctx, p.Blob)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	f.Close()
	frames, err := vision.Frames(ctx, f.Name(), n)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	return frames, nil
}

// mostPages bounds the pages of a document that are read.
const mostPages = 100

// documents keep the pages that were read last: a document is asked about again and again.
type documents struct {
	mu    sync.Mutex
	pages map[studio.Hash][]api.Page
	order []studio.Hash
}

// keptDocuments is how many documents' pages are kept.
const keptDocuments = 8

func (k *documents) get(h studio.Hash) ([]api.Page, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	pages, ok := k.pages[h]
	return pages, ok
}

func (k *documents) put(h studio.Hash, pages []api.Page) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.pages == nil {
		k.pages = map[studio.Hash][]api.Page{}
	}
	if _, ok := k.pages[h]; !ok {
		k.order = append(k.order, h)
	}
	k.pages[h] = pages
	if len(k.order) > keptDocuments {
		delete(k.pages, k.order[0])
		k.order = k.order[1:]
	}
}

// Paged opens a document that has pages, such as a PDF file; the caller closes it. Errors wrap ErrCannot for
// attachments without pages.
func (d *Desk) Paged(ctx context.Context, p studio.Part) (document.Paged, error) {
	f, err := d.Store.OpenBlob(ctx, p.Blob)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", p.Name, err)
	}
	var doc document.Paged
	switch p.Type {
	case "application/pdf":
		var size os.FileInfo
		if size, err = f.Stat(); err == nil {
			doc, err = pdf.New(ctx, f, size.Size(), pdf.Options{})
		}
		if err == nil {
			return &closing{doc, f}, nil
		}
	case "image/tiff":
		doc, err = pictures.Open(ctx, f.Name())
	default:
		err = cannot("%s has no pages", p.Name)
	}
	f.Close()
	if errors.Is(err, document.ErrPassword) {
		err = cannot("%s wants a password", p.Name)
	}
	return doc, err
}

// closing closes a document's file with it.
type closing struct {
	document.Paged
	file *os.File
}

func (c *closing) Close() error { return errors.Join(c.Paged.Close(), c.file.Close()) }

// Text is what an attachment says by itself, without a model: of a document with a text layer, an office file, a
// text. It is "" where there is nothing.
func (d *Desk) Text(ctx context.Context, p studio.Part) (string, error) {
	if p.Type == "application/pdf" || p.Type == "image/tiff" {
		pages, err := d.pages(ctx, p, false, nil)
		return joined(pages), err
	}
	data, err := d.read(ctx, p)
	if err != nil {
		return "", err
	}
	name := p.Name
	if !office.Reads(name) && strings.HasPrefix(p.Type, "text/") {
		name = "file.txt"
	}
	if office.Reads(name) {
		doc, err := office.Read(filepath.Base(name), data)
		if err != nil {
			return "", err
		}
		return document.Markdown(doc.Blocks), nil
	}
	if utf8.Valid(data) && len(data) < 1<<20 && !strings.ContainsRune(string(data), 0) {
		return string(data), nil
	}
	return "", nil
}

// textOf is what a document says, which is read from its pictures where it has no text of its own.
func (d *Desk) textOf(ctx context.Context, p studio.Part) (string, error) {
	if p.Text != "" {
		return p.Text, nil
	}
	var text string
	var err error
	if p.Type == "application/pdf" || p.Type == "image/tiff" {
		var pages []api.Page
		pages, err = d.pages(ctx, p, true, nil)
		text = joined(pages)
	} else {
		text, err = d.Text(ctx, p)
	}
	if err == nil && text == "" {
		err = cannot("there is no text in %s", p.Name)
	}
	return text, err
}

func joined(pages []api.Page) string {
	var texts []string
	for _, p := range pages {
		if p.Text != "" {
			texts = append(texts, p.Text)
		}
	}
	return strings.Join(texts, "\n\n")
}

// pages reads the pages of a document; with ocr pictures of pages, too. done, where it is not nil, is told of
// each page.
func (d *Desk) pages(ctx context.Context, p studio.Part, ocr bool, done func(api.Page)) ([]api.Page, error) {
	if pages, ok := d.documents.get(p.Blob); ok {
		for _, page := range pages {
			if done != nil {
				done(page)
			}
		}
		return pages, nil
	}
	doc, err := d.Paged(ctx, p)
	if err != nil {
		return nil, err
	}
	defer doc.Close()
	r := api.DocumentReader{OCR: "auto", DPI: 150, Words: true, Read: d.readPicture}
	if !ocr {
		r.OCR = "never"
	}
	var pages []api.Page
	for n := 1; n <= min(doc.Pages(), mostPages); n++ {
		page, err := r.Page(ctx, p.Name, doc, n)
		if err != nil {
			return pages, err
		}
		if done != nil {
			done(page)
		}
		pages = append(pages, page)
	}
	if ocr || !slices.ContainsFunc(pages, func(p api.Page) bool { return p.Text == "" }) {
		d.documents.put(p.Blob, pages)
	}
	return pages, nil
}

// readPicture reads the picture of a page.
func (d *Desk) readPicture(ctx context.Context, img image.Image) (*pipeline.Page, error) {
	m, release, err := d.Serving.Use(ctx, d.Serving.Catalog.For("read"))
	if err != nil {
		return nil, err
	}
	defer release()
	return m.P.Read(ctx, img, pipeline.WithPlacedWords())
}
