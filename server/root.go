package server

import (
	"mime"
	"net/http"
	"strings"

	"github.com/crossattn/xpipe/server/immich"
	"github.com/crossattn/xpipe/server/ollama"
)

// root answers "/", by which programs tell what kind of server is there: to those that take HTML, browsers, it is
// the page if there is one, to those that take JSON Immich's machine learning, to all others an Ollama.
func (s *Server) root(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept")
	if s.page != nil && accepts(r, "text/html") {
		s.page.Home().ServeHTTP(w, r)
		return
	}
	if accepts(r, "application/json") {
		immich.Root(w, r)
		return
	}
	ollama.Root(w, r)
}

// accepts reports whether a request names a media type among those that it takes; */* names none.
func accepts(r *http.Request, mediaType string) bool {
	for _, list := range r.Header.Values("Accept") {
		for one := range strings.SplitSeq(list, ",") {
			if name, _, err := mime.ParseMediaType(one); err == nil && name == mediaType {
				return true
			}
		}
	}
	return false
}
