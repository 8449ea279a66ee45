package fetch

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/crossattn/xpipe/internal/references"
	"github.com/crossattn/xpipe/models/hub"
	"github.com/crossattn/xpipe/models/hub/hubtest"
)

const repo = "org/tiny"

func contents() map[string]map[string][]byte {
	return map[string]map[string][]byte{repo: {
		"config.json":           []byte(`{"model_type":"clip"}`),
		"onnx/model.onnx":       bytes.Repeat([]byte("graph "), 50_000),
		"onnx/model.onnx_data":  bytes.Repeat([]byte("weights "), 40_000),
		"a name with #?%.json":  []byte("{}"),
		"empty.txt":             {},
		"onnx/model_fp16.onnx":  []byte("half"),
		"twin/of/it/model.onnx": []byte("half"),
	}}
}

func client(t *testing.T, s *hubtest.Server) *Client {
	return &Client{
		Cache: hub.Cache{Dir: t.TempDir()}, Endpoint: s.URL, Patience: 5 * time.Second,
		wait: func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}
}

// pullAll fetches all files and compares them with the server's.
func pullAll(t *testing.T, c *Client, s *hubtest.Server) string {
	t.Helper()
	info, err := c.Info(t.Context(), hub.Ref{Repo: repo, Revision: "main"})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := c.Pull(t.Context(), info, info.Files, nil)
	if err != nil {
		t.Fatal(err)
	}
	same(t, dir, s.Repos[repo])
	return dir
}

func same(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	fsys, ok, err := hub.SnapshotFS(dir)
	if err != nil || !ok {
		t.Fatalf("%s is no snapshot: %v", dir, err)
	}
	defer fsys.Close()
	for name, want := range files {
		if got, err := fs.ReadFile(fsys, name); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v; want %d", name, len(got), err, len(want))
		}
	}
}

func TestPull(t *testing.T) {
	t.Parallel()
	s := hubtest.New(t, contents())
	s.Token = "secret"
	c := client(t, s)
	c.Token = "secret"
	info, err := c.Info(t.Context(), hub.Ref{Repo: repo, Revision: "main"})
	if err != nil || info.Commit != hubtest.Commit || info.License != "apache-2.0" || len(info.Files) != 7 {
		t.Fatalf("%+v, %v", info, err)
	}
	var last Progress
	dir, err := c.Pull(t.Context(), info, info.Files, func(p Progress) {
		if p.Done < last.Done || p.Done > p.Total {
			t.Errorf("progress went from %d to %d of %d", last.Done, p.Done, p.Total)
		}
		last = p
	})
	if err != nil {
		t.Fatal(err)
	}
	if last.Done != last.Total || last.Total == 0 {
		t.Errorf("progress ended at %d of %d", last.Done, last.Total)
	}
	same(t, dir, s.Repos[repo])
	for _, r := range s.Requests() {
		if got := r.Header.Get("Authorization"); (got != "") != (r.Host == strings.TrimPrefix(s.URL, "http://")) {
			t.Errorf("%s %s carries %q", r.Host, r.URL.Path, got)
		}
	}

	// It is found again without the network, and a second Pull asks for no file.
	before := len(s.Requests())
	if again, err := c.Pull(t.Context(), info, info.Files, nil); err != nil || again != dir {
		t.Errorf("%s, %v", again, err)
	}
	if got := len(s.Requests()); got != before {
		t.Errorf("a second pull made %d requests", got-before)
	}
	c.Offline = true
	if found, err := c.Cache.Snapshot(hub.Ref{Repo: repo, Revision: "main"}); err != nil || found != dir {
		t.Errorf("%s, %v", found, err)
	}
	if _, err := c.Info(t.Context(), hub.Ref{Repo: repo, Revision: "main"}); !errors.Is(err, ErrOffline) {
		t.Errorf("offline: %v", err)
	}
	all, err := c.Cache.Repos()
	if err != nil || len(all) != 1 || all[0].Repo != repo || !slices.Equal(all[0].Revisions, []string{"main"}) ||
		all[0].Size < 500_000 {
		t.Errorf("%+v, %v", all, err)
	}
	if err := c.Cache.Remove(repo); err != nil {
		t.Error(err)
	}
	if _, err := c.Cache.Snapshot(hub.Ref{Repo: repo, Revision: "main"}); !errors.Is(err, hub.ErrNotCached) {
		t.Errorf("removed: %v", err)
	}
	if err := c.Cache.Remove(repo); !errors.Is(err, hub.ErrNotCached) {
		t.Errorf("removed twice: %v", err)
	}
}

// TestPullFaults has the hub fail, cut off and answer otherwise than it was asked, and expects the
// whole files in the end.
func TestPullFaults(t *testing.T) {
	t.Parallel()
	cut := func(n int) func(http.ResponseWriter, *http.Request) bool {
		var times atomic.Int32
		return func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/onnx/model.onnx") || strings.Contains(r.URL.Path, "resolve") ||
				times.Add(1) > 3 {
				return false
			}
			w.Header().Set("Content-Length", "300000")
			w.Write(bytes.Repeat([]byte("graph "), 50_000)[:n])
			return true
		}
	}
	status := func(code int, header ...string) func(http.ResponseWriter, *http.Request) bool {
		var times atomic.Int32
		return func(w http.ResponseWriter, r *http.Request) bool {
			if times.Add(1) > 4 {
				return false
			}
			for i := 0; i < len(header); i += 2 {
				w.Header().Set(header[i], header[i+1])
			}
			w.WriteHeader(code)
			return true
		}
	}
	for name, fault := range map[string]func(http.ResponseWriter, *http.Request) bool{
		"cut off":       cut(1000),
		"cut at once":   cut(0),
		"rate limit":    status(http.StatusTooManyRequests, "Retry-After", "1"),
		"unavailable":   status(http.StatusServiceUnavailable),
		"bad gateway":   status(http.StatusBadGateway),
		"range refused": func(w http.ResponseWriter, r *http.Request) bool { r.Header.Del("Range"); return false },
		"range unsatisfied": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") == "" {
				return false
			}
			w.WriteHeader(http.StatusRequestedRangeNotSatisfiable)
			return true
		},
		"another range": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Header.Get("Range") != "" {
				r.Header.Set("Range", "bytes=7-")
			}
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := hubtest.New(t, contents())
			s.Fault = fault
			c := client(t, s)
			// What an earlier download left, so that ranges are asked for.
			left := filepath.Join(c.Cache.Dir, "models--org--tiny", "blobs",
				hubtest.SHA256(s.Repos[repo]["onnx/model.onnx_data"])+".incomplete")
			write(t, left, s.Repos[repo]["onnx/model.onnx_data"][:100])
			pullAll(t, c, s)
		})
	}
}

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

// TestPullResumes looks at what is asked for after a download broke off, and mends a beginning that
// is another file's.
func TestPullResumes(t *testing.T) {
	t.Parallel()
	for name, left := range map[string][]byte{
		"good":     bytes.Repeat([]byte("graph "), 100),
		"whole":    bytes.Repeat([]byte("graph "), 50_000),
		"bad":      bytes.Repeat([]byte("other "), 100),
		"too long": bytes.Repeat([]byte("graph "), 60_000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := hubtest.New(t, contents())
			c := client(t, s)
			write(t, filepath.Join(c.Cache.Dir, "models--org--tiny", "blobs",
				hubtest.SHA256(s.Repos[repo]["onnx/model.onnx"])+".incomplete"), left)
			pullAll(t, c, s)
			ranged := slices.ContainsFunc(s.Requests(), func(r *http.Request) bool {
				return r.Header.Get("Range") == "bytes=600-"
			})
			if want := len(left) == 600; ranged != want {
				t.Errorf("asked for the rest: %v, want %v", ranged, want)
			}
		})
	}
}

func TestPullRefuses(t *testing.T) {
	t.Parallel()
	for name, row := range map[string]struct {
		fault func(http.ResponseWriter, *http.Request) bool
		edit  func(map[string]any)
		want  error
	}{
		"other bytes": {fault: func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "config.json") {
				w.Write([]byte(`{"model_type":"blip"}`))
				return true
			}
			return false
		}, want: ErrDamaged},
		"more bytes": {fault: func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "config.json") {
				w.Write(bytes.Repeat([]byte("x"), 1<<20))
				return true
			}
			return false
		}, want: ErrDamaged},
		"never up": {fault: func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(http.StatusBadGateway)
			return true
		}, want: ErrServer},
		"stalls": {fault: func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "config.json") {
				return false
			}
			w.Header().Set("Content-Length", "21")
			w.Write([]byte("{"))
			w.(http.Flusher).Flush()
			<-r.Context().Done()
			return true
		}, want: ErrServer},
		"gated": {fault: func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("X-Error-Code", "GatedRepo")
			w.WriteHeader(http.StatusForbidden)
			return true
		}, want: ErrGated},
		"redirects without end": {fault: func(w http.ResponseWriter, r *http.Request) bool {
			http.Redirect(w, r, r.URL.Path, http.StatusFound)
			return true
		}, want: ErrServer},
		"no JSON": {fault: func(w http.ResponseWriter, r *http.Request) bool {
			w.Write([]byte("<html>log in</html>"))
			return true
		}, want: ErrListing},
		"name that leads out": {edit: siblings(map[string]any{
			"rfilename": "../../x", "size": 1, "blobId": strings.Repeat("a", 40),
		}), want: ErrListing},
		"name with a root": {edit: siblings(map[string]any{
			"rfilename": "/x", "size": 1, "blobId": strings.Repeat("a", 40),
		}), want: ErrListing},
		"name of Windows": {edit: siblings(map[string]any{
			"rfilename": `a\..\..\x`, "size": 1, "blobId": strings.Repeat("a", 40),
		}), want: ErrListing},
		"name twice": {edit: siblings(
			map[string]any{"rfilename": "x", "size": 1, "blobId": strings.Repeat("a", 40)},
			map[string]any{"rfilename": "x", "size": 1, "blobId": strings.Repeat("b", 40)},
		), want: ErrListing},
		"hash that leads out": {edit: siblings(map[string]any{
			"rfilename": "x", "size": 1, "lfs": map[string]any{"sha256": "../../x", "size": 1},
		}), want: ErrListing},
		"no size":       {edit: siblings(map[string]any{"rfilename": "x", "blobId": strings.Repeat("a", 40)}), want: ErrListing},
		"negative size": {edit: siblings(map[string]any{"rfilename": "x", "size": -1, "blobId": strings.Repeat("a", 40)}), want: ErrListing},
		"no commit":     {edit: func(l map[string]any) { l["sha"] = "../x" }, want: ErrListing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := hubtest.New(t, contents())
			s.Fault, s.Edit = row.fault, row.edit
			c := client(t, s)
			c.Patience = 200 * time.Millisecond
			c.Attempts = 2
			info, err := c.Info(t.Context(), hub.Ref{Repo: repo, Revision: "main"})
			if err == nil {
				_, err = c.Pull(t.Context(), info, info.Files, nil)
			}
			if !errors.Is(err, row.want) {
				t.Errorf("got %v, want %v", err, row.want)
			}
			if err != nil && !strings.Contains(err.Error(), repo) {
				t.Errorf("%v does not name the repository", err)
			}
			if _, err := c.Cache.Snapshot(hub.Ref{Repo: repo, Revision: "main"}); !errors.Is(err, hub.ErrNotCached) {
				t.Errorf("the branch is there: %v", err)
			}
		})
	}
}

func siblings(list ...any) func(map[string]any) {
	return func(l map[string]any) { l["siblings"] = list }
}

func TestPullStopsWithItsContext(t *testing.T) {
	t.Parallel()
	s := hubtest.New(t, contents())
	c := client(t, s)
	info, err := c.Info(t.Context(), hub.Ref{Repo: repo, Revision: "main"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	s.Fault = func(w http.ResponseWriter, r *http.Request) bool {
		cancel()
		<-r.Context().Done()
		return true
	}
	if _, err := c.Pull(ctx, info, info.Files, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}

// TestPullStaysInItsFolder has links in the cache lead out of the repository's folder.
func TestPullStaysInItsFolder(t *testing.T) {
	t.Parallel()
	s := hubtest.New(t, contents())
	c := client(t, s)
	outside := t.TempDir()
	folder := filepath.Join(c.Cache.Dir, "models--org--tiny")
	if err := os.MkdirAll(folder, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, filepath.Join(folder, "blobs")); err != nil {
		t.Skip(err)
	}
	info, err := c.Info(t.Context(), hub.Ref{Repo: repo, Revision: "main"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Pull(t.Context(), info, info.Files, nil); err == nil {
		t.Error("no error")
	}
	if entries, _ := os.ReadDir(outside); len(entries) > 0 {
		t.Errorf("%v was written outside", entries)
	}
}

// TestAsHuggingFaceHub fetches with the reference into a cache that this package reads, and the
// other way round.
func TestAsHuggingFaceHub(t *testing.T) {
	t.Parallel()
	python := references.Python(t, "import huggingface_hub")
	s := hubtest.New(t, contents())
	s.Token = "secret"
	download := func(cache string, offline bool) string {
		script := `import huggingface_hub as h; print(h.snapshot_download("org/tiny"))`
		cmd := exec.Command(python, "-c", script)
		cmd.Env = append(os.Environ(), "HF_ENDPOINT="+s.URL, "HF_HUB_CACHE="+cache, "HF_TOKEN=secret",
			"HF_HOME="+t.TempDir(), fmt.Sprintf("HF_HUB_OFFLINE=%v", offline))
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v\n%s", err, err.(*exec.ExitError).Stderr)
		}
		return strings.TrimSpace(string(out))
	}
	theirs := client(t, s)
	dir := download(theirs.Cache.Dir, false)
	if got, err := theirs.Cache.Snapshot(hub.Ref{Repo: repo, Revision: "main"}); err != nil || got != dir {
		t.Errorf("%s, %v; want %s", got, err, dir)
	}
	same(t, dir, s.Repos[repo])
	theirs.Token = "secret"
	before := len(s.Requests())
	pullAll(t, theirs, s)
	if got := len(s.Requests()) - before; got != 1 { // the listing
		t.Errorf("%d requests for what the reference has fetched", got)
	}

	ours := client(t, s)
	ours.Token = "secret"
	dir = pullAll(t, ours, s)
	if got := download(ours.Cache.Dir, true); got != dir {
		t.Errorf("the reference finds %s, want %s", got, dir)
	}
}
