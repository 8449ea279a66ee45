package web

import (
	"context"
	"net/url"
	"strings"
)

// Media gets the pictures and sounds that requests refer to.
type Media struct {
	// Fetch gets what lies at a URL; nil: nothing is fetched.
	Fetch func(ctx context.Context, u *url.URL) ([]byte, error)
}

// Load returns what a reference in a request stands for: a data: URL, or where the operator allows it
// an http or https URL. Errors are the client's.
func (m *Media) Load(ctx context.Context, ref string) ([]byte, error) {
	if _, data, ok, err := DataURL(ref); ok {
		return data, err
	}
	u, err := url.Parse(ref)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, Badf("a picture or sound is given as a data: URL with base64, not as %q", Shortened(ref))
	}
	if m.Fetch == nil {
		return nil, Badf("this server fetches nothing from URLs; send the file itself as a data: URL")
	}
	return m.Fetch(ctx, u)
}

// Shortened is the beginning of a text that may be long.
func Shortened(s string) string {
	if s = strings.ToValidUTF8(s, "?"); len([]rune(s)) > 40 {
		s = string([]rune(s)[:40]) + "..."
	}
	return s
}
