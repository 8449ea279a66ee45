package mini

import (
	"encoding/json"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/onnx"
)

func TestDefaultIsWhole(t *testing.T) {
	t.Parallel()
	bundle, err := FS(Default)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := fs.ReadFile(bundle, "xpipe.json")
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		Graphs map[string]string `json:"graphs"`
		SHA256 map[string]string `json:"sha256"`
	}
	if err := json.Unmarshal(raw, &manifest); err != nil {
		t.Fatal(err)
	}
	for _, role := range []string{"vision_encoder", "qformer", "embed_tokens", "decoder"} {
		if _, ok := manifest.SHA256[manifest.Graphs[role]]; !ok {
			t.Errorf("graph %s (%q) has no checksum", role, manifest.Graphs[role])
		}
	}
	total := len(raw)
	for file := range manifest.SHA256 {
		data, err := fs.ReadFile(bundle, file)
		if err != nil {
			t.Error(err)
		}
		total += len(data)
	}
	if limit := 25 << 20; total > limit {
		t.Errorf("bundle has %d bytes, more than %d", total, limit)
	}
}

// A model's files are those of its manifest, and no Go source beside them.
func TestFilesAreTheManifests(t *testing.T) {
	t.Parallel()
	for _, name := range Names() {
		bundle, err := FS(name)
		if err != nil {
			t.Fatal(err)
		}
		raw, err := fs.ReadFile(bundle, "xpipe.json")
		if err != nil {
			t.Fatal(err)
		}
		var manifest struct {
			SHA256 map[string]string `json:"sha256"`
		}
		if err := json.Unmarshal(raw, &manifest); err != nil {
			t.Fatal(err)
		}
		want := []string{"xpipe.json"}
		for file := range manifest.SHA256 {
			want = append(want, file)
		}
		var got []string
		err = fs.WalkDir(bundle, ".", func(path string, entry fs.DirEntry, err error) error {
			if err == nil && !entry.IsDir() {
				got = append(got, path)
			}
			return err
		})
		slices.Sort(got)
		slices.Sort(want)
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("%s holds %v, its manifest %v (%v)", name, got, want, err)
		}
	}
}

func TestUnknownNameListsTheNames(t *testing.T) {
	t.Parallel()
	if _, err := FS("nope"); err == nil || !strings.Contains(err.Error(), Default) {
		t.Errorf("got %v", err)
	}
}

// Files that say that they are embedded are hashed once in a program.
func TestModelsAreEmbedded(t *testing.T) {
	t.Parallel()
	for _, name := range Names() {
		bundle, err := FS(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := onnx.Embedded(bundle); !ok {
			t.Errorf("%s does not say that it is embedded", name)
		}
	}
}
