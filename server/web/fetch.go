package web

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"

	"github.com/crossattn/xpipe/api"
)

// errPrivate is the error of an address that is not the open network's.
var errPrivate = errors.New("the address is private to this machine or its network")

// notPublic are prefixes of addresses that are not reached from everywhere, beside those that package
// netip knows: for carriers, benchmarks, documentation, other uses of IPv4 and of IPv6 (IANA's registries
// of special-purpose addresses), and those that carry an IPv4 address inside.
var notPublic = prefixes(
	"0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15",
	"198.51.100.0/24", "203.0.113.0/24", "240.0.0.0/4",
	"::/96", "64:ff9b::/96", "64:ff9b:1::/48", "100::/64", "2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20",
	"5f00::/16", "fec0::/10",
)

func prefixes(list ...string) (all []netip.Prefix) {
	for _, p := range list {
		all = append(all, netip.MustParsePrefix(p))
	}
	return all
}

// isPublic reports whether an address is one of the open network.
func isPublic(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsGlobalUnicast() || a.IsPrivate() || a.Zone() != "" {
		return false
	}
	for _, p := range notPublic {
		if p.Contains(a) {
			return false
		}
	}
	return true
}

// mostRedirects bounds those of a fetch.
const mostRedirects = 5

// Fetcher returns a function for Media.Fetch: it gets up to so many bytes from public addresses alone.
// Every connection is checked at the address that it is made to, so that neither a redirect nor a name
// that resolves to another address the second time leads elsewhere. No proxy, cookie or password of this
// machine is used.
func Fetcher(most int64, timeout time.Duration) func(ctx context.Context, u *url.URL) ([]byte, error) {
	return fetcher(most, timeout, isPublic)
}

func fetcher(
	most int64, timeout time.Duration, allowed func(netip.Addr) bool,
) func(ctx context.Context, u *url.URL) ([]byte, error) {
	dialer := &net.Dialer{Timeout: 10 * time.Second, Control: func(_, address string, _ syscall.RawConn) error {
		at, err := netip.ParseAddrPort(address)
		if err != nil || !allowed(at.Addr()) {
			return errPrivate
		}
		return nil
	}}
	client := &http.Client{
		Timeout: timeout,
		Transport: &http.Transport{
			DialContext: dialer.DialContext, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second, MaxIdleConns: 16, IdleConnTimeout: 30 * time.Second,
			MaxResponseHeaderBytes: 64 << 10,
		},
		CheckRedirect: func(r *http.Request, via []*http.Request) error {
			if len(via) > mostRedirects || r.URL.Scheme != "http" && r.URL.Scheme != "https" {
				return errors.New("too many redirects, or one to another scheme")
			}
			r.Header.Del("Referer")
			return nil
		},
	}
	return func(ctx context.Context, u *url.URL) ([]byte, error) {
		data, err := fetch(ctx, client, u, most)
		switch {
		case err == nil:
			return data, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, errPrivate):
			return nil, Badf("%s is not fetched: %w", u.Redacted(), errPrivate)
		}
		// What a connection said of its failure is no client's business: it tells of networks.
		return nil, api.Inputf("%s cannot be fetched", Shortened(u.Redacted()))
	}
}

// fetch gets up to so many bytes of what lies at a URL.
func fetch(ctx context.Context, client *http.Client, u *url.URL, most int64) ([]byte, error) {
	if u.User != nil {
		return nil, errors.New("a password in a URL")
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "xpipe")
	answer, err := client.Do(r)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d", answer.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(answer.Body, most+1))
	if err == nil && int64(len(data)) > most {
		err = fmt.Errorf("more than %d bytes", most)
	}
	return data, err
}
