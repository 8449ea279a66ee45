package web

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"image"
	"image/jpeg"
	"io"
	"mime"
	"net/http"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	server "github.com/crossattn/xpipe/server/web"
	"github.com/crossattn/xpipe/studio"
	"github.com/crossattn/xpipe/vision"
)

// shown are the media types that a browser is shown as what they are. All else is given to be kept as a file: a
// page or a drawing with scripts in it is never run here.
var shown = []string{
	"image/png", "image/jpeg", "image/gif", "image/webp", "image/avif", "image/bmp",
	"audio/wav", "audio/mpeg", "audio/ogg", "audio/flac", "audio/mp4", "audio/webm",
	"video/mp4", "video/webm", "video/ogg", "video/quicktime",
}

// suffixTypes are media types by suffix, for what its first bytes do not tell.
var suffixTypes = map[string]string{
	".flac": "audio/flac", ".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".opus": "audio/ogg", ".oga": "audio/ogg", ".m4a": "audio/mp4",
	".mov": "video/quicktime", ".mkv": "video/x-matroska", ".avi": "video/x-msvideo",
	".md": "text/markdown", ".csv": "text/csv", ".tsv": "text/csv", ".dcm": "application/dicom",
	".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
	".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
	".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
	".svg":  "image/svg+xml", ".html": "text/html", ".htm": "text/html", ".xml": "text/xml",
	".heic": "image/heic", ".heif": "image/heic", ".avif": "image/avif", ".qoi": "image/x-qoi", ".tga": "image/x-tga",
	".ppm": "image/x-portable-anymap", ".pgm": "image/x-portable-anymap", ".pbm": "image/x-portable-anymap",
}

// mediaType tells what a file is by its first bytes, and where these do not tell by its name. What the browser
// says does not count.
func mediaType(name string, head []byte) string {
	kind, _, _ := mime.ParseMediaType(http.DetectContentType(head))
	suffix := strings.ToLower(path.Ext(name))
	switch {
	case bytes.HasPrefix(head, []byte("II*\x00")) || bytes.HasPrefix(head, []byte("MM\x00*")):
		return "image/tiff"
	case bytes.HasPrefix(head, []byte("fLaC")):
		return "audio/flac"
	case len(head) > 132 && string(head[128:132]) == "DICM":
		return "application/dicom"
	case len(head) > 12 && string(head[4:8]) == "ftyp" && slices.Contains([]string{"heic", "heix", "mif1", "heim"}, string(head[8:12])):
		return "image/heic"
	case len(head) > 12 && string(head[4:8]) == "ftyp" && string(head[8:12]) == "avif":
		return "image/avif"
	case kind == "audio/wave":
		return "audio/wav"
	case kind == "application/ogg":
		return cmp.Or(map[string]string{".ogv": "video/ogg"}[suffix], "audio/ogg")
	case kind == "application/zip" && suffixTypes[suffix] != "", kind == "text/plain" && suffixTypes[suffix] != "":
		return suffixTypes[suffix]
	case kind == "video/mp4" && suffix == ".m4a":
		return "audio/mp4"
	case kind == "application/octet-stream":
		return cmp.Or(suffixTypes[suffix], kind)
	}
	return kind
}

// upload takes an attachment: the body of the request, its name in the header X-Name, percent-encoded. It
// answers with the part that a message may have.
func (p *Page) upload(w http.ResponseWriter, r *http.Request) error {
	name, err := unescapeName(r.Header.Get("X-Name"))
	if err != nil {
		return err
	}
	if r.ContentLength > p.fileBytes {
		return &http.MaxBytesError{Limit: p.fileBytes}
	}
	head := make([]byte, 512)
	n, err := io.ReadFull(r.Body, head)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return err
	}
	if n == 0 {
		return server.Badf("%s is empty", name)
	}
	head = head[:n]
	part := studio.Part{Name: name, Type: mediaType(name, head)}
	part.Kind = studio.KindOf(part.Type)
	blob, err := p.store.PutBlob(r.Context(), io.MultiReader(bytes.NewReader(head), r.Body), p.fileBytes)
	if err != nil {
		return err
	}
	part.Blob, part.Size = blob.Hash, blob.Size
	if part.Kind == studio.KindPage || part.Kind == studio.KindFile && strings.HasPrefix(part.Type, "text/") {
		ctx, cancel := context.WithTimeout(r.Context(), readTime)
		defer cancel()
		text, err := p.desk.Text(ctx, part)
		if err != nil && part.Kind == studio.KindPage && ctx.Err() == nil {
			_, message := statusOf(err)
			return server.Badf("%s cannot be read: %s", name, message)
		}
		part.Text = text
	}
	return done(w, part)
}

// readTime bounds the reading of a document's own text when it is attached.
const readTime = time.Minute

func unescapeName(text string) (string, error) {
	name, err := urlUnescape(text)
	if err != nil || name == "" {
		return "", server.Badf("the header X-Name has to say the file's name, percent-encoded")
	}
	return studio.FileName(name), nil
}

// attachment finds an attachment of a workspace.
func (p *Page) attachment(r *http.Request) (*studio.Part, error) {
	blob := studio.Hash(r.PathValue("blob"))
	if !blob.Valid() {
		return nil, studio.ErrNotFound
	}
	return p.store.Attachment(r.Context(), id(r, "workspace"), blob)
}

// blobPolicy is the Content-Security-Policy of attachments: whatever they are, they do nothing.
const blobPolicy = "default-src 'none'; sandbox; frame-ancestors 'none'"

// safe sets the headers of what people brought.
func safe(h http.Header) {
	h.Set("Content-Security-Policy", blobPolicy)
	h.Set("Cache-Control", "private, max-age=31536000, immutable")
}

// blob serves an attachment.
func (p *Page) blob(w http.ResponseWriter, r *http.Request) error {
	part, err := p.attachment(r)
	if err != nil {
		return err
	}
	f, err := p.store.OpenBlob(r.Context(), part.Blob)
	if err != nil {
		return err
	}
	defer f.Close()
	h := w.Header()
	safe(h)
	kind, how := "application/octet-stream", "attachment"
	if slices.Contains(shown, part.Type) {
		kind, how = part.Type, "inline"
	}
	h.Set("Content-Type", kind)
	h.Set("Content-Disposition", mime.FormatMediaType(how, map[string]string{"filename": part.Name}))
	http.ServeContent(w, r, "", time.Time{}, f)
	return nil
}

// mostPreview bounds a preview's sides, in pixels.
const mostPreview = 1280

// preview serves a picture made small, as a JPEG: also those of kinds that browsers do not know.
func (p *Page) preview(w http.ResponseWriter, r *http.Request) error {
	part, err := p.attachment(r)
	if err != nil {
		return err
	}
	if part.Kind != studio.KindPicture {
		return studio.ErrNotFound
	}
	side, err := strconv.Atoi(cmp.Or(r.FormValue("side"), "512"))
	if err != nil || side < 16 || side > mostPreview {
		return server.Badf("side is a number of pixels from 16 to %d", mostPreview)
	}
	return p.draw(w, r, func(ctx context.Context) (image.Image, error) {
		f, err := p.store.OpenBlob(ctx, part.Blob)
		if err != nil {
			return nil, err
		}
		defer f.Close()
		img, err := vision.Decode(f)
		if err != nil {
			return nil, err
		}
		return vision.Thumbnail(img, side, side)
	})
}

// pagePicture serves the picture of a page of a document.
func (p *Page) pagePicture(w http.ResponseWriter, r *http.Request) error {
	part, err := p.attachment(r)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(r.PathValue("page"))
	if err != nil || n < 1 {
		return studio.ErrNotFound
	}
	return p.draw(w, r, func(ctx context.Context) (image.Image, error) {
		doc, err := p.desk.Paged(ctx, *part)
		if err != nil {
			return nil, err
		}
		defer doc.Close()
		if n > doc.Pages() {
			return nil, fmt.Errorf("%w: page %d of %d", studio.ErrNotFound, n, doc.Pages())
		}
		img, err := doc.Render(ctx, n, 110)
		if err != nil {
			return nil, err
		}
		return vision.Thumbnail(img, 2*mostPreview, 2*mostPreview)
	})
}

// draw serves a picture that is made for it. Few are made at once: each takes the memory of its pixels.
func (p *Page) draw(w http.ResponseWriter, r *http.Request, picture func(context.Context) (image.Image, error)) error {
	select {
	case p.previews <- struct{}{}:
	case <-r.Context().Done():
		return r.Context().Err()
	}
	defer func() { <-p.previews }()
	img, err := picture(r.Context())
	if err != nil {
		return err
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 85}); err != nil {
		return err
	}
	safe(w.Header())
	w.Header().Set("Content-Type", "image/jpeg")
	w.Write(b.Bytes())
	return nil
}
