package server

import (
	"bufio"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/server/web"
)

// Tokens are the bearer tokens that clients may show. Only their hashes are held.
type Tokens struct{ hashes [][sha256.Size]byte }

// ReadTokens reads a file of tokens, one a line: the token, or its SHA-256 in hexadecimal, alone or
// behind "sha256:", as `printf %s TOKEN | sha256sum` prints it. What stands behind white space is for
// people, and so are lines that begin with #. A file without a token is an error.
func ReadTokens(r io.Reader) (*Tokens, error) {
	t := &Tokens{}
	lines := bufio.NewScanner(r)
	for n := 1; lines.Scan(); n++ {
		fields := strings.Fields(lines.Text())
		if len(fields) == 0 || strings.HasPrefix(fields[0], "#") {
			continue
		}
		word, isHash := strings.CutPrefix(fields[0], "sha256:")
		hash, err := hex.DecodeString(word)
		switch {
		case err == nil && len(hash) == sha256.Size:
			t.hashes = append(t.hashes, [sha256.Size]byte(hash))
		case isHash:
			return nil, fmt.Errorf("line %d: behind sha256: stand no 64 hexadecimal digits", n)
		case len(word) < leastToken:
			return nil, fmt.Errorf("line %d: a token has %d characters at least", n, leastToken)
		default:
			t.hashes = append(t.hashes, sha256.Sum256([]byte(word)))
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	if len(t.hashes) == 0 {
		return nil, fmt.Errorf("there is no token in it")
	}
	return t, nil
}

// leastToken is the least length of a token that is given as it is: shorter ones can be guessed.
const leastToken = 8

// allow reports whether a request shows one of the tokens. It takes as long for any that it does not.
func (t *Tokens) allow(r *http.Request) bool {
	shown := r.Header.Get("X-Api-Key") // Anthropic's clients
	if kind, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(kind, "Bearer") {
		shown = strings.TrimSpace(token)
	}
	hash := sha256.Sum256([]byte(shown))
	found := 0
	for _, h := range t.hashes {
		found |= subtle.ConstantTimeCompare(hash[:], h[:])
	}
	return found == 1
}

// kindToken is the kind of requests without a token.
var kindToken = api.Kind{Name: "unauthorized", Exit: api.ExitOther, Status: http.StatusUnauthorized}

// kindForbidden is the kind of requests from where none are taken.
var kindForbidden = api.Kind{Name: "forbidden", Exit: api.ExitOther, Status: http.StatusForbidden}

// open are the paths that need no token: whether the server lives tells nothing.
var open = map[string]bool{"/healthz": true, "/readyz": true}

// admit refuses a request that may not be made.
func (s *Server) admit(r *http.Request) error {
	if err := s.checkOrigin(r); err != nil {
		return err
	}
	if s.config.Tokens != nil && !open[r.URL.Path] && !s.config.Tokens.allow(r) {
		return api.WithKind(fmt.Errorf("this server wants a token: send the header Authorization: Bearer TOKEN"), kindToken)
	}
	return nil
}

// checkOrigin refuses what a page of another site sends from a user's browser. Such a page needs no
// token where there are none, and can point a name of its own at this machine.
func (s *Server) checkOrigin(r *http.Request) error {
	if origin := r.Header.Get("Origin"); origin != "" && !s.allowedOrigin(r, origin) {
		return api.WithKind(fmt.Errorf("pages of %s may not ask this server; see --cors-origin", web.Shortened(origin)),
			kindForbidden)
	}
	if s.config.Hosts != nil && !s.config.Hosts(r.Host) {
		return api.WithKind(fmt.Errorf("this server does not answer for the host %q; see --allow-host", web.Shortened(r.Host)),
			kindForbidden)
	}
	return nil
}

// allowedOrigin reports whether a page of an origin may ask: of this server itself, or one that the
// operator named.
func (s *Server) allowedOrigin(r *http.Request, origin string) bool {
	for _, allowed := range s.config.Origins {
		if allowed == "*" || strings.EqualFold(allowed, origin) {
			return true
		}
	}
	_, host, _ := strings.Cut(origin, "://")
	return strings.EqualFold(host, r.Host)
}
