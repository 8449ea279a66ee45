package store

import (
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/crossattn/xpipe/studio"
	"golang.org/x/sys/unix"
)

// A disk that is full, a small one in memory: contents and messages.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("only who may mount has a small disk to fill (%v); TestFullDatabase fills a database", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	b := &bundle{t: t, dir: filepath.Join(dir, "data")}
	b.open()
	ctx := t.Context()
	b.workspace = studio.Workspace{Name: "Tea"}
	b.ok(b.AddWorkspace(ctx, &b.workspace))
	b.chat = b.newChat("Labels")
	ballast := filepath.Join(dir, "ballast")
	b.ok(os.WriteFile(ballast, make([]byte, 512<<10), 0o600))
	blob, err := b.PutBlob(ctx, io.LimitReader(noise{}, 100<<10), 0)
	b.ok(err)
	_, err = b.PutBlob(ctx, io.LimitReader(noise{}, 4<<20), 0)
	b.is(err, studio.ErrFull)
	left, err := os.ReadDir(filepath.Join(b.dir, tmpName))
	b.ok(err)
	b.same("halves", len(left), 0)
	f, err := b.OpenBlob(ctx, blob.Hash)
	b.ok(err)
	f.Close()
	b.fill(func() { b.ok(os.Remove(ballast)) })
	b.ok(b.Close()) // before the disk goes
}

// noise is bytes without end.
type noise struct{}

func (noise) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(rand.Uint32())
	}
	return len(p), nil
}
