package store

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/studio"
)

// bundle is a store with a workspace and a chat, and what tests do with them.
type bundle struct {
	*Store
	t         *testing.T
	dir       string
	workspace studio.Workspace
	chat      studio.Chat
}

func setup(t *testing.T) *bundle {
	t.Helper()
	b := &bundle{t: t, dir: t.TempDir()}
	b.open()
	b.workspace = studio.Workspace{Name: "Tea"}
	b.ok(b.AddWorkspace(t.Context(), &b.workspace))
	b.chat = b.newChat("Labels")
	return b
}

func (b *bundle) open() {
	b.t.Helper()
	s, err := Open(b.t.Context(), b.dir, Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	b.Store = s
	b.t.Cleanup(func() { s.Close() })
}

func (b *bundle) reopen() {
	b.t.Helper()
	b.ok(b.Close())
	b.open()
}

func (b *bundle) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bundle) newChat(title string) studio.Chat {
	b.t.Helper()
	c := studio.Chat{Workspace: b.workspace.ID, Title: title}
	b.ok(b.AddChat(b.t.Context(), &c))
	return c
}

func (b *bundle) blob(content string) studio.Hash {
	b.t.Helper()
	blob, err := b.PutBlob(b.t.Context(), strings.NewReader(content), 0)
	b.ok(err)
	return blob.Hash
}

func (b *bundle) picture(content string) studio.Part {
	b.t.Helper()
	return studio.Part{Kind: studio.KindPicture, Blob: b.blob(content), Name: content + ".png", Type: "image/png", Size: int64(len(content))}
}

// ask adds a message of the user.
func (b *bundle) ask(chat, parent studio.ID, parts ...studio.Part) studio.Message {
	b.t.Helper()
	m := studio.Message{Chat: chat, Parent: parent, Role: studio.RoleUser, State: studio.Done, Parts: parts}
	b.ok(b.AddMessage(b.t.Context(), &m))
	return m
}

// answer adds an answer.
func (b *bundle) answer(chat, parent studio.ID, model, text string) studio.Message {
	b.t.Helper()
	m := studio.Message{Chat: chat, Parent: parent, Role: studio.RoleAssistant, State: studio.Done,
		Parts: []studio.Part{studio.TextPart(text)}, Answer: &studio.Answer{Model: model}}
	b.ok(b.AddMessage(b.t.Context(), &m))
	return m
}

// same compares two values as JSON would.
func (b *bundle) same(what string, got, want any) {
	b.t.Helper()
	if !reflect.DeepEqual(got, want) {
		b.t.Errorf("%s:\n got %+v\nwant %+v", what, got, want)
	}
}

func (b *bundle) is(err, want error) {
	b.t.Helper()
	if !errors.Is(err, want) {
		b.t.Errorf("%v, want %v", err, want)
	}
}

// Everything that is added is read again as it was, also after the store was closed.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	folder := studio.Folder{Workspace: b.workspace.ID, Name: "Drafts"}
	b.ok(b.AddFolder(ctx, &folder))
	chat := studio.Chat{Workspace: b.workspace.ID, Folder: folder.ID, Title: "Full", Models: []string{"a", "b"},
		Tags: []string{"x", "y z"}, Pinned: true, Persona: studio.NewID(), Leaf: studio.NewID()}
	b.ok(b.AddChat(ctx, &chat))
	question := b.ask(chat.ID, "", studio.TextPart("What is it?"), b.picture("cat"))
	confidence, logprob := 0.5, -0.25
	answer := studio.Message{Chat: chat.ID, Parent: question.ID, Role: studio.RoleAssistant, State: studio.Done, Run: studio.NewID(),
		Parts: []studio.Part{studio.TextPart("a cat")}, Answer: &studio.Answer{
			Model: "blip2-mini", Persona: studio.NewID(), PersonaName: "P", Settings: map[string]any{"num_beams": 2.0},
			Confidence: &confidence, Unsure: true, Seconds: 1.5, FirstToken: 0.5, Tokens: 3, Prompt: 4, Finish: "stop", HasWords: true,
			Words: []studio.Word{{From: 2, To: 5, LogProb: &logprob, Sources: []studio.Source{{
				Blob: question.Parts[1].Blob, Page: 1, Boxes: [][4]float64{{0, 0.25, 0.5, 1}}, Start: 1, End: 2, Label: "cat", Share: 0.5,
				Map: &studio.HeatMap{Rows: 1, Cols: 2, Seen: [4]float64{0, 0, 1, 1}, Weights: []byte{0, 255}}}}}},
		}}
	b.ok(b.AddMessage(ctx, &answer))
	persona := studio.Persona{Workspace: b.workspace.ID, Name: "Critic", Instructions: "Be short.", Model: "a",
		Settings: map[string]any{"temperature": 0.5}, Prompts: []string{"Go on"}}
	b.ok(b.AddPersona(ctx, &persona))
	prompt := studio.Prompt{Workspace: b.workspace.ID, Name: "Sell", Text: "{{product}} {{photo}}", Pinned: true, Tags: []string{"ad"},
		Variables: []studio.Variable{{Name: "photo", Kind: studio.KindPicture}}, Parts: []studio.Part{b.picture("logo")}}
	b.ok(b.AddPrompt(ctx, &prompt))
	job := studio.Job{Workspace: b.workspace.ID, Name: "All", Prompt: prompt, Slot: "photo", Models: []string{"a"}, State: studio.Waiting,
		Values: studio.Values{Texts: map[string]string{"product": "tea"}}, Rows: []studio.JobRow{{Input: b.picture("one")}, {Input: b.picture("two")}}}
	b.ok(b.AddJob(ctx, &job))
	upstream := studio.Upstream{Name: "Far", URL: "https://api.example.com/v1", Models: []string{"gpt"}}
	b.ok(b.AddUpstream(ctx, &upstream))
	b.ok(b.SetSettings(ctx, "person/1", []byte(`{"theme":"dark"}`)))
	for range 2 {
		c, err := b.Chat(ctx, chat.ID)
		b.ok(err)
		chat.Updated = c.Updated // the messages made it newer
		b.same("chat", *c, chat)
		f, err := b.Folder(ctx, folder.ID)
		b.ok(err)
		b.same("folder", *f, folder)
		m, err := b.Message(ctx, answer.ID)
		b.ok(err)
		b.same("answer", *m, answer)
		list, err := b.Messages(ctx, chat.ID)
		b.ok(err)
		without := answer
		a := *answer.Answer
		a.Words, without.Answer = nil, &a
		b.same("messages", list, []studio.Message{question, without})
		p, err := b.Persona(ctx, persona.ID)
		b.ok(err)
		b.same("persona", *p, persona)
		r, err := b.Prompt(ctx, prompt.ID)
		b.ok(err)
		b.same("prompt", *r, prompt)
		j, err := b.Job(ctx, job.ID)
		b.ok(err)
		job.Total = 2
		b.same("job", *j, job)
		u, err := b.Upstreams(ctx, b.workspace.ID)
		b.ok(err)
		b.same("upstreams", u, []studio.Upstream{upstream})
		settings, err := b.Settings(ctx, "person/1")
		b.ok(err)
		b.same("settings", string(settings), `{"theme":"dark"}`)
		attached, err := b.Attachments(ctx, chat.ID)
		b.ok(err)
		b.same("attachments", attached, []studio.Attached{{Message: question.ID, Part: question.Parts[1]}})
		part, err := b.Attachment(ctx, b.workspace.ID, question.Parts[1].Blob)
		b.ok(err)
		b.same("attachment", *part, question.Parts[1])
		file, err := b.OpenBlob(ctx, question.Parts[1].Blob)
		b.ok(err)
		content, err := io.ReadAll(file)
		file.Close()
		b.ok(err)
		b.same("content", string(content), "cat")
		b.reopen()
	}
}

// Changes keep to the rules, and what is refused leaves things as they were.
func TestUpdates(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	other := studio.Workspace{Name: "Other"}
	b.ok(b.AddWorkspace(ctx, &other))
	outer := studio.Folder{Workspace: b.workspace.ID, Name: "Outer"}
	b.ok(b.AddFolder(ctx, &outer))
	inner := studio.Folder{Workspace: b.workspace.ID, Parent: outer.ID, Name: "Inner"}
	b.ok(b.AddFolder(ctx, &inner))
	foreign := studio.Folder{Workspace: other.ID, Name: "Foreign"}
	b.ok(b.AddFolder(ctx, &foreign))
	question := b.ask(b.chat.ID, "", studio.TextPart("hello"))
	second := b.newChat("Second")

	_, err := b.UpdateFolder(ctx, outer.ID, func(f *studio.Folder) error { f.Parent = inner.ID; return nil })
	b.is(err, studio.ErrInvalid)
	_, err = b.UpdateFolder(ctx, outer.ID, func(f *studio.Folder) error { f.Parent = f.ID; return nil })
	b.is(err, studio.ErrInvalid)
	_, err = b.UpdateFolder(ctx, outer.ID, func(f *studio.Folder) error { f.Parent = foreign.ID; return nil })
	b.is(err, studio.ErrInvalid)
	_, err = b.UpdateChat(ctx, b.chat.ID, func(c *studio.Chat) error { c.Folder = foreign.ID; return nil })
	b.is(err, studio.ErrInvalid)
	_, err = b.UpdateChat(ctx, b.chat.ID, func(c *studio.Chat) error { c.Title = "a\x00b"; return nil })
	b.is(err, studio.ErrInvalid)
	stop := errors.New("stop")
	_, err = b.UpdateChat(ctx, b.chat.ID, func(c *studio.Chat) error { c.Title = "Never"; return stop })
	b.is(err, stop)
	c, err := b.Chat(ctx, b.chat.ID)
	b.ok(err)
	b.same("title", c.Title, "Labels")
	c, err = b.UpdateChat(ctx, b.chat.ID, func(c *studio.Chat) error {
		c.ID, c.Folder, c.Tags, c.Archived = studio.NewID(), inner.ID, []string{"b", "a"}, true
		return nil
	})
	b.ok(err)
	b.same("chat", []any{c.ID, c.Folder, c.Tags, c.Archived}, []any{b.chat.ID, inner.ID, []string{"a", "b"}, true})
	c, err = b.UpdateChat(ctx, b.chat.ID, func(c *studio.Chat) error { c.Workspace = other.ID; return nil })
	b.ok(err)
	b.same("moved", []any{c.Workspace, c.Folder}, []any{other.ID, studio.ID("")})

	_, err = b.UpdateMessage(ctx, question.ID, func(m *studio.Message) error { m.Parts[0].Text = "changed"; return nil })
	b.is(err, studio.ErrInvalid)
	_, err = b.UpdateMessage(ctx, question.ID, func(m *studio.Message) error { m.Chat = second.ID; return nil })
	b.is(err, studio.ErrInvalid)
	b.is(b.AddMessage(ctx, &studio.Message{Chat: second.ID, Parent: question.ID, Role: studio.RoleUser, State: studio.Done,
		Parts: []studio.Part{studio.TextPart("x")}}), studio.ErrInvalid)
	b.is(b.AddMessage(ctx, &studio.Message{Chat: second.ID, Role: studio.RoleUser, State: studio.Done, Parts: []studio.Part{{
		Kind: studio.KindPicture, Blob: studio.Hash(strings.Repeat("ab", 32))}}}), studio.ErrNotFound)
	b.is(b.AddChat(ctx, &studio.Chat{Workspace: studio.NewID()}), studio.ErrNotFound)
	b.is(b.AddChat(ctx, &studio.Chat{ID: "../x", Workspace: other.ID}), studio.ErrInvalid)

	// An answer grows, ends, and then stays.
	a := studio.Message{Chat: second.ID, Role: studio.RoleAssistant, State: studio.Writing, Answer: &studio.Answer{Model: "m"}}
	b.ok(b.AddMessage(ctx, &a))
	for _, text := range []string{"a", "a cat"} {
		_, err = b.UpdateMessage(ctx, a.ID, func(m *studio.Message) error { m.Parts = []studio.Part{studio.TextPart(text)}; return nil })
		b.ok(err)
	}
	m, err := b.UpdateMessage(ctx, a.ID, func(m *studio.Message) error {
		m.State, m.Answer.Words = studio.Done, []studio.Word{{From: 2, To: 5}}
		return nil
	})
	b.ok(err)
	b.same("words", m.Answer.HasWords, true)
	_, err = b.UpdateMessage(ctx, a.ID, func(m *studio.Message) error { m.Answer.Unsure = true; return nil })
	b.ok(err)
	full, err := b.Message(ctx, a.ID)
	b.ok(err)
	b.same("words stay", []any{full.Answer.Words, full.Answer.Unsure, full.Text()}, []any{[]studio.Word{{From: 2, To: 5}}, true, "a cat"})

	job := studio.Job{Workspace: other.ID, Name: "J", Models: []string{"m"}, State: studio.Writing, Rows: []studio.JobRow{{Input: b.picture("1")}, {Input: b.picture("2")}}}
	b.ok(b.AddJob(ctx, &job))
	b.ok(b.SetRow(ctx, job.ID, studio.JobRow{Number: 0, State: studio.Done, Cells: []studio.JobCell{{Error: "no"}}}))
	b.ok(b.SetRow(ctx, job.ID, studio.JobRow{Number: 1, State: studio.Writing}))
	b.is(b.SetRow(ctx, job.ID, studio.JobRow{Number: 2, State: studio.Done}), studio.ErrNotFound)
	writing := studio.Message{Chat: second.ID, Role: studio.RoleAssistant, State: studio.Writing, Parts: []studio.Part{studio.TextPart("halfway")}, Answer: &studio.Answer{Model: "m"}}
	b.ok(b.AddMessage(ctx, &writing))
	b.reopen() // what was being done is not any more
	j, err := b.Job(ctx, job.ID)
	b.ok(err)
	b.same("job", []any{j.State, j.Finished, j.Failures, j.Rows[0].State, j.Rows[1].State, j.Rows[1].Input.Name},
		[]any{studio.Waiting, 1, 1, studio.Done, studio.Waiting, "2.png"})
	unfinished, err := b.Unfinished(ctx)
	b.ok(err)
	b.same("unfinished", unfinished, []studio.ID{job.ID})
	m, err = b.Message(ctx, writing.ID)
	b.ok(err)
	b.same("state", m.State, studio.Stopped)
	hits, err := b.Search(ctx, studio.Query{Words: "halfway"})
	b.ok(err)
	if len(hits.Hits) != 1 {
		t.Errorf("what was written is not found: %+v", hits)
	}
}

// Keys are sealed, bound to their server, and need the key file.
func TestKeys(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	u := studio.Upstream{Name: "Far", URL: "https://api.example.com/v1"}
	b.ok(b.AddUpstream(ctx, &u))
	other := studio.Upstream{Name: "Other", URL: "https://other.example.com/v1"}
	b.ok(b.AddUpstream(ctx, &other))
	_, err := b.Key(ctx, u.ID)
	b.is(err, studio.ErrNotFound)
	b.ok(b.SetKey(ctx, u.ID, "sk-very-secret"))
	b.reopen()
	key, err := b.Key(ctx, u.ID)
	b.ok(err)
	b.same("key", string(key), "sk-very-secret")
	if b.holds("sk-very-secret") {
		t.Error("the key is on the disk as it is")
	}
	path := filepath.Join(b.dir, keyName)
	for _, name := range []string{keyName, databaseName, databaseName + "-wal"} {
		info, err := os.Stat(filepath.Join(b.dir, name))
		b.ok(err)
		if runtime.GOOS != "windows" {
			b.same(name, info.Mode().Perm(), os.FileMode(0o600))
		}
	}
	// Whoever writes to the database gives the key to no other server.
	b.exec("UPDATE upstreams SET key = (SELECT key FROM upstreams WHERE id = ?) WHERE id = ?", u.ID, other.ID)
	_, err = b.Key(ctx, other.ID)
	b.is(err, studio.ErrKey)
	b.exec("UPDATE upstreams SET url = 'https://evil.example.com' WHERE id = ?", u.ID)
	_, err = b.Key(ctx, u.ID)
	b.is(err, studio.ErrKey)
	b.exec("UPDATE upstreams SET url = ? WHERE id = ?", u.URL, u.ID)
	got, err := b.UpdateUpstream(ctx, u.ID, func(u *studio.Upstream) error { u.Name = "Farther"; return nil })
	b.ok(err)
	b.same("key stays", got.HasKey, true)
	b.ok(b.Close())
	b.ok(os.Rename(path, path+".away"))
	b.open()
	_, err = b.Key(ctx, u.ID)
	b.is(err, studio.ErrKey)
	b.ok(os.Rename(path+".away", path))
	if runtime.GOOS != "windows" {
		b.ok(os.Chmod(path, 0o644))
		_, err = b.Key(ctx, u.ID)
		b.is(err, studio.ErrKey)
		b.ok(os.Chmod(path, 0o600))
	}
	_, err = b.Key(ctx, u.ID)
	b.ok(err)
	got, err = b.UpdateUpstream(ctx, u.ID, func(u *studio.Upstream) error { u.URL = "https://evil.example.com"; return nil })
	b.ok(err)
	b.same("key of another address", got.HasKey, false)
	b.ok(b.RemoveUpstream(ctx, other.ID))
	b.is(b.RemoveUpstream(ctx, other.ID), studio.ErrNotFound)
}

func (b *bundle) exec(query string, args ...any) {
	b.t.Helper()
	_, err := b.writer.ExecContext(b.t.Context(), query, args...)
	b.ok(err)
}

// Contents: limits, what is half taken in, what nobody uses, what is damaged.
func TestBlobs(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	_, err := b.PutBlob(ctx, strings.NewReader("12345"), 4)
	b.is(err, studio.ErrInvalid)
	broken := errors.New("broken")
	_, err = b.PutBlob(ctx, io.MultiReader(strings.NewReader("x"), readFails{broken}), 0)
	b.is(err, broken)
	canceled, cancel := context.WithCancel(ctx)
	cancel()
	_, err = b.PutBlob(canceled, strings.NewReader("12345"), 0)
	b.is(err, context.Canceled)
	for _, name := range []studio.Hash{"", "..", "../../etc/passwd", studio.Hash(strings.Repeat("AB", 32))} {
		_, err = b.OpenBlob(ctx, name)
		b.is(err, studio.ErrInvalid)
	}
	one, two := b.blob("12345"), b.blob("12345")
	b.same("hash", one, two)
	used := b.ask(b.chat.ID, "", b.picture("used"))
	b.ok(os.WriteFile(filepath.Join(b.dir, tmpName, "blob-half"), []byte("x"), 0o600))
	stray := blobPath(b.dir, studio.Hash(strings.Repeat("ab", 32)))
	b.ok(os.MkdirAll(filepath.Dir(stray), 0o700))
	b.ok(os.WriteFile(stray, []byte("x"), 0o600))
	b.reopen()
	b.ok(b.check()) // the file without a row is gone
	_, err = b.OpenBlob(ctx, one)
	b.ok(err) // of today
	b.exec("UPDATE blobs SET created = created - 25 * 3600 * 1000000")
	b.reopen()
	_, err = b.OpenBlob(ctx, one)
	b.is(err, studio.ErrNotFound)
	path := blobPath(b.dir, used.Parts[0].Blob)
	b.ok(os.Remove(path))
	_, err = b.OpenBlob(ctx, used.Parts[0].Blob)
	b.is(err, studio.ErrDamaged)
	b.blob("used") // heals
	b.ok(b.check())
}

type readFails struct{ err error }

func (r readFails) Read([]byte) (int, error) { return 0, r.err }

// One process writes; others read beside it.
func TestOpen(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	_, err := Open(ctx, b.dir, Options{})
	b.is(err, studio.ErrLocked)
	reader, err := Open(ctx, b.dir, Options{ReadOnly: true})
	b.ok(err)
	defer reader.Close()
	chat, err := reader.Chat(ctx, b.chat.ID)
	b.ok(err)
	b.same("chat", chat.Title, "Labels")
	if err := reader.AddWorkspace(ctx, &studio.Workspace{Name: "x"}); err == nil {
		t.Error("a store that was opened to be read is written to")
	}
	if _, err := reader.PutBlob(ctx, strings.NewReader("x"), 0); err == nil {
		t.Error("a store that was opened to be read takes contents")
	}
	_, err = Open(ctx, t.TempDir(), Options{ReadOnly: true})
	b.is(err, studio.ErrNotFound)
	// Folders whose names mean something in a URI.
	odd := filepath.Join(t.TempDir(), "a?mode=ro&x#y%20 ü")
	s, err := Open(ctx, odd, Options{})
	b.ok(err)
	b.ok(s.AddWorkspace(ctx, &studio.Workspace{Name: "x"}))
	b.ok(s.Close())
	_, err = os.Stat(filepath.Join(odd, databaseName))
	b.ok(err)
	for name, content := range map[string]string{"text": "this is no database, " + strings.Repeat("x", 200), "half": "SQLite format 3\x00"} {
		dir := t.TempDir()
		b.ok(os.WriteFile(filepath.Join(dir, databaseName), []byte(content), 0o600))
		if _, err := Open(ctx, dir, Options{}); !errors.Is(err, studio.ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestDefaultDir(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		system string
		env    map[string]string
		want   string
	}{
		{"linux", map[string]string{"HOME": "/h"}, "/h/.local/share/xpipe/studio"},
		{"linux", map[string]string{"HOME": "/h", "XDG_DATA_HOME": "/d"}, "/d/xpipe/studio"},
		{"linux", map[string]string{"HOME": "/h", "XDG_DATA_HOME": "d"}, "/h/.local/share/xpipe/studio"},
		{"darwin", map[string]string{"HOME": "/h"}, "/h/Library/Application Support/xpipe/studio"},
		{"windows", map[string]string{"HOME": "/h", "LocalAppData": "/l"}, "/l/xpipe/studio"},
		{"linux", nil, ""},
	} {
		got, err := defaultDir(c.system, func(key string) string { return c.env[key] })
		if filepath.ToSlash(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s %v: %q, %v", c.system, c.env, got, err)
		}
	}
}
