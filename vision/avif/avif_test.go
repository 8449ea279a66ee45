package avif

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/internal/references"
	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/vision"
	"github.com/crossattn/xpipe/vision/internal/wasm/wasmtest"
)

func TestMain(m *testing.M) { wasmtest.Main(m, "../../build/wazero") }

// TestAVIFEqualsPillow decodes random files that Pillow 13.0.0 writes, and holds the pixels to its
// own. Those of files with thinned-out chroma may differ near pixels that are cut off at 0 or 255, and
// colours that are divided by alpha: mostDifferent is how far a sample was off at most.
func TestAVIFEqualsPillow(t *testing.T) {
	t.Parallel()
	const mostDifferent = 32
	count := sweep.Count(t, 30, 300)
	script := references.Script{
		Path:  "../../testdata/vision/avif_reference.py",
		Args:  []string{fmt.Sprint(count), "1"},
		Check: "import PIL, numpy; assert PIL.__version__ == '13.0.0'",
	}
	r := bufio.NewReader(bytes.NewReader(script.Output(t)))
	worst, exact, samples, different := 0, 0, 0, 0
	for i := range count {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("the reference stopped at file %d: %v", i, err)
		}
		name, sizes, _ := strings.Cut(strings.TrimSpace(line), "|")
		var n, w, h int
		if _, err := fmt.Sscan(sizes, &n, &w, &h); err != nil {
			t.Fatal(line, err)
		}
		file, want := make([]byte, n), make([]byte, w*h*4)
		if _, err := io.ReadFull(r, file); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, want); err != nil {
			t.Fatal(err)
		}
		m, err := vision.Decode(bytes.NewReader(file))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if m.Width != w || m.Height != h {
			t.Errorf("%s is %dx%d, Pillow says %dx%d", name, m.Width, m.Height, w, h)
			continue
		}
		off, saturated := 0, false
		for i := range w * h {
			for c := range 3 {
				d := difference(m.Pix[4*i+c], want[3*i+c])
				if off = max(off, d); d > 0 {
					different++
				}
				saturated = saturated || want[3*i+c] == 0 || want[3*i+c] == 255
			}
			alpha := uint8(255)
			if m.Alpha != nil {
				alpha = m.Alpha[i]
			}
			off = max(off, difference(alpha, want[3*w*h+i]))
		}
		samples += 3 * w * h
		most := 0
		if saturated && strings.Contains(name, "4:2:") {
			most = mostDifferent
		} else if strings.Contains(name, "premultiplied") {
			most = 2
		}
		if off > most {
			t.Errorf("%s, %dx%d: off by %d", name, w, h, off)
		}
		if worst = max(worst, off); off == 0 {
			exact++
		}
	}
	t.Logf("%d of %d files are equal, the others off by %d at most; %d of %d samples differ",
		exact, count, worst, different, samples)
}

func difference(a, b uint8) int { return max(int(a)-int(b), int(b)-int(a)) }

// TestBadAVIF has damaged files give errors.
func TestBadAVIF(t *testing.T) {
	t.Parallel()
	head := "\x00\x00\x00\x20ftypavif\x00\x00\x00\x00avifmif1miafMA1B"
	for _, data := range []string{head, head + strings.Repeat("\x00", 100), head[:20]} {
		_, err := vision.Decode(strings.NewReader(data))
		if !errors.Is(err, vision.ErrImage) || !strings.Contains(err.Error(), "AVIF") {
			t.Errorf("%q: %v", data, err)
		}
	}
}
