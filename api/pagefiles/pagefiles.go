// Package pagefiles opens the files of pages that xpipe read takes, by their names, and writes searchable PDF
// files. A program that imports it carries PDFium and the readers of office and medical files; package api,
// which reads their pages, does not.
package pagefiles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/document/dicom"
	"github.com/crossattn/xpipe/document/office"
	"github.com/crossattn/xpipe/document/pdf"
	"github.com/crossattn/xpipe/document/pictures"
)

// The formats of files of pages.
const (
	PDF   = "PDF"
	DICOM = "DICOM"
	TIFF  = "TIFF"
)

// Format returns the format of a file of pages: by what it begins with, whatever its name is, else by its
// suffix; "" where it is none.
func Format(path string) string {
	head := make([]byte, 132)
	if f, err := os.Open(path); err == nil {
		n, _ := io.ReadFull(f, head)
		f.Close()
		switch head = head[:n]; {
		case IsPDF(head):
			return PDF
		case dicom.Is(head):
			return DICOM
		}
	}
	switch strings.ToLower(filepath.Ext(path)) {
	case ".pdf":
		return PDF
	case ".dcm", ".dicom":
		return DICOM
	case ".tif", ".tiff":
		return TIFF
	}
	return ""
}

// IsPDF reports whether a file begins as PDF files do.
func IsPDF(head []byte) bool { return bytes.HasPrefix(head, []byte("%PDF-")) }

// Open opens a file of a format that Format knows. Errors wrap document.ErrDocument,
// document.ErrPassword, document.ErrLimit, vision.ErrImage or the file system's.
func Open(ctx context.Context, path, password string) (document.Paged, error) {
	if err := api.CheckDocument(path); err != nil {
		return nil, err
	}
	d, err := open(ctx, path, password)
	if err != nil {
		if errors.Is(err, document.ErrPassword) {
			err = fmt.Errorf("%w (--password)", err)
		}
		return nil, api.WithDocumentKind(err)
	}
	return d, nil
}

func open(ctx context.Context, path, password string) (document.Paged, error) {
	switch Format(path) {
	case PDF:
		return orNil(pdf.Open(ctx, path, pdf.Options{Password: password}))
	case DICOM:
		return orNil(dicom.Open(path))
	}
	return orNil(pictures.Open(ctx, path))
}

// orNil keeps a nil pointer from becoming a document.
func orNil[D document.Paged](d D, err error) (document.Paged, error) {
	if err != nil {
		return nil, err
	}
	return d, nil
}

// Text reads a file of text with structure: one for which api.IsText holds.
func Text(path string) ([]document.Block, error) {
	if err := api.CheckDocument(path); err != nil {
		return nil, err
	}
	d, err := office.Open(path)
	if err != nil {
		return nil, api.WithDocumentKind(err)
	}
	return d.Blocks, nil
}

// WriteSearchable writes a PDF file with what was read on its pictures laid over its pages, not to be seen.
func WriteSearchable(ctx context.Context, w io.Writer, path, password string, pages []api.Page) error {
	d, err := pdf.Open(ctx, path, pdf.Options{Password: password})
	if err != nil {
		return api.WithDocumentKind(err)
	}
	defer d.Close()
	layers := map[int]pdf.Layer{}
	for i := range pages {
		words, whole := pages[i].Searchable()
		layers[pages[i].Number] = pdf.Layer{Words: words, Whole: whole}
	}
	if err := d.WriteWithText(ctx, w, layers); err != nil {
		return api.WithDocumentKind(fmt.Errorf("%s: %w", path, err))
	}
	return nil
}

// Data opens the bytes of a PDF file that somebody sent, for servers: PDFium is stopped where a page takes too long.
// Errors wrap document.ErrDocument, document.ErrPassword or document.ErrLimit, and are of the kind api.KindInput.
func Data(ctx context.Context, name string, data []byte, password string) (document.Paged, error) {
	options := pdf.Options{Password: password, Interruptible: true}
	d, err := pdf.New(ctx, bytes.NewReader(data), int64(len(data)), options)
	if err != nil {
		return nil, api.WithDocumentKind(fmt.Errorf("%s: %w", name, err))
	}
	return d, nil
}
