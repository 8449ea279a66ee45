package api

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// link makes a symbolic link, or skips the test where the system has none.
func link(t *testing.T, to, at string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(at), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(to, at); err != nil {
		t.Skip(err)
	}
}

// below lists a folder's pictures by their paths in it.
func below(t *testing.T, dir string) []string {
	t.Helper()
	list, _ := names(t, Sources{}, dir)
	for i := range list {
		list[i] = filepath.ToSlash(strings.TrimPrefix(list[i], dir+string(filepath.Separator)))
	}
	return list
}

// Links to folders and files are followed, and no loop of them is walked round.
func TestFolderLinks(t *testing.T) {
	t.Parallel()
	other := folder(t, "x.png", "deep/y.png")
	for name, c := range map[string]struct {
		links map[string]string // where, to what
		want  []string
	}{
		"a folder elsewhere": {map[string]string{"sub": other}, []string{"a.png", "sub/deep/y.png", "sub/x.png"}},
		"two to one folder": {map[string]string{"l1": other, "l2": other},
			[]string{"a.png", "l1/deep/y.png", "l1/x.png", "l2/deep/y.png", "l2/x.png"}},
		"a file elsewhere":          {map[string]string{"b.jpg": other + "/x.png"}, []string{"a.png", "b.jpg"}},
		"a folder called a picture": {map[string]string{"b.png": other}, []string{"a.png", "b.png/deep/y.png", "b.png/x.png"}},
		"itself":                    {map[string]string{"self": "."}, []string{"a.png"}},
		"its parent":                {map[string]string{"in/up": ".."}, []string{"a.png"}},
		"each other":                {map[string]string{"p/q": "../r", "r/s": "../p"}, []string{"a.png"}},
		"a link to a link":          {map[string]string{"l1": "l2", "l2": other}, []string{"a.png", "l1/deep/y.png", "l1/x.png", "l2/deep/y.png", "l2/x.png"}},
		"a link that is a loop":     {map[string]string{"l1": "l2", "l2": "l1"}, []string{"a.png"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t, "a.png")
			for at, to := range c.links {
				link(t, to, filepath.Join(dir, at))
			}
			if got := below(t, dir); !slices.Equal(got, c.want) {
				t.Errorf("%v, want %v", got, c.want)
			}
			at := filepath.Join(t.TempDir(), "link") // and the folder itself as a link
			link(t, dir, at)
			if got := below(t, at); !slices.Equal(got, c.want) {
				t.Errorf("through a link: %v, want %v", got, c.want)
			}
		})
	}
}

// Folders with links to each other have more paths than can be walked.
func TestFolderOfManyLinks(t *testing.T) {
	t.Parallel()
	dir := folder(t, "a.png")
	const folders = 10
	for i := range folders {
		for j := range folders {
			name := string(rune('a' + j))
			link(t, filepath.Join(dir, name), filepath.Join(dir, string(rune('a'+i)), "to-"+name))
		}
	}
	files, err := search{kind: pictureFiles}.walk(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
}

// All names of pictures are taken, and nothing that macOS puts beside them.
func TestFolderNames(t *testing.T) {
	t.Parallel()
	all := []string{"a.jpg", "b.JPEG", "c.jpe", "d.jfif", "e.png", "f.APNG", "g.gif", "h.webp",
		"i.bmp", "j.dib", "k.tif", "l.TIFF", "m.mpo", "sub/n.Jfif"}
	dir := folder(t, all...)
	for name, data := range map[string]string{
		"._a.jpg":     "\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ",
		"._b.JPEG":    "\x00\x05\x16\x00",
		"._c.jpe":     "",
		"._d.jfif":    "something else",
		"sub/._n.png": "\x00\x05\x16\x07",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	// A picture with such a name is one.
	if err := os.WriteFile(filepath.Join(dir, "._real.png"), readImage(t), 0o666); err != nil {
		t.Fatal(err)
	}
	if got, want := below(t, dir), append([]string{"._real.png"}, all...); !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

// A folder that cannot be listed does not end the walk; it, links to nothing and pictures of other
// formats are counted.
func TestFolderSkips(t *testing.T) {
	t.Parallel()
	dir := folder(t, "a.png", "b.cr2", "c.CR2", "d.psd", "e.txt", "._f.cr2", "g.png.xmp")
	link(t, "nowhere", dir+"/broken")
	link(t, ".", dir+"/self")
	deepFolder(t, dir)
	var told []string
	skips := &Skips{Tell: func(path, why string) { told = append(told, filepath.Base(path)+" "+why) }}
	files, err := search{pictureFiles, skips}.walk(dir)
	if err != nil || len(files) != 1 {
		t.Errorf("%v, %v", files, err)
	}
	if got := skips.String(); got != "2 .cr2, 1 .psd, 1 broken link, 1 link in a circle, 1 unreadable folder" ||
		skips.Total() != 6 || len(told) != 6 || skips.Others() != 3 { // with notes.txt
		t.Errorf("%s; %d others; %v", got, skips.Others(), told)
	}
	skips = &Skips{}
	if got, err := (search{pictureFiles, skips}).expand(dir + "/**/*.png"); err != nil || len(got) != 1 || skips.Total() != 2 {
		t.Errorf("%v, %v, %s", got, err, skips)
	}
	none := folder(t, "b.cr2")
	_, err = search{pictureFiles, &Skips{}}.walk(none)
	wantError(t, err, ExitInput, "; skipped: 1 .cr2")
	_, err = search{kind: pictureFiles}.walk(filepath.Join(none, "gone"))
	wantError(t, err, ExitInput, "gone")
}

// Among several arguments a folder without pictures is skipped; by itself it is an error.
func TestEmptyFolders(t *testing.T) {
	t.Parallel()
	empty, dir := t.TempDir(), folder(t, "sub/a.png", "other/b.txt")
	skips := &Skips{}
	for what, args := range map[string][]string{
		"arguments": {empty, dir}, "a pattern": {dir + "/{sub,other}"},
	} {
		if got, _ := names(t, Sources{Skipped: skips}, args...); len(got) != 1 {
			t.Errorf("%s: %v", what, got)
		}
	}
	if got := skips.String(); got != "2 folders without pictures" {
		t.Error(got)
	}
	for says, s := range map[string]Sources{
		"no pictures in it (":                              {},
		"no pictures; skipped: 2 folders without pictures": {Skipped: &Skips{}},
	} {
		_, _, err := s.Pictures(empty, dir+"/other")
		wantError(t, err, ExitInput, says)
	}
	_, _, err := Sources{Skipped: skips}.Pictures(empty)
	wantError(t, err, ExitInput, "no pictures in it (")
}

// deepFolder makes folders in dir until the innermost has a longer path than can be listed, which
// holds for root, too.
func deepFolder(t *testing.T, dir string) {
	t.Helper()
	root, err := os.OpenRoot(dir)
	for range 20 {
		if err != nil {
			break
		}
		name := strings.Repeat("d", 250)
		var below *os.Root
		if err = root.Mkdir(name, 0o777); err == nil {
			below, err = root.OpenRoot(name)
		}
		root.Close()
		root = below
	}
	if err != nil {
		t.Skip(err)
	}
	root.Close()
}
