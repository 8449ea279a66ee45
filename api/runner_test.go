package api

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/pipeline"
)

// captioner captions pictures.
func captioner(p *pipeline.Pipeline) Runner[[]*pipeline.Text] {
	caption := func(ctx context.Context, batch []Loaded) ([][]*pipeline.Text, error) {
		requests := make([]pipeline.Request, len(batch))
		for i, l := range batch {
			requests[i].Item = l.Item
		}
		return p.Generate(ctx, requests)
	}
	return Runner[[]*pipeline.Text]{Load: LoadFor(p), Task: caption}
}

// A picture that fails does not end a run, nor its batch; one of a name is captioned once.
func TestRunner(t *testing.T) {
	t.Parallel()
	dir := folder(t, "a.png", "b.png", "c.png", "d.png", "e.png")
	in := func(name string) string { return filepath.Join(dir, name) }
	if err := os.WriteFile(in("b.png"), []byte("no picture"), 0o666); err != nil {
		t.Fatal(err)
	}
	p := open(t, "blip2-mini")
	for batch := range 4 {
		c := captioner(p)
		c.Batch, c.Jobs = batch, batch
		c.Skip = func(name string, _ int) bool { return name == in("d.png") }
		pictures, _, err := Sources{}.Pictures(dir, in("a.png"))
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for captioned, err := range c.Run(t.Context(), pictures) {
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, filepath.Base(captioned.Name))
			failed := captioned.Name == in("b.png")
			if failed != (captioned.Err != nil) || failed == (len(captioned.Value) == 1) {
				t.Errorf("batch %d: %+v", batch, captioned)
			}
		}
		if !slices.Equal(names, []string{"a.png", "b.png", "c.png", "e.png"}) {
			t.Errorf("batch %d: %v", batch, names)
		}
	}
}

// A run ends with its context and with a source that is damaged, and a consumer may end it.
func TestRunnerEnds(t *testing.T) {
	t.Parallel()
	c := captioner(open(t, "blip2-mini"))
	dir := folder(t, "a.png", "b.png", "c.png")
	run := func(ctx context.Context, args ...string) (n int, err error) {
		pictures, _, err := Sources{}.Pictures(args...)
		if err != nil {
			t.Fatal(err)
		}
		for _, err := range c.Run(ctx, pictures) {
			if err != nil {
				return n, err
			}
			n++
		}
		return n, nil
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if n, err := run(ctx, dir); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("after %d pictures: %v", n, err)
	}
	_, err := run(t.Context(), dir, filepath.Join(dir, "a.png"), shard(t), damagedShard(t))
	wantError(t, err, ExitInput, "damaged shard")
	pictures, _, err := Sources{}.Pictures(dir)
	if err != nil {
		t.Fatal(err)
	}
	for range c.Run(t.Context(), pictures) {
		break
	}
}

func damagedShard(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "damaged.tar")
	data := append([]byte("this is no shard"), make([]byte, 700)...)
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	return path
}
