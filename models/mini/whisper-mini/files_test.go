package whispermini

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
)

// Compressed files, those of folders too, are an ordinary file system beside others. Small ones here:
// TestFS reads each many times.
func TestFilesAreAFileSystem(t *testing.T) {
	t.Parallel()
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	fmt.Fprint(w, strings.Repeat("word by word ", 1000))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	folder := files{fstest.MapFS{
		"xpipe.json":              {Data: []byte("{}")},
		"tokenizer.json.gz":       {Data: zipped.Bytes()},
		"onnx/decoder.onnx":       {Data: []byte{1, 2, 3}},
		"onnx/encoder.onnx.gz":    {Data: zipped.Bytes()},
		"onnx/external/part.json": {Data: []byte("[]")},
	}}
	err := fstest.TestFS(folder, "xpipe.json", "tokenizer.json", "onnx/decoder.onnx", "onnx/encoder.onnx",
		"onnx/external/part.json")
	if err != nil {
		t.Error(err)
	}
}

// Each file of the manifest is there, whole, both by its name and in its folder's list.
func TestFilesOfTheManifest(t *testing.T) {
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
	listed := map[string]int64{}
	err = fs.WalkDir(bundle, ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil {
			listed[path] = info.Size()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, sum := range manifest.SHA256 {
		data, err := fs.ReadFile(bundle, name)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != sum {
			t.Errorf("%s: SHA-256 %s, want %s", name, got, sum)
		}
		if size, ok := listed[name]; !ok || size != int64(len(data)) {
			t.Errorf("%s: listed %v with %d bytes, has %d", name, ok, size, len(data))
		}
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
