package ortlib

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"time"
)

const (
	maxRedirects = 5
	// minProgress is how many bytes a server must send in installer.stall.
	minProgress = 64 << 10
)

// download fetches an archive over https into temp. It ends with an error when the server sends too
// much, too slowly, less than it promised, or points to an address that is not https.
func (in *installer) download(
	ctx context.Context, opts InstallOptions, address, want, temp string,
) (source, error) {
	u, err := url.Parse(address)
	if err != nil {
		return source{}, errorf("%w", err)
	}
	if u.Scheme != "https" || u.Host == "" {
		return source{}, errorf("%s is no https address", address)
	}
	name := path.Base(u.Path)
	src := source{path: filepath.Join(temp, "download"), name: name, fetched: true, sha256: want}
	if err := in.get(ctx, opts, u, src.path); err != nil {
		return source{}, errorf("download of %s failed: %w", u.Redacted(), err)
	}
	return src, nil
}

func (in *installer) get(ctx context.Context, opts InstallOptions, u *url.URL, to string) error {
	client := http.Client{}
	if opts.Client != nil {
		client = *opts.Client
	}
	client.CheckRedirect = func(req *http.Request, via []*http.Request) error {
		if req.URL.Scheme != "https" {
			return fmt.Errorf("the server points to %s, which is not https", req.URL.Redacted())
		}
		if len(via) > maxRedirects {
			return errors.New("the server redirects in circles")
		}
		return nil
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stalled := time.AfterFunc(in.stall, func() {
		cancel(fmt.Errorf("the server sent next to nothing for %v", in.stall))
	})
	defer stalled.Stop()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	// Progress and limits count the bytes of the archive.
	req.Header.Set("Accept-Encoding", "identity")
	resp, err := client.Do(req)
	if err != nil {
		return causeOf(ctx, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return errors.New("the server answered " + resp.Status)
	}
	if resp.ContentLength > in.max {
		return fmt.Errorf("the server announces %d bytes, more than the limit of %d",
			resp.ContentLength, in.max)
	}
	f, err := os.Create(to)
	if err != nil {
		return err
	}
	defer f.Close()
	body := &meter{
		r: resp.Body, total: resp.ContentLength, report: opts.Progress,
		progressed: func() { stalled.Reset(in.stall) },
	}
	n, err := io.Copy(f, io.LimitReader(body, in.max+1))
	switch {
	// When we hang up, a server may end its body as if it were whole, and that end may still
	// arrive.
	case err != nil || ctx.Err() != nil:
		return causeOf(ctx, err)
	case n > in.max:
		return fmt.Errorf("the server sends more than the limit of %d bytes", in.max)
	case resp.ContentLength >= 0 && n != resp.ContentLength:
		return fmt.Errorf("the server sent %d bytes of %d", n, resp.ContentLength)
	}
	return f.Close()
}

// causeOf returns the reason why the context ended, or else err.
func causeOf(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

// meter watches bytes pass.
type meter struct {
	r           io.Reader
	done, total int64
	window      int64 // bytes since progressed was called
	report      func(done, total int64)
	progressed  func()
}

func (m *meter) Read(p []byte) (int, error) {
	n, err := m.r.Read(p)
	m.done += int64(n)
	if m.window += int64(n); m.window >= minProgress {
		m.window = 0
		m.progressed()
	}
	if m.report != nil {
		m.report(m.done, m.total)
	}
	return n, err
}
