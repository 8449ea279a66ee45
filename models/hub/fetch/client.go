// Package fetch brings files of Hugging Face's hub, or of a mirror, into the cache of package hub. It
// is apart from it because it brings net/http along.
//
// What a hub says is not trusted: names that lead out of a repository are refused, and a file has to
// have the size and the hash that the hub's listing gives before it appears in the cache. Which of a
// repository's files a model needs is not decided here but by the caller.
package fetch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/crossattn/xpipe/models/hub"
)

// Why the hub does not give what was asked for.
var (
	ErrOffline  = errors.New("HF_HUB_OFFLINE forbids the network")
	ErrNotFound = errors.New("the hub has no such repository or revision, or shows it only to others: set HF_TOKEN")
	ErrGated    = errors.New("the hub asks for more rights: accept the model's terms on its page, and set HF_TOKEN")
	ErrServer   = errors.New("the hub failed")      // after retries
	ErrDamaged  = errors.New("not what was listed") // a file of another size or hash
	ErrListing  = errors.New("the hub's listing cannot be used")
)

// Client fetches from a hub into a cache. It may be used by several goroutines.
type Client struct {
	Cache    hub.Cache
	Endpoint string // DefaultEndpoint, or a mirror; without / at its end
	Token    string // sent to Endpoint alone, not to where it redirects; "" for none
	Offline  bool   // every call that needs the network gives ErrOffline

	HTTP     *http.Client  // nil for one without a limit on the whole time of a file
	Attempts int           // for each request and file; 0 for 6
	Patience time.Duration // how long a server may send nothing; 0 for 30 s
	Parallel int           // files at once; 0 for 4

	// wait sleeps between attempts; a test replaces it.
	wait func(context.Context, time.Duration) error
}

// NewClient makes a client of settings.
func NewClient(s hub.Settings) *Client {
	return &Client{Cache: hub.Cache{Dir: s.Cache}, Endpoint: s.Endpoint, Token: s.Token, Offline: s.Offline}
}

// File is one file of a repository.
type File struct {
	Path   string // with /, within the repository
	Size   int64
	SHA256 string // of large files (LFS), hex; "" for others
	Git    string // git's hash of a blob, SHA-1 in hex, of files that are not large
}

// hash names the file's blob in the cache.
func (f File) hash() string {
	if f.SHA256 != "" {
		return f.SHA256
	}
	return f.Git
}

// Info is what the hub says of a repository's state.
type Info struct {
	Ref    hub.Ref
	Commit string
	Files  []File // sorted by path
	// License is the tag of the model's card, such as "apache-2.0"; "" where there is none.
	License string
}

// listing is the part of GET /api/models/REPO/revision/REV?blobs=true that is used.
type listing struct {
	SHA      string   `json:"sha"`
	Tags     []string `json:"tags"`
	Siblings []struct {
		Path string `json:"rfilename"`
		Size *int64 `json:"size"`
		Blob string `json:"blobId"`
		LFS  *struct {
			SHA256 string `json:"sha256"`
			Size   *int64 `json:"size"`
		} `json:"lfs"`
	} `json:"siblings"`
}

// Bounds of a listing.
const (
	listingBytes = 64 << 20
	listingFiles = 100_000
)

// Info asks the hub for a repository's commit and files. Names that lead out of the repository, and
// files without a size or hash, make it an error that wraps ErrListing.
func (c *Client) Info(ctx context.Context, r hub.Ref) (*Info, error) {
	if c.Offline {
		return nil, fmt.Errorf("%s: %w", r, ErrOffline)
	}
	address := c.Endpoint + "/api/models/" + r.Repo + "/revision/" + url.PathEscape(r.Revision) + "?blobs=true"
	var l listing
	err := c.retry(ctx, func(ctx context.Context) error {
		response, err := c.get(ctx, address, 0)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return statusError(response)
		}
		body, err := io.ReadAll(io.LimitReader(response.Body, listingBytes+1))
		if err != nil {
			return transient{err}
		}
		if len(body) > listingBytes {
			return fmt.Errorf("%w: it has more than %d bytes", ErrListing, listingBytes)
		}
		if err := json.Unmarshal(body, &l); err != nil {
			return fmt.Errorf("%w: %w", ErrListing, err)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r, err)
	}
	info, err := l.info(r)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r, err)
	}
	return info, nil
}

func (l *listing) info(r hub.Ref) (*Info, error) {
	if !hub.IsCommit(l.SHA) {
		return nil, fmt.Errorf("%w: %.50q is no commit", ErrListing, l.SHA)
	}
	if hub.IsCommit(r.Revision) && l.SHA != r.Revision {
		return nil, fmt.Errorf("%w: it is of commit %s", ErrListing, l.SHA)
	}
	if len(l.Siblings) > listingFiles {
		return nil, fmt.Errorf("%w: %d files, the limit is %d", ErrListing, len(l.Siblings), listingFiles)
	}
	info := &Info{Ref: r, Commit: l.SHA}
	for _, tag := range l.Tags {
		if name, ok := strings.CutPrefix(tag, "license:"); ok {
			info.License = name
		}
	}
	seen := map[string]bool{}
	for _, s := range l.Siblings {
		f := File{Path: s.Path, Git: s.Blob}
		size := s.Size
		if s.LFS != nil {
			f.Git, f.SHA256 = "", s.LFS.SHA256
			if s.LFS.Size != nil {
				size = s.LFS.Size
			}
		}
		switch {
		// IsLocal knows the names that a system reserves; a backslash is no part of a name anywhere.
		case !fs.ValidPath(f.Path) || !filepath.IsLocal(filepath.FromSlash(f.Path)) ||
			strings.ContainsAny(f.Path, "\\:\x00") || f.Path == ".":
			return nil, fmt.Errorf("%w: a file is called %.100q", ErrListing, f.Path)
		case seen[f.Path]:
			return nil, fmt.Errorf("%w: %s is there twice", ErrListing, f.Path)
		case size == nil || *size < 0:
			return nil, fmt.Errorf("%w: it does not give the size of %s", ErrListing, f.Path)
		case f.SHA256 != "" && !isHex(f.SHA256, 64), f.SHA256 == "" && !isHex(f.Git, 40):
			return nil, fmt.Errorf("%w: it gives no hash of %s", ErrListing, f.Path)
		}
		f.Size, seen[f.Path] = *size, true
		info.Files = append(info.Files, f)
	}
	slices.SortFunc(info.Files, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return info, nil
}

func isHex(s string, n int) bool {
	return len(s) == n && strings.Trim(s, "0123456789abcdef") == ""
}

// get starts a request, from a byte on.
func (c *Client) get(ctx context.Context, address string, from int64) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, err
	}
	// Bytes as they lie: a compressed answer would have another length, and could not be resumed.
	request.Header.Set("Accept-Encoding", "identity")
	request.Header.Set("User-Agent", "xpipe")
	if c.Token != "" {
		request.Header.Set("Authorization", "Bearer "+c.Token)
	}
	if from > 0 {
		request.Header.Set("Range", "bytes="+strconv.FormatInt(from, 10)+"-")
	}
	var client http.Client
	if c.HTTP != nil {
		client = *c.HTTP
	}
	client.CheckRedirect = checkRedirect
	response, err := client.Do(request)
	if err != nil {
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, transient{err}
	}
	return response, nil
}

// checkRedirect keeps the token from other hosts. net/http does so too, but takes all ports of a
// machine for one host.
func checkRedirect(request *http.Request, via []*http.Request) error {
	if len(via) >= 10 {
		return errors.New("10 redirects")
	}
	if first := via[0].URL; request.URL.Host != first.Host || request.URL.Scheme != first.Scheme {
		request.Header.Del("Authorization")
	}
	return nil
}

// transient marks errors after which another attempt may succeed.
type transient struct{ error }

func (t transient) Unwrap() error { return t.error }

// later is a transient error with the time that the server asked to wait.
type later struct {
	error
	wait time.Duration
}

func (l later) Unwrap() error { return l.error }

// longestWait bounds what a server may ask for.
const longestWait = 2 * time.Minute

// statusError says what an answer other than success means.
func statusError(response *http.Response) error {
	// The hub says why in headers; of the body a line is enough.
	why := response.Header.Get("X-Error-Message")
	if why == "" {
		body, _ := io.ReadAll(io.LimitReader(response.Body, 200))
		why, _, _ = strings.Cut(strings.TrimSpace(string(body)), "\n")
	}
	err := fmt.Errorf("%s: %.200q", response.Status, why)
	code := response.StatusCode
	switch {
	case response.Header.Get("X-Error-Code") == "GatedRepo" || code == http.StatusForbidden:
		return fmt.Errorf("%w (%w)", ErrGated, err)
	case code == http.StatusUnauthorized || code == http.StatusNotFound:
		return fmt.Errorf("%w (%w)", ErrNotFound, err)
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable:
		if seconds, e := strconv.Atoi(response.Header.Get("Retry-After")); e == nil && seconds >= 0 {
			return later{err, min(time.Duration(seconds)*time.Second, longestWait)}
		}
		return transient{err}
	case code >= 500 || code == http.StatusRequestTimeout:
		return transient{err}
	}
	return fmt.Errorf("%w: %w", ErrServer, err)
}

// retry calls f until it succeeds, fails for good or the attempts are used up, with pauses that
// double from a second on. A server that sends nothing for the client's patience has failed.
func (c *Client) retry(ctx context.Context, f func(context.Context) error) error {
	attempts := c.Attempts
	if attempts == 0 {
		attempts = 6
	}
	pause := time.Second
	for n := 1; ; n++ {
		err := f(ctx)
		var t transient
		var l later
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case !errors.As(err, &t) && !errors.As(err, &l):
			return err
		case n == attempts:
			return fmt.Errorf("%w %d times, the last time: %w", ErrServer, n, err)
		}
		wait := pause
		if errors.As(err, &l) {
			wait = max(l.wait, pause)
		}
		pause *= 2
		if err := c.pause(ctx, wait); err != nil {
			return err
		}
	}
}

func (c *Client) pause(ctx context.Context, d time.Duration) error {
	if c.wait != nil {
		return c.wait(ctx, d)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}
