package ocr

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io/fs"
	"strings"
	"testing"
)

// Each file is the manifest's, the licence and what was changed lie beside them, and what a program
// carries stays within bounds.
func TestFiles(t *testing.T) {
	t.Parallel()
	raw, err := fs.ReadFile(FS(), "xpipe.json")
	if err != nil {
		t.Fatal(err)
	}
	var manifest struct {
		SHA256     map[string]string `json:"sha256"`
		Provenance struct{ Source, Licence, Changed string }
	}
	if err := json.Unmarshal(raw, &manifest); err != nil {
		t.Fatal(err)
	}
	total := len(raw)
	for name, sum := range manifest.SHA256 {
		data, err := fs.ReadFile(FS(), name)
		if err != nil {
			t.Error(err)
			continue
		}
		if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != sum {
			t.Errorf("%s: SHA-256 %s, want %s", name, got, sum)
		}
		total += len(data)
	}
	if total > 16e6 {
		t.Errorf("%d bytes, more than 16 MB", total)
	}
	licence, err := fs.ReadFile(FS(), "LICENSE.txt")
	if err != nil || !strings.Contains(string(licence), "Apache License") || manifest.Provenance.Licence != "Apache-2.0" ||
		manifest.Provenance.Changed == "" || !strings.Contains(manifest.Provenance.Source, "PaddleOCR") {
		t.Errorf("the licence, its source or its changes are missing: %+v, %v", manifest.Provenance, err)
	}
}
