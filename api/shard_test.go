package api

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"fmt"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/klauspost/compress/zstd"
)

const shards = "../testdata/shards/"

// gz and zst compress a shard.
func gz(data []byte) []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	w.Write(data)
	w.Close()
	return b.Bytes()
}

func zst(data []byte) []byte {
	w, err := zstd.NewWriter(nil)
	if err != nil {
		panic(err)
	}
	return w.EncodeAll(data, nil)
}

func same(data []byte) []byte { return data }

// load decodes all pictures of a source, and says by name what they look like, or why they fail.
func load(t *testing.T, s Sources, args ...string) (list []string, looks, failed map[string]string) {
	t.Helper()
	pictures, _, err := s.Pictures(args...)
	if err != nil {
		t.Fatal(err)
	}
	looks, failed = map[string]string{}, map[string]string{}
	for p, err := range pictures {
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, p.Name)
		if img, err := p.Load(); err != nil {
			failed[p.Name] = err.Error()
		} else {
			looks[p.Name] = fmt.Sprint(img.Bounds(), img.At(20, 30), img.At(32, 32))
		}
	}
	return list, looks, failed
}

// Members with holes are pictures, in each of the formats that GNU tar writes.
func TestShardSparse(t *testing.T) {
	t.Parallel()
	for _, format := range []string{"gnu", "pax-0.0", "pax-0.1", "pax-1.0"} {
		path := shards + "sparse-" + format + ".tar"
		if got, _ := names(t, Sources{}, path); !slices.Equal(got, []string{path + "/p.png"}) {
			t.Errorf("%s: %v", format, got)
		}
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		for _, pack := range []func([]byte) []byte{same, gz, zst} {
			s := Sources{Stdin: bytes.NewReader(pack(data))}
			if got, _ := names(t, s, "-"); !slices.Equal(got, []string{"-/p.png"}) {
				t.Errorf("%s on standard input: %v", format, got)
			}
		}
	}
}

// Links stand for the members that they lead to, whatever the shard is packed with.
func TestShardLinks(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(shards + "links.tar")
	if err != nil {
		t.Fatal(err)
	}
	members := []string{"a", "b-later", "dangling", "hard", "soft", "z"}
	for suffix, pack := range map[string]func([]byte) []byte{".tar": same, ".tar.gz": gz, ".tgz": gz,
		".tar.zst": zst, ".TZST": zst} {
		path := filepath.Join(t.TempDir(), "links"+suffix)
		if err := os.WriteFile(path, pack(data), 0o666); err != nil {
			t.Fatal(err)
		}
		list, looks, failed := load(t, Sources{}, path)
		for i, m := range members {
			name := path + "/d/" + m + ".png"
			if i >= len(list) || list[i] != name {
				t.Errorf("%s: %v", suffix, list)
				break
			}
			if m == "dangling" {
				if !strings.Contains(failed[name], "d/nothing.png, which is not in the shard") {
					t.Errorf("%s: %q", name, failed[name])
				}
			} else if looks[name] != looks[list[0]] {
				t.Errorf("%s: %v: %s", name, looks[name], failed[name])
			}
		}
	}
	// What went by on standard input just before is there for links to it; the others say why not.
	list, looks, failed := load(t, Sources{Stdin: bytes.NewReader(data)}, "-")
	if len(list) != len(members) || len(failed) != 2 || !strings.Contains(failed["-/d/b-later.png"], "save the shard to a file") ||
		looks["-/d/hard.png"] != looks["-/d/a.png"] || looks["-/d/soft.png"] != looks["-/d/a.png"] {
		t.Errorf("%v: %v", list, failed)
	}
}

// Of what goes by on standard input no more is kept than there is room for.
func TestShardKeeps(t *testing.T) {
	t.Parallel()
	sh := &shardReader{stdin: true}
	big := make([]byte, mostKept/2-1)
	for _, name := range []string{"a", "b", "c"} {
		sh.keep(name, big)
	}
	sh.keep("too big", make([]byte, mostKept+1))
	if len(sh.kept) != 2 || sh.kept[0].name != "b" {
		t.Errorf("%d are kept", len(sh.kept))
	}
}

// Links to links, and links to what is written later or twice.
func TestShardOddLinks(t *testing.T) {
	t.Parallel()
	reg := func(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeReg} }
	hard := func(name, to string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: to}
	}
	soft := func(name, to string) tar.Header {
		return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
	}
	for name, c := range map[string]struct {
		members []tar.Header
		works   []string
		fails   []string
	}{
		"hard to hard":          {[]tar.Header{reg("a.bin"), hard("b.png", "a.bin"), hard("c.png", "b.png")}, []string{"b.png", "c.png"}, nil},
		"soft to hard":          {[]tar.Header{reg("a.bin"), hard("b.bin", "./a.bin"), soft("c.png", "b.bin")}, []string{"c.png"}, nil},
		"hard to soft":          {[]tar.Header{reg("a.bin"), soft("b.bin", "a.bin"), hard("c.png", "b.bin")}, []string{"c.png"}, nil},
		"hard to itself, later": {[]tar.Header{hard("a.png", "a.png")}, nil, []string{"a.png"}},
		"soft to itself":        {[]tar.Header{soft("a.png", "a.png")}, nil, []string{"a.png"}},
		"soft out of the shard": {[]tar.Header{soft("a.png", "/etc/passwd"), soft("b.png", "../../x.png")}, nil, []string{"a.png", "b.png"}},
		"hard to a later one":   {[]tar.Header{hard("b.png", "a.png"), reg("a.png")}, []string{"a.png"}, []string{"b.png"}},
		"of other names":        {[]tar.Header{reg("a.png"), hard("b.txt", "a.png"), soft("c", "a.png")}, []string{"a.png"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := shard(t, c.members...)
			list, _, failed := load(t, Sources{}, path)
			if len(list) != len(c.works)+len(c.fails) || len(failed) != len(c.fails) {
				t.Errorf("%v, of which fail %v", list, failed)
			}
			for _, f := range c.fails {
				if failed[path+"/"+f] == "" {
					t.Errorf("%s: %v", f, failed)
				}
			}
		})
	}
}

// Members of one name are pictures each.
func TestShardTwice(t *testing.T) {
	t.Parallel()
	path := shards + "twice.tar"
	list, looks, failed := load(t, Sources{}, path)
	want := []string{path + "/x.png", path + "/x.png#2"}
	if !slices.Equal(list, want) || len(failed) > 0 || looks[want[0]] == looks[want[1]] {
		t.Errorf("%v that look %v, %v", list, looks, failed)
	}
	path = shard(t, tar.Header{Name: "./a.png", Typeflag: tar.TypeReg},
		tar.Header{Name: "a.png", Typeflag: tar.TypeReg}, tar.Header{Name: "a.png", Typeflag: tar.TypeReg})
	if list, _ := names(t, Sources{}, path); !slices.Equal(list, []string{path + "/./a.png", path + "/a.png#2", path + "/a.png#3"}) {
		t.Error(list)
	}
}

// A shard without pictures says so, and does not end the shards behind it.
func TestShardWithoutPictures(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name string, data []byte) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		return path
	}
	none, err := os.ReadFile(shard(t, tar.Header{Name: "x.txt", Typeflag: tar.TypeReg},
		tar.Header{Name: "folder.png", Typeflag: tar.TypeDir}))
	if err != nil {
		t.Fatal(err)
	}
	good := shard(t, tar.Header{Name: "x.png", Typeflag: tar.TypeReg})
	for path, says := range map[string]string{
		write("none.tar", none):                           "no pictures in it",
		write("none.tar.gz", gz(none)):                    "no pictures in it",
		write("none.tar.zst", zst(none)):                  "no pictures in it",
		write("packed.tar", gz(none)):                     "no pictures in it", // packed, whatever its name
		write("empty.tar", nil):                           "no pictures in it",
		write("zeros.tar", make([]byte, 1024)):            "no pictures in it",
		write("cut.tar.gz", gz(none)[:40]):                "damaged shard",
		write("cut.tar.zst", zst(none)[:40]):              "damaged shard",
		write("cut.tar", none[:700]):                      "damaged shard",
		write("x.tar.xz", []byte("\xfd7zXZ\x00\x00\x04")): "it is packed by xz; a .tar",
		write("x.zip", []byte("PK\x03\x04\x14\x00")):      "it is packed by zip",
		write("no.tar.gz", []byte("\x1f\x8b")):            "unexpected EOF",
		write("text.tgz", []byte("no shard, but words enough to fill a block"+strings.Repeat(" ", 512))): "damaged shard",
	} {
		for _, args := range [][]string{{path}, {path, good}, {good, path}, {path, path, good}} {
			pictures, count, err := Sources{}.Pictures(args...)
			if err != nil {
				t.Fatal(err)
			}
			var list []string
			var last error
			for p, err := range pictures {
				if last != nil {
					t.Errorf("%v: after %v", args, last)
				}
				if last = err; err == nil {
					list = append(list, p.Name)
				}
			}
			wantError(t, last, ExitInput, path+": "+says)
			if want := slices.Contains(args, good); (len(list) == 1) != want || count != -1 {
				t.Errorf("%v: %v", args, list)
			}
		}
	}
}

// macOS puts ._NAME beside NAME into a .tar.
func TestShardResourceForks(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, m := range []struct{ name, data string }{
		{"._x.png", "\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        "}, {"x.png", string(readImage(t))},
		{"sub/._y.png", ""}, {"._z.png", string(readImage(t))},
	} {
		w.WriteHeader(&tar.Header{Name: m.name, Mode: 0o644, Size: int64(len(m.data)), Typeflag: tar.TypeReg})
		w.Write([]byte(m.data))
	}
	w.Close()
	path := filepath.Join(t.TempDir(), "m.tar")
	if err := os.WriteFile(path, b.Bytes(), 0o666); err != nil {
		t.Fatal(err)
	}
	if got, _ := names(t, Sources{}, path); !slices.Equal(got, []string{path + "/x.png", path + "/._z.png"}) {
		t.Error(got)
	}
}

// One .tar behind another is a shard of both, packed or not.
func TestShardOfSeveral(t *testing.T) {
	t.Parallel()
	read := func(path string) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	links, twice, none := read(shards+"links.tar"), read(shards+"twice.tar"), read(shard(t))
	want := []string{"/d/a.png", "/d/b-later.png", "/d/dangling.png", "/d/hard.png", "/d/soft.png", "/d/z.png", "/x.png", "/x.png#2"}
	for what, data := range map[string][]byte{
		"two":             slices.Concat(links, twice),
		"zeros between":   slices.Concat(links, make([]byte, 5120), twice, make([]byte, 512)),
		"an empty one":    slices.Concat(none, links, none, twice),
		"garbage behind":  slices.Concat(links, twice, bytes.Repeat([]byte("garbage "), 100)),
		"packed together": gz(slices.Concat(links, twice)),
		"packed each":     slices.Concat(gz(links), gz(twice)),
		"in zstd":         slices.Concat(zst(links), zst(twice)),
		"as pzstd does":   slices.Concat([]byte("\x50\x2a\x4d\x18\x04\x00\x00\x00abcd"), zst(links), zst(twice)),
	} {
		path := filepath.Join(t.TempDir(), "s.tar")
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		for name, s := range map[string]Sources{path: {}, "-": {Stdin: bytes.NewReader(data)}} {
			list, looks, failed := load(t, s, name)
			for i := range list {
				list[i] = strings.TrimPrefix(list[i], name)
			}
			fails := 1 // dangling.png
			if name == "-" {
				fails = 2
			}
			if !slices.Equal(list, want) || len(failed) != fails || looks[name+"/d/hard.png"] != looks[name+"/d/a.png"] {
				t.Errorf("%s, %s: %v: %v", what, name, list, failed)
			}
		}
	}
	// Names are of the shard, not of a .tar in it.
	path := filepath.Join(t.TempDir(), "s.tar")
	if err := os.WriteFile(path, slices.Concat(twice, twice), 0o666); err != nil {
		t.Fatal(err)
	}
	if list, _ := names(t, Sources{}, path); len(list) != 4 || list[3] != path+"/x.png#4" {
		t.Error(list)
	}
}

// Whatever the bytes, pictures and errors come of them, and an end.
func FuzzShard(f *testing.F) {
	for _, name := range []string{"links", "twice", "sparse-gnu", "sparse-pax-1.0"} {
		data, err := os.ReadFile(shards + name + ".tar")
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
		f.Add(gz(data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		path := filepath.Join(t.TempDir(), "s.tar")
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
		// A hole may be long, and its zeros are read up to the limit.
		s := Sources{Limits: pipeline.Limits{ImageBytes: 1 << 20}}
		for _, p := range []iter.Seq2[Picture, error]{
			s.shard(path), s.stdinShard(bytes.NewReader(data)),
		} {
			known := map[string]bool{}
			for p, err := range p {
				if err == nil && known[p.Name] {
					t.Errorf("%q twice", p.Name)
				}
				if known[p.Name] = true; err == nil {
					p.Load()
				}
			}
			if len(known) == 0 {
				t.Error("nothing, and no word")
			}
		}
	})
}
