package ortlib

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func testInstaller(t *testing.T) *installer {
	return &installer{cache: filepath.Join(t.TempDir(), "cache"), goos: "linux", goarch: "amd64", stall: 10 * time.Second, max: 1 << 20}
}

// checkCache says what is wrong unless the cache holds exactly the versions, and nothing of a
// failed installation.
func checkCache(t *testing.T, in *installer, versions ...string) {
	t.Helper()
	entries, _ := os.ReadDir(in.cache)
	var have []string
	for _, e := range entries {
		have = append(have, e.Name())
	}
	if strings.Join(have, " ") != strings.Join(versions, " ") {
		t.Errorf("the cache holds %v, want %v", have, versions)
	}
}

const wheelName = "onnxruntime-1.24.4-cp313-cp313-manylinux_2_28_x86_64.whl"

func wheel() []byte {
	return zipOf(entry{"onnxruntime/__init__.py", "raise SystemExit"},
		entry{"onnxruntime/capi/libonnxruntime.so.1.24.4", string(fakeLibrary())},
		entry{"onnxruntime/capi/libonnxruntime_providers_shared.so", "stub"},
		entry{"onnxruntime/capi/onnxruntime_pybind11_state.so", "x"})
}

func TestInstallFromFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lib := string(fakeLibrary())
	write(t, dir, "folder/lib/libonnxruntime.so.1.24.2", fakeLibrary())
	write(t, dir, "folder/lib/readme", nil)
	for name, c := range map[string]struct {
		data    []byte
		version string
		files   string // in the folder of the version
	}{
		wheelName: {wheel(), "1.24.4", "install.json libonnxruntime.so.1.24.4 libonnxruntime_providers_shared.so"},
		"onnxruntime-linux-x64-1.25.0.tgz": {tgzOf(entry{"onnxruntime-linux-x64-1.25.0/lib/libonnxruntime.so.1.25.0", lib}, entry{"LICENSE", ""}),
			"1.25.0", "install.json libonnxruntime.so.1.25.0"},
		// One package for many platforms: the library this machine can load.
		"microsoft.ml.onnxruntime.1.26.0.nupkg": {zipOf(entry{"runtimes/linux-arm64/native/libonnxruntime.so", "\x7fELF of another machine"},
			entry{"runtimes/linux-x64/native/libonnxruntime.so", lib}), "1.26.0", "install.json libonnxruntime.so"},
		"libonnxruntime.so.1.24.1": {fakeLibrary(), "1.24.1", "install.json libonnxruntime.so.1.24.1"},
		"folder":                   {nil, "1.24.2", "install.json libonnxruntime.so.1.24.2"},
	} {
		in := testInstaller(t)
		path := filepath.Join(dir, name)
		if c.data != nil {
			write(t, dir, name, c.data)
		}
		got, err := in.install(t.Context(), InstallOptions{From: path})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.Version != c.version || filepath.Dir(got.Path) != filepath.Join(in.cache, c.version) {
			t.Errorf("%s: installed %v", name, got)
		}
		checkCache(t, in, c.version)
		var files []string
		entries, _ := os.ReadDir(filepath.Dir(got.Path))
		for _, e := range entries {
			files = append(files, e.Name())
		}
		if strings.Join(files, " ") != c.files {
			t.Errorf("%s: installed files %v, want %s", name, files, c.files)
		}
		r, err := readReceipt(filepath.Dir(got.Path))
		if err != nil || r.check(filepath.Dir(got.Path)) != "" || len(r.SHA256) != len(files)-1 {
			t.Errorf("%s: receipt %+v, %v", name, r, err)
		}
		os.WriteFile(got.Path, []byte("tampered"), 0o644)
		if r.check(filepath.Dir(got.Path)) == "" {
			t.Errorf("%s: a changed library goes unnoticed", name)
		}
		// Installing again mends it.
		if _, err := in.install(t.Context(), InstallOptions{From: path}); err != nil || r.check(filepath.Dir(got.Path)) != "" {
			t.Errorf("%s: not mended: %v", name, err)
		}
		checkCache(t, in, c.version)
	}
}

func TestInstallRefusesFiles(t *testing.T) {
	t.Parallel()
	lib := string(fakeLibrary())
	good := wheel()
	for name, c := range map[string]struct {
		data    []byte
		opts    InstallOptions
		problem string
	}{
		"slip.zip":                     {zipOf(entry{"../../../tmp/libonnxruntime.so", lib}), InstallOptions{}, "outside"},
		"slip.tgz":                     {tgzOf(entry{"/usr/lib/libonnxruntime.so", lib}), InstallOptions{}, "outside"},
		"slip-other.zip":               {zipOf(entry{"a/libonnxruntime.so", lib}, entry{"a/../../evil", ""}), InstallOptions{}, "outside"},
		"backslash.zip":                {zipOf(entry{`..\..\libonnxruntime.so`, lib}), InstallOptions{}, "outside"},
		"twice.zip":                    {zipOf(entry{"a/libonnxruntime.so", lib}, entry{"a/libonnxruntime.so", "evil"}), InstallOptions{}, "exist"},
		"none.zip":                     {zipOf(entry{"readme", ""}), InstallOptions{}, "no library"},
		"link.tgz":                     {tgzOf(), InstallOptions{}, "no library"},
		"bad.zip":                      {zipOf(entry{"libonnxruntime.so", "nonsense"}), InstallOptions{}, "no shared library"},
		"cut.whl":                      {good[:len(good)-30], InstallOptions{}, "damaged"},
		"cut.tgz":                      {tgzOf(entry{"libonnxruntime.so", lib})[:60], InstallOptions{}, "damaged"},
		"text.whl":                     {[]byte("hello, I am a wheel"), InstallOptions{}, "no wheel"},
		"empty.whl":                    {nil, InstallOptions{}, "empty"},
		"libonnxruntime.so.1.9.0":      {fakeLibrary(), InstallOptions{}, "too old"},
		"onnxruntime-1.20.0-cp311.whl": {good, InstallOptions{}, "too old"},
		"wrong.whl":                    {good, InstallOptions{SHA256: strings.Repeat("0", 64)}, "expected 0000"},
		"nohash.whl":                   {good, InstallOptions{SHA256: "xyz"}, "64 hexadecimal"},
	} {
		in := testInstaller(t)
		c.opts.From = write(t, t.TempDir(), name, c.data)
		_, err := in.install(t.Context(), c.opts)
		if !errors.Is(err, ErrLibrary) || !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: error %v, want one with %q", name, err, c.problem)
		}
		checkCache(t, in)
	}
	in := testInstaller(t)
	for _, opts := range []InstallOptions{
		{From: filepath.Join(t.TempDir(), "missing.whl")}, {From: t.TempDir(), SHA256: strings.Repeat("0", 64)},
		{Version: "1.20.0"}, {Version: "../x"}, {Version: "1.24.4/../../x"}, {From: "http://localhost/x.tgz"}, {From: "file:///x"}, {},
	} {
		if _, err := in.install(t.Context(), opts); !errors.Is(err, ErrLibrary) {
			t.Errorf("%+v: error %v", opts, err)
		}
	}
	checkCache(t, in)
}

// server answers as the handlers say; the client trusts it.
func server(t *testing.T, routes map[string]http.HandlerFunc) *httptest.Server {
	mux := http.NewServeMux()
	for path, h := range routes {
		mux.HandleFunc(path, h)
	}
	s := httptest.NewUnstartedServer(mux)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // a client that hangs up is no news
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func serve(data []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", fmt.Sprint(len(data)))
		w.Write(data)
	}
}

func TestInstallFromServer(t *testing.T) {
	data := wheel()
	pin(t, fakeLibrary())
	pin(t, []byte("stub"))
	s := server(t, map[string]http.HandlerFunc{
		"/" + wheelName: serve(data),
		"/moved/":       func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/"+wheelName, http.StatusFound) },
		"/chunked/":     func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush(); w.Write(data) },
	})
	for path, hash := range map[string]string{"/" + wheelName: "", "/moved/" + wheelName: sum(data), "/chunked/" + wheelName: strings.ToUpper(sum(data))} {
		in := testInstaller(t)
		var done int64
		got, err := in.install(t.Context(), InstallOptions{From: s.URL + path, SHA256: hash, Client: s.Client(), Progress: func(n, _ int64) { done = n }})
		if err != nil || got.Version != "1.24.4" || done != int64(len(data)) {
			t.Errorf("%s: %v, %v, %d bytes of progress", path, got, err, done)
		}
		checkCache(t, in, "1.24.4")
	}
}

// A server may lie in every way; nothing of it reaches the cache.
func TestInstallFromLyingServer(t *testing.T) {
	t.Parallel()
	data := wheel()
	hang := make(chan struct{})
	defer close(hang)
	plain := httptest.NewServer(serve(data))
	defer plain.Close()
	endless := func(w http.ResponseWriter, _ *http.Request) {
		block := make([]byte, 1<<15)
		for {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	}
	s := server(t, map[string]http.HandlerFunc{
		"/good.whl":  serve(data),
		"/other.whl": serve(append([]byte{}, zipOf(entry{"libonnxruntime.so.1.24.4", string(fakeLibrary()) + "evil"})...)),
		"/cut.whl": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(data)))
			w.Write(data[:len(data)/2])
		},
		"/plain.whl": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, plain.URL+"/good.whl", http.StatusFound)
		},
		"/circle.whl":  func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
		"/endless.whl": endless,
		"/huge.whl":    func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Length", fmt.Sprint(1<<40)) },
		"/error.whl":   func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "no", http.StatusTeapot) },
		"/hang.whl":    func(_ http.ResponseWriter, r *http.Request) { <-hang },
		"/drip.whl": func(w http.ResponseWriter, r *http.Request) {
			for i := range data {
				w.Write(data[i : i+1])
				w.(http.Flusher).Flush()
				select {
				case <-hang:
					return
				case <-r.Context().Done():
					return
				case <-time.After(20 * time.Millisecond):
				}
			}
		},
	})
	for _, c := range []struct{ path, hash, problem string }{
		{"good.whl", "", "no SHA-256 is known"}, // trusted by nobody
		{"good.whl", strings.Repeat("1", 64), "expected 1111"},
		{"other.whl", sum(data), "expected"},
		{"cut.whl", sum(data), "unexpected EOF"},
		{"plain.whl", sum(data), "not https"},
		{"circle.whl", sum(data), "circles"},
		{"endless.whl", sum(data), "more than the limit"},
		{"huge.whl", sum(data), "announces"},
		{"error.whl", sum(data), "418"},
		{"missing.whl", sum(data), "404"},
		{"hang.whl", sum(data), "next to nothing"},
		{"drip.whl", sum(data), "next to nothing"},
	} {
		in := testInstaller(t)
		if strings.Contains(c.problem, "nothing") {
			in.stall = 200 * time.Millisecond
		}
		_, err := in.install(t.Context(), InstallOptions{From: s.URL + "/" + c.path, SHA256: c.hash, Client: s.Client()})
		if !errors.Is(err, ErrLibrary) || !strings.Contains(err.Error(), c.problem) {
			t.Errorf("%s: error %v, want one with %q", c.path, err, c.problem)
		}
		checkCache(t, in)
	}

	in := testInstaller(t)
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := in.install(ctx, InstallOptions{From: s.URL + "/hang.whl", SHA256: sum(data), Client: s.Client()}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled download: %v", err)
	}
	checkCache(t, in)
	// A server whose certificate nobody vouches for.
	if _, err := in.install(t.Context(), InstallOptions{From: s.URL + "/good.whl", SHA256: sum(data)}); err == nil {
		t.Error("a stranger's certificate was accepted")
	} else if _, ok := errors.AsType[*tls.CertificateVerificationError](err); !ok {
		t.Errorf("a stranger's certificate: %v", err)
	}
}

// The cache keeps what it held when a new installation fails.
func TestFailedInstallKeepsTheOld(t *testing.T) {
	t.Parallel()
	in := testInstaller(t)
	dir := t.TempDir()
	if _, err := in.install(t.Context(), InstallOptions{From: write(t, dir, wheelName, wheel())}); err != nil {
		t.Fatal(err)
	}
	if _, err := in.install(t.Context(), InstallOptions{From: write(t, dir, wheelName, wheel()[:500])}); err == nil {
		t.Fatal("a cut wheel was installed")
	}
	checkCache(t, in, "1.24.4")
	if err := remove(in.cache, "1.24.5", in.goos); err == nil || !strings.Contains(err.Error(), "1.24.4") {
		t.Errorf("removing what is not there: %v", err)
	}
	if err := remove(in.cache, "../cache", in.goos); err == nil {
		t.Error("a path passes for a version")
	}
	// What a killed installation left is swept away a day later.
	left := filepath.Join(in.cache, tempPrefix+"123")
	os.Mkdir(left, 0o755)
	os.Chtimes(left, time.Now(), time.Now().Add(-25*time.Hour))
	in.sweep()
	if err := remove(in.cache, "1.24.4", in.goos); err != nil {
		t.Error(err)
	}
	checkCache(t, in)
}
