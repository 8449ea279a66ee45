package vision

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

type goldenFile struct {
	Size   [2]int
	RGB    string
	Alpha  string
	Frames []string
}

// golden reads what testdata/vision/golden.py wrote.
func golden(t testing.TB) map[string]goldenFile {
	t.Helper()
	data, err := os.ReadFile(testdata + "/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct{ Files map[string]goldenFile }
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	return g.Files
}

// packed returns the RGB bytes without the fourth of each pixel.
func packed(m *RGB) []byte {
	out := make([]byte, 0, m.Width*m.Height*3)
	for y := range m.Height {
		row := m.row(y)
		for x := range m.Width {
			out = append(out, row[4*x:4*x+3]...)
		}
	}
	return out
}

func hash(b []byte) string {
	h := sha256.Sum256(b)
	return hex.EncodeToString(h[:])
}

// TestDecodeEqualsPillow decodes every committed file and compares the pixels' hash with Pillow's.
// All are equal bit for bit, the lossy formats too.
func TestDecodeEqualsPillow(t *testing.T) {
	t.Parallel()
	for name, want := range golden(t) {
		t.Run(name, func(t *testing.T) {
			m, err := DecodeFile(testdata + "/images/" + name)
			if err != nil {
				t.Fatal(err)
			}
			if m.Width != want.Size[0] || m.Height != want.Size[1] {
				t.Fatalf("is %dx%d, Pillow says %v", m.Width, m.Height, want.Size)
			}
			if hash(packed(m)) != want.RGB {
				t.Error("the pixels differ from Pillow's")
				t.Log(explain(t, m, name))
			}
			alpha := ""
			if m.Alpha != nil {
				alpha = hash(m.Alpha)
			}
			if alpha != want.Alpha {
				t.Error("the alpha differs from Pillow's")
			}
			for i := 3; i < len(m.Pix); i += 4 {
				if m.Pix[i] != 255 {
					t.Fatal("the fourth byte of a pixel is not 255")
				}
			}
		})
	}
}

// explain asks Pillow for the pixels to say how far off m is.
func explain(t *testing.T, m *RGB, name string, frame ...any) string {
	cmd := exec.Command(python(t), testdata+"/golden.py", "--stream")
	cmd.Stdin = strings.NewReader(fmt.Sprintln(append([]any{name}, frame...)...))
	want, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	if len(want) != m.Width*m.Height*3 {
		return fmt.Sprintf("%d bytes, Pillow has %d", m.Width*m.Height*3, len(want))
	}
	worst, n := difference(m, want)
	first := 0
	for first < len(want) && m.Pix[first/3*4+first%3] == want[first] {
		first++
	}
	return fmt.Sprintf("%d of %d samples differ from Pillow's, by up to %d, the first at (%d,%d)", n, len(want), worst, first/3%m.Width, first/3/m.Width)
}

// TestRandomFiles decodes files that Pillow writes with random sizes, contents and settings, and
// compares the pixels bit for bit.
func TestRandomFiles(t *testing.T) {
	t.Parallel()
	const count = 600
	script := pillow("random_reference.py", nil, strconv.Itoa(count), "1")
	r := bufio.NewReader(bytes.NewReader(script.Output(t)))
	for i := range count {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("the reference stopped at file %d: %v", i, err)
		}
		what, sizes, _ := strings.Cut(strings.TrimSpace(line), "|")
		var n, w, h int
		if _, err := fmt.Sscan(sizes, &n, &w, &h); err != nil {
			t.Fatal(line, err)
		}
		file, want := make([]byte, n), make([]byte, w*h*3)
		if _, err := io.ReadFull(r, file); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, want); err != nil {
			t.Fatal(err)
		}
		m, err := Decode(bytes.NewReader(file))
		if err != nil {
			t.Errorf("%d, %s, %dx%d: %v", i, what, w, h, err)
			continue
		}
		if m.Width != w || m.Height != h {
			t.Errorf("%d, %s is %dx%d, want %dx%d", i, what, m.Width, m.Height, w, h)
			continue
		}
		if worst, n := difference(m, want); n > 0 {
			t.Errorf("%d, %s, %dx%d: %d samples differ, by up to %d", i, what, w, h, n, worst)
		}
	}
}
