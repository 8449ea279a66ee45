package mini

import (
	"encoding/json"
	"io/fs"
	"strings"
	"testing"
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

func TestUnknownNameListsTheNames(t *testing.T) {
	t.Parallel()
	if _, err := FS("nope"); err == nil || !strings.Contains(err.Error(), Default) {
		t.Errorf("got %v", err)
	}
}
