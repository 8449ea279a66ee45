package serving

import (
	"context"
	"crypto/sha256"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/pipeline"
)

// What comes while a batch runs is the next batch; an input that fails, or whose caller is gone, takes
// nothing from the others.
func TestTogether(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var batches [][]int
	release := make(chan struct{})
	together := &Together[int, int]{Most: 4, Run: func(_ context.Context, in []int) ([]int, error) {
		mu.Lock()
		batches = append(batches, slices.Clone(in))
		mu.Unlock()
		<-release
		out := make([]int, len(in))
		var errs []error
		for i, n := range in {
			if out[i] = n * n; n == 3 {
				errs = append(errs, &pipeline.ItemError{What: "input", Index: i, Err: pipeline.ErrImage})
			}
		}
		return out, errors.Join(errs...)
	}}
	waiting := func() int {
		together.mu.Lock()
		defer together.mu.Unlock()
		return len(together.waiting)
	}
	var all sync.WaitGroup
	ask := func(ctx context.Context, n int) {
		all.Go(func() {
			got, err := together.Do(ctx, n)
			switch {
			case n == 3 && !errors.Is(err, pipeline.ErrImage), n == 5 && !errors.Is(err, context.Canceled):
				t.Errorf("%d: %v", n, err)
			case n != 3 && n != 5 && (err != nil || got != n*n):
				t.Errorf("%d: %d, %v", n, got, err)
			}
		})
	}
	ask(t.Context(), 0)
	until(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(batches) == 1 })
	gone, cancel := context.WithCancel(t.Context())
	for n := 1; n <= 6; n++ {
		ctx := t.Context()
		if n == 5 {
			ctx = gone
		}
		ask(ctx, n)
		until(t, func() bool { return waiting() == n })
	}
	cancel()
	close(release)
	all.Wait()
	if want := [][]int{{0}, {1, 2, 3, 4}, {6}}; !slices.EqualFunc(batches, want, slices.Equal) {
		t.Errorf("batches %v, want %v", batches, want)
	}
}

// Each lane has a batch of its own, and no more of them run than there are lanes.
func TestTogetherSideBySide(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	running, most := 0, 0
	together := &Together[int, int]{Most: 1, Lanes: 2, Run: func(_ context.Context, in []int) ([]int, error) {
		mu.Lock()
		running++
		most = max(most, running)
		mu.Unlock()
		until(t, func() bool { mu.Lock(); defer mu.Unlock(); return most > 1 })
		mu.Lock()
		running--
		mu.Unlock()
		return in, nil
	}}
	var all sync.WaitGroup
	for n := range 20 {
		all.Go(func() {
			if got, err := together.Do(t.Context(), n); err != nil || got != n {
				t.Errorf("%d: %d, %v", n, got, err)
			}
		})
	}
	all.Wait()
	until(t, func() bool { together.mu.Lock(); defer together.mu.Unlock(); return together.running == 0 })
	if most != 2 {
		t.Errorf("%d batches at once", most)
	}
}

func until(t *testing.T, holds func() bool) {
	t.Helper()
	for start := time.Now(); !holds(); time.Sleep(time.Millisecond) {
		if time.Since(start) > 20*time.Second {
			t.Fatal("it does not come to that")
		}
	}
}

func TestCache(t *testing.T) {
	t.Parallel()
	hits, made := 0, 0
	c := newCache(10, func(v int) int64 { return int64(v) }, func(hit bool) {
		if hit {
			hits++
		}
	})
	get := func(v int) {
		t.Helper()
		got, err := c.get(t.Context(), sha256.Sum256([]byte{byte(v)}), func() (int, error) { made++; return v, nil })
		if err != nil || got != v {
			t.Fatal(got, err)
		}
	}
	for _, v := range []int{4, 5, 4, 3, 4, 11, 4} { // 3 drives 5 out, 11 is never kept
		get(v)
	}
	if hits != 3 || made != 4 || c.bytes() != 7 {
		t.Errorf("%d hits, %d made, %d bytes", hits, made, c.bytes())
	}
	failing := errors.New("no")
	if _, err := c.get(t.Context(), hash{}, func() (int, error) { return 0, failing }); !errors.Is(err, failing) {
		t.Error(err)
	}
	if got, err := c.get(t.Context(), hash{}, func() (int, error) { return 1, nil }); err != nil || got != 1 {
		t.Error("a failure is kept", got, err)
	}
}

// Clients name models by names alone.
func TestCatalogTakesNoPaths(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	for _, d := range []string{filepath.Join(dir, "mine"), outside} {
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(d, "config.json"), []byte("{}"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(outside, filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	t.Setenv("HF_HUB_CACHE", t.TempDir())
	c := &Catalog{Dir: dir, Aliases: map[string]string{"gpt-4o": "clip-mini"}}
	for _, name := range []string{
		"", ".", "..", "/", dir, outside, "mine/..", "./mine", "mine/", "../" + filepath.Base(outside), "link", "mine/config.json", "none", "a/b",
	} {
		if e, err := c.Find(name); !errors.Is(err, api.ErrNoModel) {
			t.Errorf("%q is %v, %v", name, e, err)
		}
	}
	for name, want := range map[string]string{
		"mine": "mine", "mine:latest": "mine", "clip-mini": "clip-mini", "gpt-4o": "clip-mini",
	} {
		if e, err := c.Find(name); err != nil || e.Name != want {
			t.Errorf("%q is %v, %v", name, e, err)
		}
	}
	if names := c.Names(); !slices.Contains(names, "mine") || slices.Contains(names, "link") {
		t.Errorf("names %v", names)
	}
}

// Models make room for each other, are kept while somebody uses them, and are closed by themselves.
func TestServiceHolds(t *testing.T) {
	t.Parallel()
	opened := func(s *Service) (names []string) {
		for _, o := range s.Opened() {
			names = append(names, o.Name)
		}
		return names
	}
	use := func(s *Service, name string) func() {
		t.Helper()
		m, release, err := s.Use(t.Context(), name)
		if err != nil || m.Name != name {
			t.Fatal(name, err)
		}
		return release
	}
	s := New(Config{Memory: 24 << 20, Queue: 2})
	defer s.Close()
	first := use(s, "blip2-mini")
	second := use(s, "blip2-mini")
	if _, _, err := s.Use(t.Context(), "blip2-mini"); api.KindOf(err) != KindBusy {
		t.Errorf("a third call: %v", err)
	}
	if _, _, err := s.Use(t.Context(), "clip-mini"); api.KindOf(err) != KindBusy {
		t.Errorf("a model beside one in use: %v", err)
	}
	first()
	second()
	second() // once is enough
	third := use(s, "clip-mini")
	if names := opened(s); !slices.Equal(names, []string{"clip-mini"}) {
		t.Errorf("open are %v", names)
	}
	third()
	s.Keep("clip-mini", 0)
	if names := opened(s); len(names) > 0 {
		t.Errorf("open are %v", names)
	}
	small := New(Config{Memory: 1 << 20})
	if _, _, err := small.Use(t.Context(), "clip-mini"); api.KindOf(err).Status != 400 {
		t.Errorf("a model larger than the bound: %v", err)
	}

	idle := New(Config{Idle: 20 * time.Millisecond})
	use(idle, "lxmert-mini")()
	until(t, func() bool { return len(idle.Opened()) == 0 })
	idle.Close()
	if _, _, err := idle.Use(t.Context(), "clip-mini"); !errors.Is(err, pipeline.ErrClosed) {
		t.Errorf("a closed service: %v", err)
	}
}
