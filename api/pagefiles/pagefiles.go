// Package pagefiles opens the files of pages that xpipe read takes, by their names. A program that imports it
// carries PDFium; package api, which reads their pages, does not.
package pagefiles

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/document/pdf"
	"github.com/crossattn/xpipe/document/pictures"
)

// Open opens a PDF or TIFF file: one for which api.IsDocument holds. Errors wrap document.ErrDocument,
// document.ErrPassword, document.ErrLimit, vision.ErrImage or the file system's.
func Open(ctx context.Context, path, password string) (document.Paged, error) {
	if err := api.CheckDocument(path); err != nil {
		return nil, err
	}
	if strings.EqualFold(filepath.Ext(path), ".pdf") {
		d, err := pdf.Open(ctx, path, pdf.Options{Password: password})
		switch {
		case errors.Is(err, document.ErrPassword):
			return nil, api.WithDocumentKind(fmt.Errorf("%w (--password)", err))
		case err != nil:
			return nil, api.WithDocumentKind(err)
		}
		return d, nil
	}
	d, err := pictures.Open(ctx, path)
	if err != nil {
		return nil, api.WithDocumentKind(err)
	}
	return d, nil
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
