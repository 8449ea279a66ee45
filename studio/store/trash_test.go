package store

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/crossattn/xpipe/studio"
)

// What is in the trash is out of sight and comes back; what is purged is in no file any more.
func TestTrash(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	folder := studio.Folder{Workspace: b.workspace.ID, Name: "Secretfolder"}
	b.ok(b.AddFolder(ctx, &folder))
	inner := studio.Folder{Workspace: b.workspace.ID, Parent: folder.ID, Name: "Inner"}
	b.ok(b.AddFolder(ctx, &inner))
	chat := studio.Chat{Workspace: b.workspace.ID, Folder: inner.ID, Title: "Secrettitle", Tags: []string{"secrettag"}}
	b.ok(b.AddChat(ctx, &chat))
	early := studio.Chat{Workspace: b.workspace.ID, Folder: folder.ID, Title: "Early"}
	b.ok(b.AddChat(ctx, &early))
	shared := b.picture("sharedpicture")
	question := b.ask(chat.ID, "", studio.TextPart("Secretquestion of the Vatikan"), b.picture("secretpicture"), shared)
	answer := b.answer(chat.ID, question.ID, "m", "Secretanswer")
	b.ask(b.chat.ID, "", studio.TextPart("keep"), shared)
	count := func(words string) int {
		hits, err := b.Search(ctx, studio.Query{Words: words})
		b.ok(err)
		return len(hits.Hits)
	}
	b.ok(b.Trash(ctx, studio.Thing{Kind: studio.ThingChat, ID: early.ID}))
	b.ok(b.Trash(ctx, studio.Thing{Kind: studio.ThingFolder, ID: folder.ID}))
	b.same("found", count("secretquestion "), 0)
	trash, err := b.InTrash(ctx, b.workspace.ID)
	b.ok(err)
	if len(trash) != 2 || trash[0].ID != folder.ID || trash[1].ID != early.ID {
		t.Errorf("%+v", trash)
	}
	folders, err := b.Folders(ctx, b.workspace.ID)
	b.ok(err)
	b.same("folders", len(folders), 0)
	b.ok(b.Restore(ctx, studio.Thing{Kind: studio.ThingFolder, ID: folder.ID}))
	b.same("found again", count("secretquestion "), 1)
	c, err := b.Chat(ctx, early.ID)
	b.ok(err)
	if c.Trashed == nil {
		t.Error("what was put in the trash before came back, too")
	}
	b.ok(b.Trash(ctx, studio.Thing{Kind: studio.ThingFolder, ID: folder.ID}))
	b.ok(b.Restore(ctx, studio.Thing{Kind: studio.ThingChat, ID: chat.ID})) // out of a folder that stays
	c, err = b.Chat(ctx, chat.ID)
	b.ok(err)
	b.same("chat", []any{c.Folder, c.Trashed}, []any{studio.ID(""), (*time.Time)(nil)})

	b.ok(b.Trash(ctx, studio.Thing{Kind: studio.ThingMessage, ID: question.ID})) // with what follows
	list, err := b.Messages(ctx, chat.ID)
	b.ok(err)
	b.same("messages", len(list), 0)
	b.same("answer", count("secretanswer "), 0)
	b.ok(b.Restore(ctx, studio.Thing{Kind: studio.ThingMessage, ID: answer.ID})) // with what was before
	list, err = b.Messages(ctx, chat.ID)
	b.ok(err)
	b.same("messages", len(list), 2)

	secret := question.Parts[1].Blob
	for _, word := range []string{"secretquestion", "secretanswer", "secrettitle", "secrettag", "secretpicture", string(secret)} {
		if !b.holds(word) {
			t.Errorf("%q is not there before", word)
		}
	}
	b.ok(b.Purge(ctx, studio.Thing{Kind: studio.ThingChat, ID: chat.ID}))
	b.is(b.Purge(ctx, studio.Thing{Kind: studio.ThingChat, ID: chat.ID}), studio.ErrNotFound)
	b.is(b.Purge(ctx, studio.Thing{Kind: "x", ID: chat.ID}), studio.ErrInvalid)
	for _, word := range []string{"secretquestion", "vatikan", "secretanswer", "secrettitle", "secrettag", "secretpicture", string(secret)} {
		if b.holds(word) {
			t.Errorf("%q is still there", word)
		}
	}
	_, err = b.OpenBlob(ctx, secret)
	b.is(err, studio.ErrNotFound)
	_, err = b.OpenBlob(ctx, shared.Blob)
	b.ok(err)
	n, err := b.EmptyTrash(ctx, time.Now().Add(-time.Hour))
	b.ok(err)
	b.same("emptied", n, 0)
	n, err = b.EmptyTrash(ctx, time.Now().Add(time.Hour))
	b.ok(err)
	b.same("emptied", n, 2) // the folder with what is in it, and the chat
	if b.holds("Secretfolder") {
		t.Error("the folder's name is still there")
	}
	b.ok(b.Purge(ctx, studio.Thing{Kind: studio.ThingWorkspace, ID: b.workspace.ID}))
	u, err := b.Usage(ctx)
	b.ok(err)
	b.same("usage", []any{u.Workspaces, u.Chats, u.Messages, u.Blobs}, []any{0, 0, 0, 0})
	b.ok(b.check())
}

// holds reports whether any file of the store has a text in it, in its content or its name.
func (b *bundle) holds(text string) bool {
	b.t.Helper()
	found := false
	b.ok(filepath.WalkDir(b.dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		found = found || bytes.Contains(bytes.ToLower(data), bytes.ToLower([]byte(text))) || strings.Contains(path, text)
		return err
	}))
	return found
}

// check reports what is wrong with the database, the index and the files.
func (s *Store) check() error {
	ctx := context.Background()
	problems, err := rows(ctx, s.writer, one[string], "PRAGMA integrity_check")
	if err != nil || len(problems) != 1 || problems[0] != "ok" {
		return fmt.Errorf("integrity: %v, %v", problems, err)
	}
	for _, table := range []string{"search", "titles"} {
		if _, err := s.writer.ExecContext(ctx, "INSERT INTO "+table+"("+table+") VALUES ('integrity-check')"); err != nil {
			return fmt.Errorf("%s: %w", table, err)
		}
	}
	for query, want := range map[string]int{
		"SELECT (SELECT count(*) FROM messages) - (SELECT count(*) FROM search_docsize)": 0,
		"SELECT (SELECT count(*) FROM chats) - (SELECT count(*) FROM titles_docsize)":    0,
		"SELECT count(*) FROM pragma_foreign_key_check":                                  0,
		"SELECT count(*) FROM doomed":                                                    0,
	} {
		var n int
		if err := s.reader.QueryRowContext(ctx, query).Scan(&n); err != nil || n != want {
			return fmt.Errorf("%s: %d, %v", query, n, err)
		}
	}
	blobs, err := rows(ctx, s.reader, one[studio.Hash], "SELECT hash FROM blobs")
	if err != nil {
		return err
	}
	for _, hash := range blobs {
		if err := checkBlob(blobPath(s.dir, hash), hash); err != nil {
			return err
		}
	}
	files, err := filepath.Glob(filepath.Join(s.dir, blobsName, "*", "*"))
	if err != nil || len(files) != len(blobs) {
		return fmt.Errorf("%d files of %d contents, %v", len(files), len(blobs), err)
	}
	return nil
}
