package models_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/models/hub"
	"github.com/crossattn/xpipe/models/hub/fetch"
	"github.com/crossattn/xpipe/models/hub/hubtest"
)

// TestOpenSnapshot opens a bundle as a hub's cache holds it: every file a link.
func TestOpenSnapshot(t *testing.T) {
	t.Parallel()
	files := map[string][]byte{}
	dir := "../testdata/layouts/clip-transformersjs"
	err := filepath.WalkDir(dir, func(p string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(p)
		name, _ := filepath.Rel(dir, p)
		files[filepath.ToSlash(name)] = data
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	server := hubtest.New(t, map[string]map[string][]byte{"org/clip": files})
	client := &fetch.Client{Cache: hub.Cache{Dir: t.TempDir()}, Endpoint: server.URL}
	info, err := client.Info(t.Context(), hub.Ref{Repo: "org/clip", Revision: "main"})
	if err != nil {
		t.Fatal(err)
	}
	snapshot, err := client.Pull(t.Context(), info, info.Files, nil)
	if err != nil {
		t.Fatal(err)
	}
	b, err := models.Open(snapshot, known)
	if err != nil {
		t.Fatal(err)
	}
	defer b.Close()
	if b.Family != "clip" {
		t.Errorf("family %q", b.Family)
	}
	if data, err := b.File("tokenizer.json"); err != nil || !strings.HasPrefix(string(data), "{") {
		t.Errorf("%.20q, %v", data, err)
	}
}
