package hub

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/crossattn/xpipe/models/hub/hubtest"
)

func write(t *testing.T, name string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, data, 0o666); err != nil {
		t.Fatal(err)
	}
}

func same(t *testing.T, dir string, files map[string][]byte) {
	t.Helper()
	fsys, ok, err := SnapshotFS(dir)
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

func TestSnapshotFS(t *testing.T) {
	t.Parallel()
	cache := t.TempDir()
	folder := filepath.Join(cache, "models--org--tiny")
	snapshot := filepath.Join(folder, "snapshots", hubtest.Commit)
	hash := strings.Repeat("ab", 32)
	write(t, filepath.Join(cache, "secret"), []byte("secret"))
	write(t, filepath.Join(folder, "blobs", "one"), []byte("one"))
	write(t, filepath.Join(cache, "blobs", "ab", hash), []byte("shared"))
	write(t, filepath.Join(snapshot, "plain"), []byte("plain"))
	for name, target := range map[string]string{
		"snapshots/" + hubtest.Commit + "/linked": "../../blobs/one",
		"snapshots/" + hubtest.Commit + "/shared": "../../blobs/two",
		"snapshots/" + hubtest.Commit + "/out":    "../../../secret",
		"snapshots/" + hubtest.Commit + "/far":    "../../blobs/three",
		"snapshots/" + hubtest.Commit + "/gone":   "../../blobs/none",
		"blobs/two":                               "../../blobs/ab/" + hash,
		"blobs/three":                             "../../secret",
	} {
		if err := os.Symlink(filepath.FromSlash(target), filepath.Join(folder, filepath.FromSlash(name))); err != nil {
			t.Skip(err)
		}
	}
	same(t, snapshot, map[string][]byte{"plain": []byte("plain"), "linked": []byte("one"), "shared": []byte("shared")})
	fsys, ok, err := SnapshotFS(snapshot)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	defer fsys.Close()
	for _, name := range []string{"out", "far", "gone", "../../blobs/one", "none"} {
		if data, err := fs.ReadFile(fsys, name); err == nil {
			t.Errorf("%s holds %q", name, data)
		}
	}
	if _, ok, _ := SnapshotFS(folder); ok {
		t.Error("the repository's folder is no snapshot")
	}
	plain := filepath.Join(cache, "blobs")
	if _, ok, _ := SnapshotFS(plain); ok {
		t.Error("a folder is no snapshot")
	}
	os.Remove(filepath.Join(snapshot, "out"))
	os.Remove(filepath.Join(snapshot, "far"))
	os.Remove(filepath.Join(snapshot, "gone"))
	os.Remove(filepath.Join(snapshot, "shared")) // its directory entry is a link to a link
	if err := fstest.TestFS(fsys, "plain", "linked"); err != nil {
		t.Log(err) // links are entries that are no regular files, as in huggingface_hub's own cache
	}
}

func TestParseRef(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]Ref{
		"org/name":                   {"org/name", "main"},
		"onnx-community/Qwen2.5_x":   {"onnx-community/Qwen2.5_x", "main"},
		"org/name@v1.0":              {"org/name", "v1.0"},
		"org/name@refs/pr/3":         {"org/name", "refs/pr/3"},
		"org/name@" + hubtest.Commit: {"org/name", hubtest.Commit},
	} {
		if got, err := ParseRef(s); err != nil || got != want {
			t.Errorf("%s: %v, %v", s, got, err)
		}
	}
	for _, s := range []string{
		"", "name", "a/b/c", "/b", "a/", "../b", "a/..", "a/b--c", "a/b..c", "a/.b", "a/b-", "a/b.git",
		"a/b@", "a/b@../x", "a/b@x/../y", "a/b@/x", "a/b c", "a/b@x\x00", "ä/b", "a/" + strings.Repeat("x", 97),
	} {
		if got, err := ParseRef(s); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v, %v", s, got, err)
		}
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	home := t.TempDir()
	write(t, filepath.Join(home, ".cache/huggingface/token"), []byte("filed\n"))
	for _, row := range []struct {
		env  map[string]string
		want Settings
	}{
		{nil, Settings{filepath.Join(home, ".cache/huggingface/hub"), DefaultEndpoint, "filed", false}},
		{map[string]string{"HF_HOME": "~/hf"}, Settings{home + "/hf/hub", DefaultEndpoint, "", false}},
		{map[string]string{"XDG_CACHE_HOME": "/x", "HF_TOKEN": " t "}, Settings{"/x/huggingface/hub", DefaultEndpoint, "t", false}},
		{map[string]string{"HF_HUB_CACHE": "$A/h", "A": "/a", "HF_HUB_OFFLINE": "true", "HF_TOKEN": "t"}, Settings{"/a/h", DefaultEndpoint, "t", true}},
		{map[string]string{"HF_HUB_CACHE": "/h", "HF_ENDPOINT": "http://mirror/", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1"}, Settings{"/h", "http://mirror", "", true}},
	} {
		got, err := Environment(func(name string) string { return row.env[name] }, home)
		if err != nil || got != row.want {
			t.Errorf("%v: %+v, %v; want %+v", row.env, got, err, row.want)
		}
	}
}
