package store

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/crossattn/xpipe/studio"
)

// Many write, search, purge and read at once; the store is whole afterwards.
func TestTogether(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	var wait sync.WaitGroup
	do := func(work func(i int) error) {
		wait.Add(1)
		go func() {
			defer wait.Done()
			for i := range 12 {
				if err := work(i); err != nil && !errors.Is(err, studio.ErrNotFound) {
					t.Error(err)
					return
				}
			}
		}()
	}
	for range 3 {
		do(func(i int) error { // all put the same contents, and purge what has them
			blob, err := b.PutBlob(ctx, strings.NewReader(fmt.Sprint("content", i%4)), 0)
			if err != nil {
				return err
			}
			m := studio.Message{Chat: b.chat.ID, Role: studio.RoleUser, State: studio.Done, Parts: []studio.Part{
				studio.TextPart("together"), {Kind: studio.KindPicture, Blob: blob.Hash, Name: "x.png"}}}
			if err := b.AddMessage(ctx, &m); err != nil {
				return err
			}
			if err := b.SetVector(ctx, blob.Hash, "clip", []float32{1, float32(i)}); err != nil {
				return err
			}
			if i%3 == 0 {
				return b.Purge(ctx, studio.Thing{Kind: studio.ThingMessage, ID: m.ID})
			}
			return nil
		})
	}
	for _, q := range []studio.Query{{Words: "together"}, {Like: []float32{1, 1}, LikeModel: "clip"}} {
		do(func(int) error { _, err := b.Search(ctx, q); return err })
	}
	do(func(i int) error {
		_, err := b.UpdateChat(ctx, b.chat.ID, func(c *studio.Chat) error { c.Title = fmt.Sprint("Title ", i); return nil })
		return err
	})
	wait.Wait()
	b.ok(b.check())
}
