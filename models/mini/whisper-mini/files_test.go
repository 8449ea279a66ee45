package whispermini

import (
	"encoding/json"
	"io/fs"
	"slices"
	"testing"
	"testing/fstest"
)

// The compressed files are an ordinary file system under the names of the manifest.
func TestFilesAreAFileSystem(t *testing.T) {
	t.Parallel()
	bundle := FS()
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
	for name := range manifest.SHA256 {
		want = append(want, name)
	}
	if err := fstest.TestFS(bundle, want...); err != nil {
		t.Error(err)
	}
}

// What the program carries, and the repository with it, stays within bounds.
func TestSize(t *testing.T) {
	t.Parallel()
	var total int64
	compressed := 0
	err := fs.WalkDir(packed, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		total += info.Size()
		if slices.Contains([]string{"tokenizer.json.gz", "encoder_model.onnx.gz"}, entry.Name()) {
			compressed++
		}
		return err
	})
	if err != nil || total > 24e6 || compressed != 2 {
		t.Errorf("%d bytes, %d compressed files (%v)", total, compressed, err)
	}
}
