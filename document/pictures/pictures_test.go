package pictures

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/crossattn/xpipe/document"
)

const golden = "../../testdata/document/"

// The pages of a TIFF file are those that Pillow has.
func TestTIFF(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(golden + "pages.tif.json")
	if err != nil {
		t.Fatal(err)
	}
	var truth []struct {
		Width, Height int
		SHA256        string
	}
	if err := json.Unmarshal(data, &truth); err != nil {
		t.Fatal(err)
	}
	d, err := Open(context.Background(), golden+"pages.tif")
	if err != nil {
		t.Fatal(err)
	}
	if d.Pages() != len(truth) || d.Pages() < 3 {
		t.Fatalf("%d pages", d.Pages())
	}
	for n, want := range truth {
		m, err := d.Render(context.Background(), n+1, 0)
		if err != nil {
			t.Fatal(err)
		}
		var rgb []byte
		for i := 0; i < len(m.Pix); i += 4 {
			rgb = append(rgb, m.Pix[i:i+3]...)
		}
		sum := sha256.Sum256(rgb)
		if m.Rect.Dx() != want.Width || m.Rect.Dy() != want.Height || hex.EncodeToString(sum[:]) != want.SHA256 {
			t.Errorf("page %d: %v, other pixels", n+1, m.Rect)
		}
	}
	if _, err := d.Page(context.Background(), 4); !errors.Is(err, document.ErrDocument) {
		t.Error(err)
	}
}

// Animations have pages, pictures one; chains of directories that go round end.
func TestOthers(t *testing.T) {
	t.Parallel()
	tiff, err := os.ReadFile(golden + "pages.tif")
	if err != nil {
		t.Fatal(err)
	}
	starts, err := directories(tiff)
	if err != nil {
		t.Fatal(err)
	}
	last := starts[2]
	entries := uint64(binary.LittleEndian.Uint16(tiff[last:]))
	binary.LittleEndian.PutUint32(tiff[last+2+12*entries:], uint32(starts[0]))
	round := filepath.Join(t.TempDir(), "round.tif")
	if err := os.WriteFile(round, tiff, 0o666); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{round: 3, golden + "pages.2.72dpi.png": 1} {
		d, err := Open(context.Background(), name)
		if err != nil {
			t.Fatal(err)
		}
		if d.Pages() != want {
			t.Errorf("%s: %d pages", name, d.Pages())
		}
		if p, err := d.Page(context.Background(), 1); err != nil || p.Width < 5 {
			t.Errorf("%s: %v %v", name, p, err)
		}
	}
}

// FuzzDirectories walks chains of directories of any bytes.
func FuzzDirectories(f *testing.F) {
	tiff, err := os.ReadFile(golden + "pages.tif")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(tiff)
	f.Add([]byte("MM\x00+\x00\x08\x00\x00\x00\x00\x00\x00\x00\x00\x00\x10"))
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) >= 16 && isTIFF(data) {
			directories(data)
		}
	})
}
