package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/studio"
	"github.com/crossattn/xpipe/studio/store"
)

// A studio goes into files and comes back, by the command, and wrong input is told of.
func TestStudio(t *testing.T) {
	t.Parallel()
	ctx, dir := t.Context(), t.TempDir()
	data := filepath.Join(dir, "data")
	s, err := store.Open(ctx, data, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	w := studio.Workspace{Name: "Labels"}
	if err := s.AddWorkspace(ctx, &w); err != nil {
		t.Fatal(err)
	}
	chat := studio.Chat{Workspace: w.ID, Title: "Tea \x1b[31m"}
	if err := s.AddChat(ctx, &chat); err == nil {
		t.Error("a title has control characters")
	}
	chat.Title = "Tea"
	if err := s.AddChat(ctx, &chat); err != nil {
		t.Fatal(err)
	}
	blob, err := s.PutBlob(ctx, strings.NewReader("picture"), 0)
	if err != nil {
		t.Fatal(err)
	}
	m := studio.Message{Chat: chat.ID, Role: studio.RoleUser, State: studio.Done, Parts: []studio.Part{
		studio.TextPart("What is it?"), {Kind: studio.KindPicture, Blob: blob.Hash, Name: "cat.png"}}}
	if err := s.AddMessage(ctx, &m); err != nil {
		t.Fatal(err)
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	root := loadSchema(t)
	run := func(kind string, args ...string) string {
		t.Helper()
		out := want(t, append([]string{"studio", "--json"}, args...)...)
		checkLines(t, root, kind, strings.Join(args, " "), out)
		return out
	}
	// While the store is open, as xpipe serve has it.
	list := run("studio_thing", "list", "--data", data)
	if !strings.Contains(list, `"kind":"chat","id":"`+string(chat.ID)+`"`) {
		t.Error(list)
	}
	run("studio_file", "backup", "--data", data, path("backup.zip"))
	run("studio_file", "export", "--data", data, "--workspace", "labels", path("w.zip"))
	run("studio_file", "export", "--data", data, "--chat", string(chat.ID), path("chat"))
	for name, content := range map[string]string{"chat.md": "What is it?\n\n![cat.png](files/cat.png)\n", "files/cat.png": "picture"} {
		got, err := os.ReadFile(filepath.Join(path("chat"), name))
		if err != nil || !strings.HasSuffix(string(got), content) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	run("studio_file", "restore", "--data", path("restored"), path("backup.zip"))
	run("studio_file", "export", "--data", path("restored"), "--workspace", string(w.ID), path("w2.zip"))
	first, err := os.ReadFile(path("w.zip"))
	if err != nil {
		t.Fatal(err)
	}
	if second, err := os.ReadFile(path("w2.zip")); err != nil || string(first) != string(second) {
		t.Errorf("what was restored differs, %v", err)
	}
	run("studio_thing", "import", "--data", path("new"), path("w.zip"))
	var copied api.StudioThing
	if err := json.Unmarshal([]byte(run("studio_thing", "import", "--data", path("new"), path("w.zip"))), &copied); err != nil || copied.ID == string(w.ID) {
		t.Errorf("a copy: %+v, %v", copied, err)
	}
	for _, c := range []struct {
		args string
		exit int
		want string
	}{
		{"import --data DATA w.zip", api.ExitInput, "in use by another xpipe"},
		{"backup --data DATA backup.zip", api.ExitInput, "already exists"},
		{"backup --data none x.zip", api.ExitInput, "there is no studio.db"},
		{"restore --data DATA backup.zip", api.ExitInput, "is not empty"},
		{"restore --data other w.zip", api.ExitInput, "is nothing that a backup has"},
		{"import --data new backup.zip", api.ExitInput, "has no studio.json"},
		{"import --data new none.zip", api.ExitInput, "no such file"},
		{"export --data new --workspace Labels x.zip", api.ExitInput, "2 workspaces"},
		{"export --data new --workspace Label x.zip", api.ExitInput, `did you mean`},
		{"export --data new --chat nope x", api.ExitInput, "no such chat"},
		{"export --data new x", api.ExitUsage, "--chat ID or --workspace"},
		{"list --data w.zip", api.ExitInput, "not a directory"},
	} {
		args := strings.Fields(strings.ReplaceAll(c.args, "DATA", "data"))
		for i, a := range args {
			if i > 0 && !strings.HasPrefix(a, "-") && args[i-1] != "--workspace" && args[i-1] != "--chat" {
				args[i] = path(a)
			}
		}
		code, _, stderr := xpipe(t, "", append([]string{"studio"}, args...)...)
		if code != c.exit || !strings.Contains(stderr, c.want) {
			t.Errorf("%s: exit %d, %s", c.args, code, stderr)
		}
	}
	for _, name := range []string{"x.zip", "x", "other"} {
		if _, err := os.Lstat(path(name)); err == nil {
			t.Errorf("%s is there", name)
		}
	}
}
