package heic

import (
	"errors"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/vision"
	"github.com/crossattn/xpipe/vision/internal/wasm/wasmtest"
)

func TestMain(m *testing.M) { wasmtest.Main(m, "../../build/wazero") }

// TestHEIC looks at a drawing of flat colours, which is narrower than libheif's shortest rows.
func TestHEIC(t *testing.T) {
	t.Parallel()
	m, err := vision.DecodeFile("../../testdata/vision/heic/drawn.heic")
	if err != nil {
		t.Fatal(err)
	}
	if m.Width != 64 || m.Height != 48 {
		t.Fatalf("is %dx%d", m.Width, m.Height)
	}
	for at, want := range map[[2]int][3]int{
		{3, 3}: {40, 90, 160}, {24, 24}: {220, 120, 40}, {52, 12}: {60, 180, 90}, {60, 44}: {40, 90, 160},
	} {
		for c, v := range want {
			got := int(m.Pix[at[1]*m.Stride+4*at[0]+c])
			if max(got-v, v-got) > 6 {
				t.Errorf("sample %d at %v is %d, want %d", c, at, got, v)
			}
		}
	}
}

// TestBadHEIC has damaged files and those over a limit give errors.
func TestBadHEIC(t *testing.T) {
	t.Parallel()
	head := "\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"
	for _, data := range []string{head, head + strings.Repeat("\x00", 100), head[:20]} {
		_, err := vision.Decode(strings.NewReader(data))
		if !errors.Is(err, vision.ErrImage) || !strings.Contains(err.Error(), "HEIC") {
			t.Errorf("%q: %v", data, err)
		}
	}
	limits := vision.WithLimits(vision.Limits{Pixels: 1000})
	_, err := vision.DecodeFile("../../testdata/vision/heic/drawn.heic", limits)
	if !errors.Is(err, vision.ErrLimit) {
		t.Errorf("over the limit: %v", err)
	}
}
