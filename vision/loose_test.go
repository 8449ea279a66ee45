package vision

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/internal/sweep"
)

// looseFile is a file that is not by the book and what Pillow makes of it; 0 by 0 if it refuses it.
type looseFile struct {
	name string
	data []byte
	w, h int
	rgb  []byte
}

// looseFiles runs testdata/vision/loose_reference.py for a kind of files.
func looseFiles(t *testing.T, kind string, check func(looseFile)) {
	r := bufio.NewReader(bytes.NewReader(pillow("loose_reference.py", nil, kind).Output(t)))
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			break
		}
		name, sizes, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "|")
		f := looseFile{name: name}
		var n int
		if _, err := fmt.Sscan(sizes, &n, &f.w, &f.h); err != nil {
			t.Fatal(line, err)
		}
		f.data, f.rgb = make([]byte, n), make([]byte, f.w*f.h*3)
		if _, err := io.ReadFull(r, f.data); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(r, f.rgb); err != nil {
			t.Fatal(err)
		}
		check(f)
	}
}

// TestLooseFiles decodes files that break the rules of their formats in every way that the scripts
// know. What Pillow reads has its pixels here, and what it refuses is refused. The one exception is
// damage to the orientation, which leaves a picture as it is here.
func TestLooseFiles(t *testing.T) {
	t.Parallel()
	for kind, least := range map[string]int{
		"orientation": 600, "gif": 100, "jpeg": 500, "png": 9000, "pnm": 350, "qoi": 200, "tga": 1500,
		"ico": 300,
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			files, read, wrong := 0, 0, 0
			each := 3
			if kind == "png" { // which are the most by far
				each = 10
			}
			looseFiles(t, kind, func(f looseFile) {
				files++
				if !sweep.Keeps(files, each) {
					return
				}
				if f.w > 0 {
					read++
				}
				if complaint := compareLoose(t, kind, f); complaint != "" {
					if wrong++; wrong <= 40 {
						t.Errorf("%s: %s", f.name, complaint)
					}
				}
			})
			if !sweep.Whole {
				t.Logf("one file in %d is compared; make test-full compares all", each)
			}
			t.Logf("%d files, %d of which Pillow reads; %d are wrong", files, read, wrong)
			if files < least {
				t.Errorf("only %d files", files)
			}
		})
	}
}

func compareLoose(t *testing.T, kind string, f looseFile) string {
	m, err := decodeLoose(t, kind, f)
	switch {
	case f.w == 0 && err == nil:
		if kind == "orientation" {
			return ""
		}
		return fmt.Sprintf("is read as %dx%d, which Pillow refuses", m.Width, m.Height)
	case f.w == 0:
		if !errors.Is(err, ErrImage) && !errors.Is(err, ErrLimit) {
			return fmt.Sprintf("%v wraps no sentinel", err)
		}
		return ""
	case err != nil:
		return err.Error()
	case m.Width != f.w || m.Height != f.h:
		return fmt.Sprintf("is %dx%d, Pillow says %dx%d", m.Width, m.Height, f.w, f.h)
	}
	if worst, n := difference(m, f.rgb); n > 0 {
		return fmt.Sprintf("%d of %d samples differ, by up to %d", n, len(f.rgb), worst)
	}
	return ""
}

// decodeLoose decodes the frame that the name of a GIF asks for, and the first of others.
func decodeLoose(t *testing.T, kind string, f looseFile) (*RGB, error) {
	if _, number, ok := strings.Cut(f.name, "#"); ok && kind == "gif" && number != "0" {
		frame, err := strconv.Atoi(number)
		if err != nil {
			t.Fatal(err)
		}
		frames, err := Frames(context.Background(), write(t, f.data), 0)
		if err != nil {
			return nil, err
		}
		return frames[frame], nil
	}
	return Decode(bytes.NewReader(f.data))
}

// TestCases decodes files of testdata/vision/cases and compares the pixels' hash with Pillow's.
func TestCases(t *testing.T) {
	t.Parallel()
	for _, dir := range []string{"02-webp-metadata-without-flag", "04-png-loose-chunks"} {
		dir = filepath.Join(testdata, "cases", dir)
		data, err := os.ReadFile(dir + "/expected.json")
		if err != nil {
			t.Fatal(err)
		}
		var want struct {
			Files map[string]struct {
				Width, Height int
				SHA256        string `json:"rgb_sha256"`
			}
		}
		if err := json.Unmarshal(data, &want); err != nil || len(want.Files) == 0 {
			t.Fatal(err)
		}
		for name, want := range want.Files {
			m, err := DecodeFile(filepath.Join(dir, name))
			if err != nil {
				t.Error(err)
				continue
			}
			if m.Width != want.Width || m.Height != want.Height || hash(packed(m)) != want.SHA256 {
				t.Errorf("%s: the pixels differ from Pillow's", name)
			}
		}
	}
}

// TestOtherFormats has errors name the formats that are not read.
func TestOtherFormats(t *testing.T) {
	t.Parallel()
	le := "II*\x00\x08\x00\x00\x00"
	tag := func(n, kind, count, value int) string {
		b := []byte{byte(n), byte(n >> 8), byte(kind), 0, byte(count), 0, 0, 0, byte(value), 0, 0, 0}
		return string(b)
	}
	sub := tag(254, 4, 1, 1)
	for data, want := range map[string]string{
		"\x00\x00\x00\x0cjP  \r\n\x87\n\x00\x00":                               "JPEG 2000",
		"\xff\x4f\xff\x51\x00\x2f":                                             "JPEG 2000",
		"\xff\x0a\x7f\x00":                                                     "JPEG XL",
		"\x00\x00\x00\x0cJXL \r\n\x87\n":                                       "JPEG XL",
		"II+\x00\x08\x00\x00\x00\x10\x00":                                      "BigTIFF",
		"MM\x00+\x00\x08\x00\x00\x00\x00":                                      "BigTIFF",
		"II*\x00\x10\x00\x00\x00CR\x02\x00\x00\x00\x00\x00\x00\x00\x00\x00":    "CR2",
		"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom":                     "CR3",
		"FUJIFILMCCD-RAW 0201":                                                 "RAF",
		"IIU\x00\x18\x00\x00\x00":                                              "RW2",
		"IIRO\x08\x00\x00\x00":                                                 "ORF",
		le + "\x01\x00" + tag(50706, 1, 4, 1) + "\x00\x00\x00\x00":             "DNG",
		le + "\x02\x00" + sub + tag(330, 4, 1, 9) + "\x00\x00\x00\x00":         "camera raw",
		"\x00\x00\x00\x20ftypavif\x00\x00\x00\x00avifmif1miaf":                 "AVIF is not supported",
		"\x00\x00\x00\x1cftypmif1\x00\x00\x00\x00mif1avifmiaf":                 "AVIF is not supported",
		"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic":                     "HEIC is not supported",
		"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic":                     "HEIC is not supported",
		"8BPS\x00\x01\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x10\x00\x00": "PSD",
		"%PDF-1.7\n": "PDF",
	} {
		_, err := Decode(strings.NewReader(data))
		oneLine(t, fmt.Sprintf("%q", data), err, ErrImage, want)
		_, err = Decode(strings.NewReader(data + strings.Repeat("\x00", 100)))
		oneLine(t, fmt.Sprintf("%q and more", data), err, ErrImage, want)
		_, err = Frames(t.Context(), write(t, []byte(data+strings.Repeat("\x00", 100))), 2)
		oneLine(t, fmt.Sprintf("frames of %q", data), err, ErrImage, want)
	}
}
