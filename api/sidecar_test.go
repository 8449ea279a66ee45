package api

import (
	"archive/tar"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// wanted are the names of the pictures whose captions are to be written, and of those that fail.
func wanted(t *testing.T, s *Sidecars, all bool, args ...string) (list, failed []string) {
	t.Helper()
	pictures, _, err := Sources{}.Pictures(args...)
	if err != nil {
		t.Fatal(err)
	}
	for p, err := range s.Wanted(pictures, all) {
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.Load(); err != nil {
			failed = append(failed, err.Error())
		} else {
			list = append(list, filepath.Base(p.Name))
		}
	}
	return list, failed
}

func TestSidecars(t *testing.T) {
	t.Parallel()
	dir := folder(t, "a.png", "b.tar.png", "c", "kept.png", "sub/a.png")
	at := func(name string) string { return filepath.Join(dir, name) }
	read := func(name string) string {
		data, _ := os.ReadFile(at(name))
		return string(data)
	}
	if err := os.WriteFile(at("kept.txt"), []byte("by hand"), 0o666); err != nil {
		t.Fatal(err)
	}
	s := &Sidecars{}
	list, failed := wanted(t, s, false, dir, at("c"), at("./a.png"))
	if !slices.Equal(list, []string{"a.png", "b.tar.png", "a.png", "c", "a.png"}) || failed != nil || s.Kept() != 1 {
		t.Errorf("%v, %v, %d kept", list, failed, s.Kept())
	}
	for _, c := range []struct{ prefix, picture, at, want string }{
		{"", "a.png", "a.txt", "a dog\n"},
		{"sks,", "b.tar.png", "b.tar.txt", "sks, a dog\n"},
		{"photo of TOK, ", "c", "c.txt", "photo of TOK, a dog\n"},
		{"x", "kept.png", "kept.txt", "by hand"},
	} {
		s := &Sidecars{Prefix: c.prefix}
		if err := s.Write(at(c.picture), "a dog"); err != nil || read(c.at) != c.want {
			t.Errorf("%s: %q, %v, want %q", c.picture, read(c.at), err, c.want)
		}
	}
	s = &Sidecars{Overwrite: true}
	if list, _ := wanted(t, s, false, dir); len(list) != 4 || s.Kept() != 0 {
		t.Errorf("%v, %d kept", list, s.Kept())
	}
	if err := s.Write(at("kept.png"), "a cat"); err != nil || read("kept.txt") != "a cat\n" {
		t.Errorf("%q, %v", read("kept.txt"), err)
	}
	s = &Sidecars{}
	if list, _ := wanted(t, s, true, dir); len(list) != 4 || s.Kept() != 3 {
		t.Errorf("%v, %d kept", list, s.Kept())
	}
	if left, _ := filepath.Glob(at("*.part")); left != nil {
		t.Errorf("left over: %v", left)
	}
	if err := s.Write(filepath.Join(dir, "none", "x.png"), "a dog"); err == nil {
		t.Error("a folder that is missing")
	}
}

// Two pictures of one name share a place, and pictures in shards have none.
func TestSidecarsWithoutPlace(t *testing.T) {
	t.Parallel()
	dir := folder(t, "a.jpg", "a.png", "b.png")
	list, failed := wanted(t, &Sidecars{}, false, dir, shard(t, tar.Header{Name: "m.png", Typeflag: tar.TypeReg}))
	if !slices.Equal(list, []string{"a.jpg", "b.png"}) || len(failed) != 2 ||
		!strings.Contains(failed[0], "a.txt is the caption of a.jpg already") || !strings.Contains(failed[1], "no place for a .txt") {
		t.Errorf("%v, %v", list, failed)
	}
}
