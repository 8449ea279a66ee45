package web

import (
	"encoding/base64"
	"errors"
	"io"
	"mime"
	"mime/multipart"
	"net/http"
	"net/url"
	"strings"
)

// File is a file of a form.
type File struct {
	Name string // as the client calls it
	Type string // its media type, as the client says
	Data []byte
}

// Form is a multipart form in memory.
type Form struct {
	Values map[string][]string
	Files  map[string][]File
}

// Value returns the first value of a field; "" where there is none.
func (f *Form) Value(name string) string {
	if list := f.Values[name]; len(list) > 0 {
		return list[0]
	}
	return ""
}

// mostParts bounds the parts of a form.
const mostParts = 256

// mostValue bounds a field that is no file, in bytes.
const mostValue = 1 << 20

// ReadForm reads a multipart form. The body is bounded already; so are parts and fields here. Errors are
// the client's.
func ReadForm(r *http.Request) (*Form, error) {
	reader, err := r.MultipartReader()
	if err != nil {
		return nil, Badf("the request should be a form, multipart/form-data: %s", err)
	}
	form := &Form{Values: map[string][]string{}, Files: map[string][]File{}}
	for parts := 0; ; parts++ {
		part, err := reader.NextRawPart()
		if errors.Is(err, io.EOF) {
			return form, nil
		}
		if err != nil {
			return nil, badForm(err)
		}
		if parts == mostParts {
			return nil, Badf("the form has more than %d parts", mostParts)
		}
		if err := form.read(part); err != nil {
			return nil, err
		}
	}
}

// read reads a part of a form.
func (f *Form) read(part *multipart.Part) error {
	name := part.FormName()
	if part.FileName() == "" && !isFileHeader(part) {
		data, err := io.ReadAll(io.LimitReader(part, mostValue+1))
		if err != nil {
			return badForm(err)
		}
		if len(data) > mostValue {
			return Badf("the form's field %q is longer than %d bytes", name, mostValue)
		}
		f.Values[name] = append(f.Values[name], string(data))
		return nil
	}
	data, err := io.ReadAll(part)
	if err != nil {
		return badForm(err)
	}
	f.Files[name] = append(f.Files[name], File{part.FileName(), part.Header.Get("Content-Type"), data})
	return nil
}

// isFileHeader tells a file whose name is empty or missing by its media type.
func isFileHeader(part *multipart.Part) bool {
	kind, _, err := mime.ParseMediaType(part.Header.Get("Content-Type"))
	return err == nil && !strings.HasPrefix(kind, "text/") && kind != "application/json"
}

func badForm(err error) error {
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return err
	}
	return Badf("the form is damaged: %s", err)
}

// DataURL reads a data: URL, as clients send pictures and sounds. ok is false for a URL of another
// kind.
func DataURL(u string) (mediaType string, data []byte, ok bool, err error) {
	rest, ok := cutPrefixFold(u, "data:")
	if !ok {
		return "", nil, false, nil
	}
	head, body, found := strings.Cut(rest, ",")
	if !found {
		return "", nil, true, Badf("a data: URL has no comma")
	}
	mediaType, encoded := cutSuffixFold(head, ";base64")
	if !encoded {
		text, err := url.PathUnescape(body)
		if err != nil {
			return "", nil, true, Badf("a data: URL is damaged: %s", err)
		}
		return mediaType, []byte(text), true, nil
	}
	data, err = Base64(body)
	return mediaType, data, true, err
}

// Base64 decodes what clients call base64: with the alphabet of URLs or not, padded or not, with ends of
// lines.
func Base64(text string) ([]byte, error) {
	text = strings.NewReplacer("\r", "", "\n", "", " ", "", "-", "+", "_", "/").Replace(text)
	data, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(text, "="))
	if err != nil {
		return nil, Badf("the base64 is damaged: %s", err)
	}
	return data, nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

func cutSuffixFold(s, suffix string) (string, bool) {
	if len(s) >= len(suffix) && strings.EqualFold(s[len(s)-len(suffix):], suffix) {
		return s[:len(s)-len(suffix)], true
	}
	return s, false
}
