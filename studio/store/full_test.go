package store

import (
	"fmt"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/studio"
)

// A database that may not grow says so clearly, keeps what it acknowledged, and goes on when there is
// room. TestFullDisk does it with a disk.
func TestFullDatabase(t *testing.T) {
	t.Parallel()
	b := setup(t)
	var pages int
	b.ok(b.writer.QueryRow("PRAGMA page_count").Scan(&pages))
	b.exec(fmt.Sprint("PRAGMA max_page_count = ", pages+20))
	b.fill(func() { b.exec("PRAGMA max_page_count = 1000000") })
}

// fill writes until there is no room, makes room, and sees that nothing is lost.
func (b *bundle) fill(makeRoom func()) {
	b.t.Helper()
	ctx := b.t.Context()
	var kept []studio.Message
	var err error
	for i := 0; i < 10_000; i++ {
		m := studio.Message{Chat: b.chat.ID, Role: studio.RoleUser, State: studio.Done,
			Parts: []studio.Part{studio.TextPart(fmt.Sprint("number", i, " ", strings.Repeat("word ", 1000)))}}
		if err = b.AddMessage(ctx, &m); err != nil {
			break
		}
		kept = append(kept, m)
	}
	b.is(err, studio.ErrFull)
	if err == nil || !strings.Contains(err.Error(), "make room") || len(kept) < 2 {
		b.t.Fatalf("%v, after %d messages", err, len(kept))
	}
	check := func() {
		b.t.Helper()
		list, err := b.Messages(ctx, b.chat.ID)
		b.ok(err)
		b.same("messages", list, kept)
	}
	check()
	makeRoom()
	kept = append(kept, b.ask(b.chat.ID, "", studio.TextPart("room again")))
	check()
	b.reopen()
	check()
	b.ok(b.check())
}
