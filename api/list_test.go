package api

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"image"
	"image/color/palette"
	"image/gif"
	"image/jpeg"
	"image/png"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"archive/tar"

	"golang.org/x/image/bmp"
	"golang.org/x/image/tiff"
)

// utf16Text is text as PowerShell writes it.
func utf16Text(order binary.AppendByteOrder, text string) string {
	var b []byte
	for _, u := range utf16.Encode([]rune("\ufeff" + text)) {
		b = order.AppendUint16(b, u)
	}
	return string(b)
}

// inFolder makes pictures of some names in a folder, and goes there.
func inFolder(t *testing.T, pictures ...string) {
	t.Helper()
	t.Chdir(folder(t, pictures...))
}

// A list may begin with any name, in any of the encodings that Windows writes.
func TestListNames(t *testing.T) {
	all := []string{"BM.png", "BMW 320.png", "MM1.png", "II*.png", "GIF8.png", "GIF89a.png",
		"GIF89a-cat.png", "RIFF.png", "RIFF1234WEBP.png", "P6.png", "P5", "BZh91.png", "%PD.png",
		"\x1b[1m.png", "Füße.png", "日本.png", "caf\xe9.png", " space.png", "a, b.png", "x{1,2}.png", "[1].png"}
	inFolder(t, all...)
	for _, first := range all {
		for what, list := range map[string]string{
			"lines": first + "\n", "no end": first, "CRLF": first + "\r\n\r\n",
			"UTF-8 mark": "\ufeff" + first + "\r\n",
		} {
			for _, s := range []Sources{{Stdin: strings.NewReader(list)}, {Stdin: iotestOne(list)}} {
				if got, count := names(t, s, "-"); !slices.Equal(got, []string{first}) || count != -1 {
					t.Errorf("%s of %q: %q", what, first, got)
				}
			}
		}
		if first == "caf\xe9.png" {
			continue // no text
		}
		for _, order := range []binary.AppendByteOrder{binary.LittleEndian, binary.BigEndian} {
			s := Sources{Stdin: strings.NewReader(utf16Text(order, first+"\r\nBM.png\r\n"))}
			if got, _ := names(t, s, "-"); !slices.Equal(got, []string{first, "BM.png"}) {
				t.Errorf("UTF-16 of %q: %q", first, got)
			}
		}
	}
}

// Names may end in zeros, as find -print0 writes them; then any other byte is part of one.
func TestListOfZeros(t *testing.T) {
	all := []string{"a.png", "li\nne.png", " space.png", "BM.png", "sub/b.png"}
	inFolder(t, all...)
	list := strings.Join(all, "\x00") + "\x00"
	for what, s := range map[string]Sources{
		"at once": {Stdin: strings.NewReader(list)},
		"slowly":  {Stdin: iotestOne(list)},
		"no end":  {Stdin: strings.NewReader(strings.TrimSuffix(list, "\x00"))},
	} {
		if got, _ := names(t, s, "-"); !slices.Equal(got, all) {
			t.Errorf("%s: %q", what, got)
		}
	}
	if got, _ := names(t, Sources{Stdin: strings.NewReader("sub\x00"), Lists: []string{"-"}}); !slices.Equal(got, []string{"sub/b.png"}) {
		t.Errorf("a folder in --list -: %q", got)
	}
}

// iotestOne gives a byte at a time, as slow writers do.
func iotestOne(text string) io.Reader { return &oneByte{strings.NewReader(text)} }

type oneByte struct{ r io.Reader }

func (o *oneByte) Read(p []byte) (int, error) { return o.r.Read(p[:min(1, len(p))]) }

// A list is taken up before its end: what writes it may wait for an answer.
func TestListWaitsForNoMore(t *testing.T) {
	t.Parallel()
	r, w := io.Pipe()
	go fmt.Fprintln(w, images+"apple.png")
	pictures, _, err := Sources{Stdin: r}.Pictures("-")
	if err != nil {
		t.Fatal(err)
	}
	for p, err := range pictures {
		if err != nil || p.Name != images+"apple.png" {
			t.Error(p.Name, err)
		}
		break
	}
	w.Close()
}

// Pictures of every format are told from lists, and shards from both.
func TestSniff(t *testing.T) {
	t.Parallel()
	img := image.NewPaletted(image.Rect(0, 0, 40, 30), palette.Plan9)
	encode := func(f func(io.Writer) error) string {
		var b bytes.Buffer
		if err := f(&b); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	shardData, err := os.ReadFile(shard(t, tar.Header{Name: "a name that is longer than any signature.png", Typeflag: tar.TypeReg}))
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct {
		data string
		want content
	}{
		"png":           {string(readImage(t)), contentPicture},
		"png of a line": {encode(func(w io.Writer) error { return png.Encode(w, image.NewGray(image.Rect(0, 0, 2570, 1))) }), contentPicture},
		"jpeg":          {encode(func(w io.Writer) error { return jpeg.Encode(w, img, nil) }), contentPicture},
		"gif":           {encode(func(w io.Writer) error { return gif.Encode(w, img, nil) }), contentPicture},
		"bmp":           {encode(func(w io.Writer) error { return bmp.Encode(w, img) }), contentPicture},
		"tiff":          {encode(func(w io.Writer) error { return tiff.Encode(w, img, nil) }), contentPicture},
		"big tiff":      {"MM\x00*\x00\x00\x00\x08", contentPicture},
		"BigTIFF":       {"II+\x00\x08\x00\x00\x00", contentPicture},
		"webp":          {"RIFFabcdWEBPVP8 ", contentPicture}, // of sizes without a 0
		"avif":          {"\x00\x00\x00\x1cftypavif", contentPicture},
		"ppm":           {"P6\n2 1\n255\nabcdef", contentPicture},
		"pgm, comment":  {"P2\n# by hand\n2 1\n9\n1 2\n", contentPicture},
		"pam":           {"P7\nWIDTH 1\n", contentPicture},
		"qoi":           {"qoif\x00\x00\x00\x01", contentPicture},
		"jpeg xl":       {"\xff\x0a\xfa\x1f", contentPicture},
		"pdf":           {"%PDF-1.7\n", contentPicture},
		"noise":         {"\x01\x02\x03\x04\x05\x06\x07\x08", contentPicture},
		"tar":           {string(shardData), contentShard},
		"tar.gz":        {string(gz(shardData)), contentShard},
		"tar.zst":       {string(zst(shardData)), contentShard},
		"bzip2":         {"BZh91AY&SYabcd", contentShard},
		"text":          {"a.png\nb.png\n", contentText},
		"one letter":    {"a", contentText},
		"a line":        {strings.Repeat("a/", 400) + ".png", contentText},
		"an empty line": {"\n", contentText},
	} {
		for _, r := range []io.Reader{strings.NewReader(c.data), iotestOne(c.data)} {
			in := bufio.NewReader(r)
			got, err := sniff(in)
			if err != nil || got != c.want {
				t.Errorf("%s: %v, %v, want %v", what, got, err, c.want)
			}
			if all, _ := io.ReadAll(in); string(all) != c.data {
				t.Errorf("%s: bytes are lost", what)
			}
		}
	}
}

// A list mixes all that arguments may be; a line that stands for nothing is a picture that fails.
func TestListMixed(t *testing.T) {
	data, err := os.ReadFile(shard(t, tar.Header{Name: "m.png", Typeflag: tar.TypeReg}))
	if err != nil {
		t.Fatal(err)
	}
	inFolder(t, "a.png", "d/b.png", "d/c.jpg", "s0.png", "s1.png", "._a.png")
	if err := os.WriteFile("._a.png", []byte("\x00\x05\x16\x07"), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("none", 0o777); err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"t0.tar": data, "t1.tar.gz": gz(data)} {
		if err := os.WriteFile(name, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	lines := []string{"a.png", "._a.png", "d", "s{0..1}.png", "t0.tar", "", "  d/*.jpg  ", "t{1..1}.tar.gz", "**/c.jpg",
		"missing.png", "none", "*.gif", "-", `{"image":"a.png"}`, "a.png"}
	if err := os.WriteFile("list.txt", []byte("\ufeff"+strings.Join(lines, "\r\n")), 0o666); err != nil {
		t.Fatal(err)
	}
	want := []string{"a.png", "d/b.png", "d/c.jpg", "s0.png", "s1.png", "t0.tar/m.png", "d/c.jpg",
		"t1.tar.gz/m.png", "d/c.jpg", "missing.png", "none", "*.gif", "-", `{"image":"a.png"}`, "a.png"}
	fails := map[string]string{"missing.png": "missing.png", "none": "no pictures in it", "*.gif": "no file matches",
		"-": `"-" in a list`, `{"image":"a.png"}`: "a line is JSON"}
	for what, c := range map[string]struct {
		s    Sources
		args []string
		want []string
	}{
		"a file":           {Sources{Lists: []string{"list.txt"}}, nil, want},
		"standard input":   {Sources{Stdin: strings.NewReader(strings.Join(lines, "\n")), Lists: []string{"-"}}, nil, want},
		"an argument":      {Sources{Stdin: strings.NewReader(strings.Join(lines, "\n"))}, []string{"-"}, want},
		"behind arguments": {Sources{Lists: []string{"list.txt"}}, []string{"s1.png", "t0.tar"}, append([]string{"s1.png", "t0.tar/m.png"}, want...)},
		"two":              {Sources{Lists: []string{"list.txt", "list.txt"}}, nil, append(slices.Clone(want), want...)},
	} {
		list, _, failed := load(t, c.s, c.args...)
		for i := range list {
			list[i] = filepath.ToSlash(list[i])
		}
		if !slices.Equal(list, c.want) {
			t.Errorf("%s: %q, want %q", what, list, c.want)
		}
		for name, says := range fails {
			if !strings.Contains(failed[name], says) {
				t.Errorf("%s: %s: %q does not say %q", what, name, failed[name], says)
			}
		}
		if len(failed) != len(fails) {
			t.Errorf("%s: %v", what, failed)
		}
	}
}

// What is no list says what it is.
func TestListRefuses(t *testing.T) {
	t.Parallel()
	dir := folder(t, "a.png")
	path := shard(t, tar.Header{Name: "m.png", Typeflag: tar.TypeReg})
	empty := filepath.Join(dir, "empty.txt")
	if err := os.WriteFile(empty, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	for list, says := range map[string]string{
		dir: "is a folder", dir + "/a.png": "it is a picture, not a list", path: "it is a shard, not a list",
		empty: "it is empty", dir + "/missing.txt": "missing.txt",
	} {
		_, _, err := Sources{Lists: []string{list}}.Pictures()
		wantError(t, err, ExitInput, says)
	}
	_, _, err := Sources{Stdin: strings.NewReader("a"), Lists: []string{"-"}}.Pictures("-")
	wantError(t, err, ExitUsage, "twice")
}
