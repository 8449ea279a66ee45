package ortlib

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"github.com/crossattn/xpipe/internal/fakelib"
)

func fakeLibrary() []byte { return fakelib.Library() }

func sum(data []byte) string {
	s := sha256.Sum256(data)
	return hex.EncodeToString(s[:])
}

// pin adds a library to libraryPins for the length of a test.
func pin(t *testing.T, data []byte) {
	libraryPins[sum(data)] = t.Name()
	t.Cleanup(func() { delete(libraryPins, sum(data)) })
}

type entry struct{ name, content string }

func zipOf(entries ...entry) []byte {
	var b bytes.Buffer
	z := zip.NewWriter(&b)
	for _, e := range entries {
		w, _ := z.Create(e.name)
		w.Write([]byte(e.content))
	}
	z.Close()
	return b.Bytes()
}

func tgzOf(entries ...entry) []byte {
	var b bytes.Buffer
	gz := gzip.NewWriter(&b)
	w := tar.NewWriter(gz)
	for _, e := range entries {
		w.WriteHeader(&tar.Header{Name: e.name, Mode: 0o644, Size: int64(len(e.content)), Typeflag: tar.TypeReg})
		w.Write([]byte(e.content))
	}
	w.WriteHeader(&tar.Header{Name: "lib/libonnxruntime.so", Linkname: "../../../etc/passwd", Typeflag: tar.TypeSymlink})
	w.Close()
	gz.Close()
	return b.Bytes()
}

// write puts a file into a new folder, or below dir if the name has folders.
func write(t *testing.T, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
