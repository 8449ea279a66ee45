package web

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestPublicAddresses(t *testing.T) {
	t.Parallel()
	for address, public := range map[string]bool{
		"1.1.1.1": true, "93.184.216.34": true, "2606:4700::1111": true, "::ffff:1.1.1.1": true,
		"127.0.0.1": false, "127.8.9.1": false, "10.0.0.1": false, "172.16.3.4": false, "192.168.1.1": false,
		"169.254.169.254": false, "100.64.0.1": false, "0.0.0.0": false, "224.0.0.1": false, "255.255.255.255": false,
		"::1": false, "::": false, "fe80::1": false, "fc00::1": false, "fd12::1": false, "ff02::1": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::7f00:1": false, "64:ff9b::7f00:1": false, "2002:7f00:1::": false,
		"2001:0:7f00:1::": false, "fec0::1": false,
	} {
		if got := isPublic(netip.MustParseAddr(address)); got != public {
			t.Errorf("%s is public: %t", address, got)
		}
	}
}

// get fetches a URL, with loopback addresses of one server counted as public.
func get(t *testing.T, address string, allowed func(netip.Addr) bool) ([]byte, error) {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return fetcher(100, 5*time.Second, allowed)(t.Context(), u)
}

func TestFetch(t *testing.T) {
	t.Parallel()
	var server *httptest.Server
	server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/picture":
			w.Write([]byte("pixels"))
		case "/long":
			w.Write(make([]byte, 101))
		case "/loop":
			http.Redirect(w, r, "/loop", http.StatusFound)
		case "/away":
			http.Redirect(w, r, strings.Replace(server.URL, "127.0.0.1", "localhost", 1)+"/picture", http.StatusFound)
		case "/file":
			http.Redirect(w, r, "file:///etc/hostname", http.StatusFound)
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	all := func(netip.Addr) bool { return true }
	if data, err := get(t, server.URL+"/picture", all); err != nil || string(data) != "pixels" {
		t.Fatalf("%q, %v", data, err)
	}
	for _, path := range []string{"/long", "/loop", "/none", "/file"} {
		if data, err := get(t, server.URL+path, all); err == nil {
			t.Errorf("%s gives %q", path, data)
		}
	}
	if _, err := get(t, server.URL+"/picture", isPublic); err == nil || !strings.Contains(err.Error(), "private") {
		t.Errorf("a loopback address: %v", err)
	}
	// The first connection may be made, the one behind the redirect not.
	calls := 0
	if _, err := get(t, server.URL+"/away", func(netip.Addr) bool { calls++; return calls == 1 }); err == nil || !strings.Contains(err.Error(), "private") {
		t.Errorf("a redirect to an address that is private: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	u, _ := url.Parse(server.URL)
	if _, err := fetcher(1, time.Second, all)(ctx, u); err == nil {
		t.Error("a context that ended fetches")
	}
}

// A server that says nothing is left after the time.
func TestFetchStalls(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	u := &url.URL{Scheme: "http", Host: l.Addr().String()}
	if _, err := fetcher(1, 50*time.Millisecond, func(netip.Addr) bool { return true })(t.Context(), u); err == nil {
		t.Error("it came to an end")
	}
}
