package web

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"path"
	"strings"

	"github.com/crossattn/xpipe/studio"
)

// served are the static files by the names that they are asked for by: with their content's hash, so that a
// browser may keep them for ever.
var served, assetNames = func() (map[string][]byte, map[string]string) {
	contents, names := map[string][]byte{}, map[string]string{}
	list, err := files.ReadDir("static")
	if err != nil {
		panic(err) // they are embedded
	}
	for _, f := range list {
		data, err := files.ReadFile("static/" + f.Name())
		if err != nil {
			panic(err)
		}
		sum := sha256.Sum256(data)
		suffix := path.Ext(f.Name())
		name := strings.TrimSuffix(f.Name(), suffix) + "-" + hex.EncodeToString(sum[:6]) + suffix
		contents[name], names[f.Name()] = data, "/studio/static/"+name
	}
	return contents, names
}()

// asset is the path of a static file.
func asset(name string) (string, error) {
	if at, ok := assetNames[name]; ok {
		return at, nil
	}
	return "", fmt.Errorf("there is no static file %q", name)
}

var assetTypes = map[string]string{
	".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml",
}

// static serves a static file.
func (p *Page) static(w http.ResponseWriter, r *http.Request) error {
	data, ok := served[r.PathValue("name")]
	if !ok {
		return studio.ErrNotFound
	}
	h := w.Header()
	h.Set("Content-Type", assetTypes[path.Ext(r.PathValue("name"))])
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	h.Set("Vary", "Accept-Encoding")
	if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
		var b bytes.Buffer
		z := gzip.NewWriter(&b)
		z.Write(data)
		z.Close()
		h.Set("Content-Encoding", "gzip")
		data = b.Bytes()
	}
	w.Write(data)
	return nil
}
