// Package hubtest is a hub for tests: a local server that answers as Hugging Face's hub does, and
// that can be told to fail, lie, stall and redirect.
package hubtest

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Commit is that of every repository here.
const Commit = "0123456789abcdef0123456789abcdef01234567"

// Server is a hub. Its fields are set before the first request.
type Server struct {
	URL string
	// Repos are the contents by path, by repository.
	Repos map[string]map[string][]byte
	// Large makes a file one of LFS, by its path; nil for those that end in .onnx or hold _data.
	Large func(path string) bool
	// Token has to come with every request but those of the second host; "" for none.
	Token string
	// Fault may answer a request in the hub's place, and says whether it did.
	Fault func(w http.ResponseWriter, r *http.Request) bool
	// Edit may change the listing before it is sent.
	Edit func(listing map[string]any)

	other    *httptest.Server // where large files lie
	mu       sync.Mutex
	requests []*http.Request
}

// New starts a hub that ends with the test.
func New(t testing.TB, repos map[string]map[string][]byte) *Server {
	s := &Server{Repos: repos}
	hub := httptest.NewServer(s)
	s.other = httptest.NewServer(http.HandlerFunc(s.store))
	s.URL = hub.URL
	t.Cleanup(hub.Close)
	t.Cleanup(s.other.Close)
	return s
}

// Requests lists what came, the second host's included.
func (s *Server) Requests() []*http.Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

func (s *Server) note(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r.Clone(r.Context()))
}

func (s *Server) large(path string) bool {
	if s.Large != nil {
		return s.Large(path)
	}
	return strings.HasSuffix(path, ".onnx") || strings.Contains(path, "_data")
}

// GitHash is git's of a blob.
func GitHash(data []byte) string {
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", len(data))
	h.Write(data)
	return hex.EncodeToString(h.Sum(nil))
}

// SHA256 is that of data, in hex.
func SHA256(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// ServeHTTP answers GET /api/models/REPO/revision/REV and .../tree/REV, and GET or HEAD
// /REPO/resolve/REV/PATH.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.note(r)
	if s.Fault != nil && s.Fault(w, r) {
		return
	}
	if s.Token != "" && r.Header.Get("Authorization") != "Bearer "+s.Token {
		w.Header().Set("X-Error-Code", "RepoNotFound")
		w.Header().Set("X-Error-Message", "Repository not found")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if rest, ok := strings.CutPrefix(r.URL.Path, "/api/models/"); ok {
		if repo, revision, ok := strings.Cut(rest, "/tree/"); ok {
			s.tree(w, repo, revision)
			return
		}
		repo, revision, _ := strings.Cut(rest, "/revision/")
		s.listing(w, repo, revision)
		return
	}
	repo, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/resolve/")
	revision, path, _ := strings.Cut(rest, "/")
	data, ok := s.Repos[repo][path]
	if !ok || !known(revision) {
		w.Header().Set("X-Error-Code", "EntryNotFound")
		http.Error(w, "Entry not found", http.StatusNotFound)
		return
	}
	w.Header().Set("X-Repo-Commit", Commit)
	w.Header().Set("Accept-Ranges", "bytes")
	if !s.large(path) {
		w.Header().Set("ETag", `"`+GitHash(data)+`"`)
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
		return
	}
	w.Header().Set("X-Linked-ETag", `"`+SHA256(data)+`"`)
	w.Header().Set("X-Linked-Size", fmt.Sprint(len(data)))
	http.Redirect(w, r, s.other.URL+"/"+repo+"/"+path, http.StatusFound)
}

func known(revision string) bool { return revision == "main" || revision == Commit }

// store is the second host.
func (s *Server) store(w http.ResponseWriter, r *http.Request) {
	s.note(r)
	if s.Fault != nil && s.Fault(w, r) {
		return
	}
	for repo, files := range s.Repos {
		if path, ok := strings.CutPrefix(r.URL.Path, "/"+repo+"/"); ok {
			// huggingface_hub asks here, too: it takes all ports of a machine for one host.
			w.Header().Set("X-Repo-Commit", Commit)
			w.Header().Set("ETag", `"`+SHA256(files[path])+`"`)
			http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(files[path]))
			return
		}
	}
	http.NotFound(w, r)
}

func (s *Server) listing(w http.ResponseWriter, repo, revision string) {
	files, ok := s.Repos[repo]
	if !ok || !known(revision) {
		w.Header().Set("X-Error-Code", "RepoNotFound")
		http.Error(w, `{"error":"Repository not found"}`, http.StatusNotFound)
		return
	}
	var siblings []any
	for path, data := range files {
		one := map[string]any{"rfilename": path, "size": len(data), "blobId": GitHash(data)}
		if s.large(path) {
			one["blobId"] = GitHash([]byte("pointer of " + path))
			one["lfs"] = map[string]any{"sha256": SHA256(data), "size": len(data), "pointerSize": 134}
		}
		siblings = append(siblings, one)
	}
	all := map[string]any{
		"id": repo, "modelId": repo, "sha": Commit, "siblings": siblings, "private": false,
		"tags": []string{"onnx", "license:apache-2.0"},
	}
	if s.Edit != nil {
		s.Edit(all)
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(all)
}

// tree is the listing that huggingface_hub asks for beside the other.
func (s *Server) tree(w http.ResponseWriter, repo, revision string) {
	if !known(revision) {
		http.NotFound(w, nil)
		return
	}
	all := []any{}
	for path, data := range s.Repos[repo] {
		one := map[string]any{"type": "file", "path": path, "size": len(data), "oid": GitHash(data)}
		if s.large(path) {
			one["lfs"] = map[string]any{"oid": SHA256(data), "size": len(data), "pointerSize": 134}
		}
		all = append(all, one)
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(all)
}
