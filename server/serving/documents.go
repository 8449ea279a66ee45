package serving

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"image"
	"slices"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
)

// IsPDF reports whether a file that a client sent is a PDF file.
func IsPDF(data []byte) bool { return bytes.Contains(data[:min(len(data), 1024)], []byte("%PDF-")) }

// IsText reports whether a file that a client sent is plain text.
func IsText(data []byte) bool {
	return utf8.Valid(data) && !bytes.ContainsRune(data, 0) && !IsPDF(data)
}

// Bounds of documents of clients.
const (
	documentBytes = 64 << 20 // of the text that is kept of documents
	documentDPI   = 150
	mostScanned   = 64 // pages of one document that are pictures and are read
)

// DocumentQuery is a document that a client asks about.
type DocumentQuery struct {
	Name     string
	Data     []byte      // of a PDF file
	Picture  image.Image // a page, in place of Data
	Password string
	Number   int // of the only page that is asked; 0: all are
}

// Document makes a client's document ready to be asked. What is read of it is kept for the next question. The caller
// closes what Document of the result is. Errors have the kind KindNotAllowed where this server opens no documents.
func (s *Service) Document(ctx context.Context, q DocumentQuery) (*api.AskDocument, error) {
	a := &api.AskDocument{Name: q.Name, Number: q.Number}
	if q.Picture != nil {
		a.Document = api.PictureDocument(q.Picture)
	} else {
		if s.config.OpenDocument == nil {
			return nil, api.WithKind(errors.New("this server reads no documents; send pages as pictures"), KindNotAllowed)
		}
		var err error
		if a.Document, err = s.config.OpenDocument(ctx, q.Name, q.Data, q.Password); err != nil {
			return nil, err
		}
	}
	var scanned atomic.Int32
	a.Reader = &api.DocumentReader{OCR: "auto", DPI: documentDPI}
	a.Reader.Read = func(ctx context.Context, img image.Image) (*pipeline.Page, error) {
		if scanned.Add(1) > mostScanned {
			return nil, fmt.Errorf("%w: of a document %d pages that are pictures are read, no more", document.ErrLimit, mostScanned)
		}
		m, release, err := s.Use(ctx, s.Catalog.For("read"))
		if err != nil {
			return nil, err
		}
		defer release()
		return m.P.Read(ctx, img)
	}
	if q.Picture != nil {
		return a, nil
	}
	key := sha256.Sum256(fmt.Appendf(slices.Clone(q.Data), "%d", q.Number))
	text, err := s.texts.get(ctx, key, func() (*api.DocumentText, error) { return a.Text(ctx) })
	if err != nil {
		a.Document.Close()
		return nil, api.WithDocumentKind(err)
	}
	a.SetText(text)
	return a, nil
}

// newTexts makes the cache of what was read of documents.
func newTexts() *cache[*api.DocumentText] {
	size := func(t *api.DocumentText) (n int64) {
		for _, p := range t.Pages {
			n += int64(8*len(p.Text) + 400*len(p.Lines))
		}
		return n + 1<<10
	}
	return newCache(documentBytes, size, func(bool) {})
}

// AnswersByLine reports whether a question to the model about a document is answered by a line of it: the model is
// embedded, and too small to read a page, or does nothing but read.
func (m *Model) AnswersByLine() bool {
	return m.Can.Read && !m.Can.Write || !m.Can.Chat && slices.Contains(mini.Names(), strings.TrimSuffix(m.Name, ":latest"))
}
