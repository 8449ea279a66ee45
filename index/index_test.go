package index

import (
	"context"
	"errors"
	"image/jpeg"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/index/vectors"
	"github.com/crossattn/xpipe/internal/sqlitefile"
	clipmini "github.com/crossattn/xpipe/models/mini/clip-mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
)

const images = "../testdata/images/"

// library is a folder with files, and a library of it.
type library struct {
	*testing.T
	dir, path string
	model     *pipeline.Pipeline
	name      string // of the model
	words     bool
	reembed   bool
	failed    map[string]error
}

func setup(t *testing.T, files ...string) *library {
	t.Helper()
	p, err := pipeline.OpenFS(t.Context(), clipmini.FS())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	l := &library{T: t, dir: filepath.Join(t.TempDir(), "files"), model: p, name: "clip-mini"}
	l.path = filepath.Join(filepath.Dir(l.dir), "library.db")
	for _, to := range files {
		l.copy(images+filepath.Base(to), to)
	}
	return l
}

func (l *library) file(name string) string { return filepath.Join(l.dir, filepath.FromSlash(name)) }

func (l *library) write(name, text string) {
	l.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(l.file(name)), 0o777),
		os.WriteFile(l.file(name), []byte(text), 0o666)); err != nil {
		l.Fatal(err)
	}
}

func (l *library) copy(from, to string) {
	l.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		l.Fatal(err)
	}
	l.write(to, string(data))
}

// index runs once; documents have a page for each line, and sounds a stretch of a second.
func (l *library) index(dirs ...string) (api.Indexed, error) {
	l.Helper()
	s, err := Create(l.Context(), l.path)
	if err != nil {
		return api.Indexed{}, err
	}
	defer s.Close()
	m, err := ModelOf(l.Context(), l.name, l.model)
	if err != nil {
		l.Fatal(err)
	}
	m.Hash += l.name
	l.failed = map[string]error{}
	lines := func(path string) []string {
		data, err := os.ReadFile(path)
		if err != nil {
			l.Error(err)
		}
		return strings.Split(string(data), "\n")
	}
	r := Run{
		Store: s, Embed: l.model, Model: m, Words: l.words, Reembed: l.reembed, Batch: 4, Jobs: 2,
		Describe: func(context.Context, *vision.RGB) (string, error) { return "something described", nil },
		Pages: func(_ context.Context, path string, read bool) iter.Seq2[string, error] {
			return func(yield func(string, error) bool) {
				for _, line := range lines(path) {
					if line == "broken" {
						yield("", errors.New("a broken page"))
						return
					}
					if line == "scan" && read {
						line = "text of the scan"
					}
					if !yield(line, nil) {
						return
					}
				}
			}
		},
		Listen: func(_ context.Context, path string) (said []pipeline.Segment, err error) {
			for i, line := range lines(path) {
				said = append(said, pipeline.Segment{Start: float64(i), End: float64(i + 1), Text: line})
			}
			return said, nil
		},
		Finished: func(path string, err error) {
			if err != nil {
				l.failed[path] = err
			}
		},
	}
	if dirs == nil {
		dirs = []string{l.dir}
	}
	return r.Index(l.Context(), dirs...)
}

// want runs once, and compares what it did: new, changed, moved, gone, same, failed.
func (l *library) want(want [6]int, dirs ...string) {
	l.Helper()
	c, err := l.index(dirs...)
	if err != nil {
		l.Fatal(err)
	}
	if got := [6]int{c.New, c.Changed, c.Moved, c.Gone, c.Same, c.Failed}; got != want {
		l.Errorf("new, changed, moved, gone, same, failed: %v, want %v", got, want)
	}
	for _, hit := range l.find(api.Sought{}, "") {
		if _, err := os.Stat(string(hit.Path)); err != nil {
			l.Errorf("the library has %s, which is gone", hit.Path)
		}
	}
}

// find asks the library; like is the name of a picture.
func (l *library) find(sought api.Sought, like string) []api.Hit {
	l.Helper()
	s, err := Open(l.Context(), l.path)
	if err != nil {
		l.Fatal(err)
	}
	defer s.Close()
	q := Query{Sought: sought}
	if sought.Text != "" {
		rows, err := l.model.EmbedTexts(l.Context(), sought.Text)
		if err != nil {
			l.Fatal(err)
		}
		q.TextVector = rows[0]
	}
	if like != "" {
		img, err := vision.DecodeFile(l.file(like))
		if err != nil {
			l.Fatal(err)
		}
		rows, err := l.model.EmbedImages(l.Context(), img)
		if err != nil {
			l.Fatal(err)
		}
		q.LikeVector = rows[0]
	}
	hits, err := s.Find(l.Context(), q)
	if err != nil {
		l.Fatal(err)
	}
	return hits
}

// names are the hits' paths from the folder on.
func (l *library) names(hits []api.Hit) (names []string) {
	for _, h := range hits {
		name, err := filepath.Rel(l.dir, string(h.Path))
		if err != nil {
			l.Error(err)
		}
		names = append(names, filepath.ToSlash(name))
	}
	return names
}

// What changed is done again, what is gone goes, what was moved is recognised, and nothing is doubled.
func TestIncremental(t *testing.T) {
	t.Parallel()
	l := setup(t, "animals/cat.jpg", "animals/dog.png", "apple.png")
	l.write("papers/two.pdf", "of a harbour\nof mountains")
	l.write("talk.wav", "good morning")
	l.write("notes.txt", "nothing to index")
	l.want([6]int{5, 0, 0, 0, 0, 0})
	l.want([6]int{0, 0, 0, 0, 5, 0})
	if got := len(l.find(api.Sought{}, "")); got != 6 {
		t.Errorf("%d items", got)
	}
	// Moved, alone and with its folder; one of them under a name that says more.
	if err := errors.Join(os.Rename(l.file("apple.png"), l.file("windfall.png")),
		os.Rename(l.file("papers"), l.file("archive"))); err != nil {
		t.Fatal(err)
	}
	l.want([6]int{0, 0, 2, 0, 3, 0})
	if got := l.names(l.find(api.Sought{Text: "windfall", Limit: 1}, "")); !slices.Equal(got, []string{"windfall.png"}) {
		t.Errorf("by its new name: %v", got)
	}
	if got := l.names(l.find(api.Sought{Limit: 1}, "windfall.png")); !slices.Equal(got, []string{"windfall.png"}) {
		t.Errorf("by its look: %v", got)
	}
	// Another content, another time, gone, broken, and mended.
	l.copy(images+"coffee.jpg", "animals/dog.png")
	later := time.Now().Add(time.Hour)
	if err := errors.Join(os.Chtimes(l.file("animals/cat.jpg"), later, later), os.Chtimes(l.file("talk.wav"), later, later),
		os.Remove(l.file("windfall.png"))); err != nil {
		t.Fatal(err)
	}
	l.write("archive/two.pdf", "of harbours\nbroken")
	l.want([6]int{0, 1, 0, 1, 2, 1})
	if got := l.names(l.find(api.Sought{After: later.Add(-time.Minute).Format(time.RFC3339)}, "")); !slices.Equal(got, []string{"animals/cat.jpg", "talk.wav"}) {
		t.Errorf("of another time: %v", got)
	}
	if got := l.names(l.find(api.Sought{}, "")); !slices.Equal(got, []string{"animals/cat.jpg", "animals/dog.png", "talk.wav"}) {
		t.Errorf("held: %v", got)
	}
	l.write("archive/two.pdf", "of harbours\nof rivers")
	l.want([6]int{1, 0, 0, 0, 3, 0})
	if got := l.find(api.Sought{Text: "river harbour", In: []string{"pages"}}, ""); len(got) != 2 || got[0].Page+got[1].Page != 3 ||
		got[0].Text == "" {
		t.Errorf("pages: %+v", got)
	}
	// A file that lies where a folder was, of the same name as a picture; and a folder that cannot be listed.
	if os.Getuid() != 0 {
		if err := os.Chmod(l.file("animals"), 0); err != nil {
			t.Fatal(err)
		}
		l.want([6]int{0, 0, 0, 0, 2, 0})
		if err := os.Chmod(l.file("animals"), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	// Moved from one folder to another, of which one alone is indexed; a copy is no move.
	other := filepath.Join(filepath.Dir(l.dir), "other")
	if err := errors.Join(os.Mkdir(other, 0o777), os.Rename(l.file("animals/cat.jpg"), filepath.Join(other, "cat.jpg"))); err != nil {
		t.Fatal(err)
	}
	l.copy(l.file("animals/dog.png"), "animals/copy.png")
	l.want([6]int{0, 0, 1, 0, 0, 0}, other)
	l.want([6]int{1, 0, 0, 0, 4, 0}, []string{}...)
	// An empty folder keeps what was in it: it may be a disk that is not connected.
	if err := os.Rename(filepath.Join(other, "cat.jpg"), l.file("../cat.jpg")); err != nil {
		t.Fatal(err)
	}
	if _, err := l.index(other); err == nil || api.KindOf(err).Exit != api.ExitInput {
		t.Errorf("an empty folder: %v", err)
	}
	if got := len(l.find(api.Sought{}, "")); got != 6 {
		t.Errorf("%d items are left", got)
	}
}

// Words are read, heard and described when it is asked for, once.
func TestWords(t *testing.T) {
	t.Parallel()
	l := setup(t, "cat.jpg")
	l.write("a.pdf", "scan\nof rivers")
	l.write("b.wav", "good morning\nhello there")
	l.want([6]int{3, 0, 0, 0, 0, 0})
	l.words = true
	l.want([6]int{0, 3, 0, 0, 0, 0})
	l.want([6]int{0, 0, 0, 0, 3, 0})
	l.words = false
	l.want([6]int{0, 0, 0, 0, 3, 0})
	for text, want := range map[string]string{"scan": "a.pdf", "describing": "cat.jpg", "hello": "b.wav"} {
		got := l.find(api.Sought{Text: text, Explain: true}, "")
		i := slices.IndexFunc(got, func(h api.Hit) bool { return h.Explain.Words != nil && h.Explain.Words.Rank == 1 })
		if i < 0 || !strings.HasSuffix(string(got[i].Path), want) {
			t.Errorf("%s: %+v", text, got)
		} else if want == "b.wav" && (*got[i].Start != 1 || *got[i].End != 2 || got[i].Text != "hello there") {
			t.Errorf("%s: %+v", text, got[i])
		}
	}
}

// What is sought is found by what pictures show, by words, and within times, places and kinds.
func TestFind(t *testing.T) {
	t.Parallel()
	l := setup(t, "2019/cat.jpg", "2019/dog.png", "2024/apple.png", "2024/pizza.png", "2024/red-circle.png")
	l.write("2024/menu.pdf", "Pizza with mushrooms, and a café\n東京で寿司を食べる")
	l.write("100%/[x]*?.wav", "")
	old := time.Date(2019, 7, 1, 0, 0, 0, 0, time.UTC)
	for _, name := range []string{"2019/cat.jpg", "2019/dog.png"} {
		if err := os.Chtimes(l.file(name), old, old); err != nil {
			t.Fatal(err)
		}
	}
	l.want([6]int{7, 0, 0, 0, 0, 0})
	for _, c := range []struct {
		sought api.Sought
		like   string
		want   string // the first hits
	}{
		{api.Sought{Text: "a red circle", Limit: 1}, "", "2024/red-circle.png"},
		{api.Sought{Text: "a PIZZA!", Limit: 1}, "", "2024/pizza.png"},
		{api.Sought{Text: "mushroom cafe", In: []string{"pages"}}, "", "2024/menu.pdf"},
		{api.Sought{Text: "寿司", In: []string{"page"}}, "", "2024/menu.pdf"},
		{api.Sought{Limit: 1}, "2019/dog.png", "2019/dog.png"},
		{api.Sought{Limit: 2, Where: l.file("2024"), In: []string{"photos"}, Text: "pizza"}, "2024/pizza.png", "2024/pizza.png"},
		{api.Sought{After: "2020", In: []string{"photos"}}, "", "2024/apple.png 2024/pizza.png 2024/red-circle.png"},
		{api.Sought{After: "2020-01-01T00:00:00Z", In: []string{"photos"}, Limit: 1}, "2019/cat.jpg", "2024/"},
		{api.Sought{Where: l.file("2019")}, "", "2019/cat.jpg 2019/dog.png"},
		{api.Sought{Where: l.file("20*/*.png"), In: []string{"photos", "sounds"}}, "", "2019/dog.png 2024/apple.png"},
		{api.Sought{Folders: []string{l.file("2019"), l.file("2024/menu.pdf")}}, "", "2019/cat.jpg 2019/dog.png 2024/menu.pdf 2024/menu.pdf"},
		{api.Sought{Where: l.file("201")}, "", ""},
		{api.Sought{Where: l.file("100%/[x]*?.wav")}, "", "100%/[x]*?.wav"},
		{api.Sought{Text: `"x" OR NEAR( *:-^`, In: []string{"sounds"}}, "", "100%/[x]*?.wav"},
		{api.Sought{Text: "...", In: []string{"sounds"}}, "", ""},
		{api.Sought{In: []string{"films"}}, "", ""},
	} {
		if got := strings.Join(l.names(l.find(c.sought, c.like)), " "); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
			t.Errorf("%+v like %q: %s, want %s", c.sought, c.like, got, c.want)
		}
	}
	hits := l.find(api.Sought{Text: "pizza", Explain: true}, "")
	first := hits[0].Explain
	if first.Text == nil || first.Words == nil || first.Text.Rank < 1 || hits[0].Score > 1 || hits[0].Score < hits[1].Score {
		t.Errorf("explained: %+v, %+v", hits[0], first)
	}
	s, err := Open(t.Context(), l.path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, bad := range []api.Sought{{After: "yesterday"}, {In: []string{"fotos"}}} {
		if _, err := s.Find(t.Context(), Query{Sought: bad}); api.KindOf(err).Exit != api.ExitUsage {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if _, err := s.Find(t.Context(), Query{LikeVector: []float32{1, 2}}); !errors.Is(err, ErrOtherModel) {
		t.Errorf("a vector of another model: %v", err)
	}
	var page strings.Builder
	hits[0].Path += "<script>"
	if err := WriteHTML(t.Context(), &page, "<b>", hits, api.Sources{}); err != nil || strings.Contains(page.String(), "<b>") ||
		strings.Contains(page.String(), "png<script>") || !strings.Contains(page.String(), "data:image/jpeg;base64,") {
		t.Errorf("the page: %v", err)
	}
}

// Searches find the same with the vectors' file, without it, and while it is behind.
func TestVectorsFile(t *testing.T) {
	t.Parallel()
	l := setup(t, "cat.jpg", "dog.png", "apple.png")
	l.want([6]int{3, 0, 0, 0, 0, 0})
	behind, err := os.ReadFile(vectorPath(l.path))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(l.file("cat.jpg")); err != nil {
		t.Fatal(err)
	}
	l.copy(images+"pizza.png", "pizza.png")
	l.copy(images+"coffee.jpg", "dog.png")
	l.want([6]int{1, 1, 0, 1, 1, 0})
	want := l.names(l.find(api.Sought{}, "pizza.png"))
	if len(want) != 3 || want[0] != "pizza.png" {
		t.Fatalf("found %v", want)
	}
	held, err := Open(t.Context(), l.path) // as a server has it
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	rows, err := l.model.EmbedTexts(t.Context(), "a cat")
	if err != nil {
		t.Fatal(err)
	}
	for name, change := range map[string]func(string) error{
		"missing": os.Remove,
		"behind":  func(path string) error { return os.WriteFile(path, behind, 0o666) },
		"damaged": func(path string) error { return os.WriteFile(path, behind[100:], 0o666) },
		"empty":   func(path string) error { return os.WriteFile(path, nil, 0o666) },
	} {
		if err := change(vectorPath(l.path)); err != nil {
			t.Fatal(err)
		}
		if got := l.names(l.find(api.Sought{}, "pizza.png")); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
		for range 2 {
			if hits, err := held.Find(t.Context(), Query{LikeVector: rows[0]}); err != nil || len(hits) != 3 {
				t.Errorf("%s: %v, %v", name, l.names(hits), err)
			}
		}
		l.want([6]int{0, 0, 0, 0, 3, 0}) // which mends it
		s, err := Open(t.Context(), l.path)
		if err != nil {
			t.Fatal(err)
		}
		v, err := vectors.Open(vectorPath(l.path), s.id, s.Model().Dim)
		if generation, _ := s.generation(t.Context()); err != nil || v.Generation() != uint64(generation) {
			t.Errorf("%s: not mended: %v", name, err)
		}
		if found, err := v.Search(t.Context(), rows[0], 10, nil); len(found) != 3 || err != nil {
			t.Errorf("%s: mended, it has %d vectors, %v", name, len(found), err)
		}
		v.Close()
		s.Close()
	}
}

// Near-equal pictures are groups; others are not.
func TestDuplicates(t *testing.T) {
	t.Parallel()
	l := setup(t, "cat.jpg", "dog.png", "coffee.jpg", "pizza.png", "rocket.png", "same/dog.png")
	img, err := vision.DecodeFile(l.file("cat.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	small, err := vision.Thumbnail(img, img.Width*2/3, img.Height)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(l.file("small-cat.jpg"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(jpeg.Encode(f, small, &jpeg.Options{Quality: 60}), f.Close()); err != nil {
		t.Fatal(err)
	}
	l.want([6]int{7, 0, 0, 0, 0, 0})
	s, err := Open(t.Context(), l.path)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	hits, err := s.Duplicates(t.Context(), api.Sought{})
	if err != nil {
		t.Fatal(err)
	}
	if got := l.names(hits); !slices.Equal(got, []string{"cat.jpg", "small-cat.jpg", "dog.png", "same/dog.png"}) ||
		hits[1].Group != 1 || hits[2].Group != 2 || hits[1].Score < leastLikeCosine {
		t.Errorf("groups: %v %+v", got, hits)
	}
}

// Another model is told, and takes over when it is asked to, also in a run that goes on later.
func TestOtherModel(t *testing.T) {
	t.Parallel()
	l := setup(t, "cat.jpg", "dog.png")
	l.write("a.wav", "")
	l.want([6]int{3, 0, 0, 0, 0, 0})
	open, err := Open(t.Context(), l.path)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	l.name = "another"
	if _, err := l.index(); !errors.Is(err, ErrOtherModel) || !strings.Contains(err.Error(), "--reembed") ||
		api.KindOf(err).Exit != api.ExitUsage {
		t.Fatalf("another model: %v", err)
	}
	l.reembed = true
	l.want([6]int{0, 2, 0, 0, 1, 0})
	l.want([6]int{0, 0, 0, 0, 3, 0})
	query := Query{LikeVector: make([]float32, open.Model().Dim)}
	if _, err := open.Find(t.Context(), query); !errors.Is(err, ErrOtherModel) {
		t.Errorf("a vector of the model before: %v", err)
	}
	if hits, err := open.Find(t.Context(), query); err != nil || len(hits) != 2 || open.Model().Name != "another" {
		t.Errorf("once it is known: %v, %v", hits, err)
	}
	if got := l.names(l.find(api.Sought{Limit: 1}, "dog.png")); !slices.Equal(got, []string{"dog.png"}) {
		t.Errorf("found %v", got)
	}
}

// What is wrong with a library's file is said, with what to do.
func TestBadStores(t *testing.T) {
	t.Parallel()
	l := setup(t, "cat.jpg")
	if _, err := Open(t.Context(), l.path); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "xpipe index") {
		t.Errorf("no library: %v", err)
	}
	first, err := Create(t.Context(), l.path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Create(t.Context(), l.path); !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "--store") {
		t.Errorf("two at once: %v", err)
	}
	if _, err := first.db.Exec("PRAGMA user_version = 99"); err != nil {
		t.Fatal(err)
	}
	first.Close()
	if _, err := Create(t.Context(), l.path); !errors.Is(err, sqlitefile.ErrNewer) || api.KindOf(err).Exit != api.ExitInput {
		t.Errorf("a newer library: %v", err)
	}
	l.write("other.db", strings.Repeat("no library ", 999))
	if _, err := Open(t.Context(), l.file("other.db")); !errors.Is(err, sqlitefile.ErrForeign) {
		t.Errorf("no library: %v", err)
	}
	if _, err := Create(t.Context(), l.file("other.db")); !errors.Is(err, sqlitefile.ErrForeign) {
		t.Errorf("no library: %v", err)
	}
	if _, err := os.Stat(l.file("other.db.lock")); err == nil {
		t.Error("a lock lies beside what is no library")
	}
	if _, err := l.index(filepath.Join(l.dir, "none")); err == nil {
		t.Error("no folder, and no error")
	}
}
