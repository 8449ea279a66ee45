package api

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
)

// readImage is the bytes of a picture.
func readImage(t *testing.T) []byte {
	t.Helper()
	data, err := os.ReadFile(images + "apple.png")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// folder has pictures, and a file that is none.
func folder(t *testing.T, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	data := readImage(t)
	for _, name := range append(names, "notes.txt") {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// shard writes a .tar with some members.
func shard(t *testing.T, members ...tar.Header) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shard.TAR")
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	data := readImage(t)
	for _, header := range members {
		header.Mode = 0o644
		if header.Typeflag == tar.TypeReg {
			header.Size = int64(len(data))
		}
		if err := w.WriteHeader(&header); err != nil {
			t.Fatal(err)
		}
		if header.Typeflag == tar.TypeReg {
			w.Write(data)
		}
	}
	w.Close()
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}

// names lists a source, each picture of which has to decode.
func names(t *testing.T, s Sources, args ...string) (list []string, count int) {
	t.Helper()
	pictures, count, err := s.Pictures(args...)
	if err != nil {
		t.Fatal(err)
	}
	for p, err := range pictures {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Load(); err != nil {
			t.Errorf("%s: %v", p.Name, err)
		}
		list = append(list, p.Name)
	}
	return list, count
}

func TestPictures(t *testing.T) {
	t.Parallel()
	dir := folder(t, "b.png", "a.JPG", "sub/c.webp", "d")
	in := func(name string) string { return filepath.Join(dir, name) }
	path := shard(t, tar.Header{Name: "x.png", Typeflag: tar.TypeReg},
		tar.Header{Name: "x.txt", Typeflag: tar.TypeReg},
		tar.Header{Name: "folder.png", Typeflag: tar.TypeDir},
		tar.Header{Name: "sub/y.png", Typeflag: tar.TypeReg})
	all := []string{in("a.JPG"), in("b.png"), in("sub/c.webp")}
	for _, c := range []struct {
		args  []string
		stdin string
		want  []string
		count int
	}{
		{args: []string{in("d")}, want: []string{in("d")}, count: 1}, // any name where it is given
		{args: []string{dir}, want: all, count: 3},
		{args: []string{in("*.png"), in("d")}, want: []string{in("b.png"), in("d")}, count: 2},
		{args: []string{path, in("d")},
			want: []string{path + "/x.png", path + "/sub/y.png", in("d")}, count: -1},
		{args: []string{"-"}, stdin: string(readImage(t)), want: []string{"-"}, count: 1},
		{args: []string{in("d"), "-"}, stdin: in("b.png") + "\r\n\n " + in("d"),
			want: []string{in("d"), in("b.png"), in("d")}, count: -1},
	} {
		got, count := names(t, Sources{Stdin: strings.NewReader(c.stdin)}, c.args...)
		if !slices.Equal(got, c.want) || count != c.count {
			t.Errorf("%v: %d: %v, want %d: %v", c.args, count, got, c.count, c.want)
		}
	}
	pictures, _, err := Sources{}.Pictures(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range pictures { // a consumer may stop
		break
	}
}

func TestPicturesRefuses(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	for _, c := range []struct {
		args []string
		exit int
		says string
	}{
		{[]string{dir}, ExitInput, "no pictures in it"},
		{[]string{dir + "/*.png"}, ExitInput, "no file matches"},
		{[]string{dir + "/[.png"}, ExitUsage, "pattern"},
		{[]string{"-"}, ExitInput, "standard input: it is empty"},
	} {
		_, _, err := Sources{}.Pictures(c.args...)
		wantError(t, err, c.exit, c.says)
	}
	_, _, err := Sources{Stdin: strings.NewReader("a.png\nb.png\nc.png\nd.png")}.Pictures("-", "-")
	wantError(t, err, ExitUsage, "twice")
	_, _, err = Sources{Stdin: iotest.ErrReader(errors.New("unplugged"))}.Pictures("-")
	wantError(t, err, ExitInput, "unplugged")

	// What cannot be read is the picture's error where there is one, and else the sequence's.
	pictures, _, err := Sources{}.Pictures(dir+"/missing.png", dir+"/notes.txt/x.tar")
	if err != nil {
		t.Fatal(err)
	}
	for p, err := range pictures {
		if err != nil {
			t.Fatal(err)
		}
		_, err := p.Load()
		wantError(t, err, ExitInput, p.Name)
	}
	damaged := shard(t, tar.Header{Name: "x.png", Typeflag: tar.TypeReg})
	if err := os.Truncate(damaged, 600); err != nil {
		t.Fatal(err)
	}
	pictures, _, err = Sources{}.Pictures(damaged)
	if err != nil {
		t.Fatal(err)
	}
	var errs []error
	for p, err := range pictures {
		if err == nil {
			_, err = p.Load()
		}
		errs = append(errs, err)
	}
	if len(errs) != 2 {
		t.Fatal(errs)
	}
	wantError(t, errs[0], ExitInput, damaged+"/x.png")
	wantError(t, errs[1], ExitInput, damaged+": damaged shard")
}

func TestPictureLimits(t *testing.T) {
	t.Parallel()
	s := Sources{Stdin: bytes.NewReader(readImage(t)), Limits: pipeline.Limits{ImageBytes: 100}}
	path := shard(t, tar.Header{Name: "x.png", Typeflag: tar.TypeReg})
	pictures, _, err := s.Pictures(images+"apple.png", "-", path)
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for p, err := range pictures {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Load(); !errors.Is(err, vision.ErrLimit) {
			t.Errorf("%s: %v", p.Name, err)
		}
		n++
	}
	if n != 3 {
		t.Errorf("%d pictures", n)
	}
	s.Limits.ImageBytes = -1
	if got, _ := names(t, s, path); len(got) != 1 {
		t.Errorf("without a bound: %v", got)
	}
}
