package store

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/studio"
)

// filled is a store with something of everything in its workspace, and in the trash.
func filled(t *testing.T) *bundle {
	t.Helper()
	b := setup(t)
	ctx := t.Context()
	folder := studio.Folder{Workspace: b.workspace.ID, Name: "Outer"}
	b.ok(b.AddFolder(ctx, &folder))
	inner := studio.Folder{Workspace: b.workspace.ID, Parent: folder.ID, Name: "Inner"}
	b.ok(b.AddFolder(ctx, &inner))
	persona := studio.Persona{Workspace: b.workspace.ID, Name: "Critic", Prompts: []string{"Go on"}}
	b.ok(b.AddPersona(ctx, &persona))
	chat := studio.Chat{Workspace: b.workspace.ID, Folder: inner.ID, Title: "Cats & *dogs*", Tags: []string{"x"}, Pinned: true, Persona: persona.ID}
	b.ok(b.AddChat(ctx, &chat))
	cat, dog := b.picture("cat"), b.picture("dog")
	dog.Name = "cat.png" // two files of one name
	question := b.ask(chat.ID, "", studio.TextPart("What are these?"), cat, dog,
		studio.Part{Kind: studio.KindPage, Blob: b.blob("pdf"), Name: "a (1).pdf", Type: "application/pdf", Text: "annual report"})
	run := studio.NewID()
	for i, model := range []string{"one", "two"} {
		sure := 0.75
		a := studio.Message{Chat: chat.ID, Parent: question.ID, Run: run, Role: studio.RoleAssistant, State: studio.Done,
			Parts: []studio.Part{studio.TextPart(fmt.Sprint("a cat ", i))}, Answer: &studio.Answer{Model: model, Seconds: 1.25, Confidence: &sure,
				Unsure: i == 1, PersonaName: "Critic", Persona: persona.ID,
				Words: []studio.Word{{From: 2, To: 5, Sources: []studio.Source{{Blob: cat.Blob, Share: 1}}}}}}
		b.ok(b.AddMessage(ctx, &a))
	}
	edit := b.ask(chat.ID, "", studio.TextPart("What are they?")) // of another branch
	b.answer(chat.ID, edit.ID, "one", "animals")
	_, err := b.UpdateChat(ctx, chat.ID, func(c *studio.Chat) error { c.Leaf = studio.NewTree([]studio.Message{question}).Leaf(""); return nil })
	b.ok(err)
	prompt := studio.Prompt{Workspace: b.workspace.ID, Name: "Sell", Text: "{{p}}", Parts: []studio.Part{b.picture("logo")}}
	b.ok(b.AddPrompt(ctx, &prompt))
	job := studio.Job{Workspace: b.workspace.ID, Name: "All", Prompt: prompt, Models: []string{"a"}, State: studio.Done,
		Rows: []studio.JobRow{{Input: b.picture("one"), State: studio.Done, Cells: []studio.JobCell{{Text: "x"}}}}}
	b.ok(b.AddJob(ctx, &job))
	u := studio.Upstream{Workspace: b.workspace.ID, Name: "Far", URL: "https://api.example.com/v1"}
	b.ok(b.AddUpstream(ctx, &u))
	b.ok(b.SetKey(ctx, u.ID, "sk-secret"))
	thrown := b.newChat("Throwntitle")
	b.ask(thrown.ID, "", studio.TextPart("throwntext"), b.picture("thrownpicture"))
	b.ok(b.Trash(ctx, studio.Thing{Kind: studio.ThingChat, ID: thrown.ID}))
	return b
}

func (b *bundle) zip(workspace studio.ID) []byte {
	b.t.Helper()
	var out bytes.Buffer
	b.ok(b.WriteWorkspace(b.t.Context(), workspace, &out))
	return out.Bytes()
}

func (b *bundle) read(data []byte) (*studio.Workspace, error) {
	return b.ReadWorkspace(b.t.Context(), bytes.NewReader(data), int64(len(data)))
}

// A workspace that went through a zip file into another studio is the same, to the byte of its next
// zip file; into the same studio it comes as another.
func TestWorkspaceRoundTrip(t *testing.T) {
	t.Parallel()
	b := filled(t)
	ctx := t.Context()
	first := b.zip(b.workspace.ID)
	for _, word := range []string{"sk-secret", "throwntext", "Throwntitle"} {
		for name, content := range unzip(t, first) {
			if strings.Contains(content, word) || content == "thrownpicture" {
				t.Errorf("%s has %q", name, word)
			}
		}
	}
	other := setup(t)
	w, err := other.read(first)
	other.ok(err)
	other.same("workspace", *w, b.workspace)
	if second := other.zip(w.ID); !bytes.Equal(first, second) {
		t.Errorf("the zip files differ:\n%v\n%v", unzip(t, first), unzip(t, second))
	}
	hits, err := other.Search(ctx, studio.Query{Words: "annual report"})
	other.ok(err)
	other.same("found", len(hits.Hits), 1)
	other.ok(other.check())

	again, err := b.read(first) // as a copy
	b.ok(err)
	if again.ID == b.workspace.ID {
		t.Error("a copy has the ID of the other")
	}
	chats, err := b.Chats(ctx, studio.ChatFilter{Workspace: again.ID})
	b.ok(err)
	b.same("chats", len(chats), 2)
	messages, err := b.Messages(ctx, chats[0].ID)
	b.ok(err)
	tree := studio.NewTree(messages)
	b.same("messages", []int{len(messages), len(tree.Children("")), len(tree.Children(messages[0].ID))}, []int{5, 2, 2})
	b.same("run", len(tree.SideBySide(messages[1].ID)), 2)
	folders, err := b.Folders(ctx, again.ID)
	b.ok(err)
	if len(folders) != 2 || chats[0].Folder != folders[0].ID || folders[0].Parent != folders[1].ID {
		t.Errorf("%+v, %+v", chats[0], folders)
	}
	b.ok(b.check())
}

func unzip(t *testing.T, data []byte) map[string]string {
	t.Helper()
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range z.File {
		r, err := f.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		files[f.Name] = string(content)
	}
	return files
}

func zipped(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for name, content := range files {
		w, err := z.Create(name)
		if err == nil {
			_, err = io.WriteString(w, content)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// A zip file that is wrong is refused whole, and nothing of it stays in sight.
func TestReadWorkspaceRefuses(t *testing.T) {
	t.Parallel()
	b := filled(t)
	good := b.zip(b.workspace.ID)
	var chat, blob string
	for name := range unzip(t, good) {
		if strings.HasPrefix(name, chatsFolder) && strings.Contains(unzip(t, good)[name], "Cats") {
			chat = name
		}
		if strings.HasPrefix(name, contentsFolder) {
			blob = name
		}
	}
	for name, c := range map[string]struct {
		change func(map[string]string)
		want   error
	}{
		"no head":        {func(f map[string]string) { delete(f, headName) }, studio.ErrInvalid},
		"another format": {func(f map[string]string) { f[headName] = `{"format":"x"}` }, studio.ErrInvalid},
		"newer":          {func(f map[string]string) { f[headName] = strings.Replace(f[headName], `"version":1`, `"version":2`, 1) }, studio.ErrNewer},
		"no folders":     {func(f map[string]string) { delete(f, foldersName) }, studio.ErrInvalid},
		"folder of none": {func(f map[string]string) { f[foldersName] = "[]" }, studio.ErrNotFound},
		"no JSON":        {func(f map[string]string) { f[chat] = "{" }, studio.ErrInvalid},
		"no role":        {func(f map[string]string) { f[chat] = strings.Replace(f[chat], `"role":"user"`, `"role":"god"`, 1) }, studio.ErrInvalid},
		"an ID with a path": {func(f map[string]string) {
			f[headName] = strings.Replace(f[headName], string(b.workspace.ID), "../x", 1)
		}, studio.ErrInvalid},
		"content changed": {func(f map[string]string) { f[blob] += "x" }, studio.ErrDamaged},
		"content missing": {func(f map[string]string) { delete(f, blob) }, studio.ErrNotFound},
		"content's path":  {func(f map[string]string) { f["blobs/../../x"] = "x" }, studio.ErrInvalid},
	} {
		other := setup(t)
		files := unzip(t, good)
		c.change(files)
		if _, err := other.read(zipped(t, files)); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		u, err := other.Usage(t.Context())
		other.ok(err)
		other.same(name, []int{u.Workspaces, u.Chats, u.Messages}, []int{1, 1, 0})
		other.ok(other.check())
	}
	other := setup(t)
	for _, data := range [][]byte{nil, []byte("no zip"), good[:len(good)/2], good[len(good)/2:]} {
		if _, err := other.read(data); err == nil {
			t.Error("half a file is read")
		}
	}
}

// memory is a Sink.
type memory map[string]*bytes.Buffer

func (m memory) Create(name string) (io.Writer, error) {
	if m[name] != nil {
		return nil, errors.New("twice: " + name)
	}
	m[name] = &bytes.Buffer{}
	return m[name], nil
}

// A chat is Markdown with its files.
func TestWriteChat(t *testing.T) {
	t.Parallel()
	b := filled(t)
	hits, err := b.Search(t.Context(), studio.Query{Words: `"a cat 1"`})
	b.ok(err)
	chat := hits.Hits[0].Chat
	_, err = b.UpdateChat(t.Context(), chat, func(c *studio.Chat) error { c.Leaf = hits.Hits[0].Message; return nil })
	b.ok(err)
	out := memory{}
	b.ok(b.WriteChat(t.Context(), chat, out))
	text := out["chat.md"].String()
	for _, want := range []string{
		"# Cats \\& \\*dogs\\*\n", "What are these?\n", "![cat.png](files/cat.png)\n", "![cat.png](files/cat-2.png)\n",
		"[a (1).pdf](files/a%20%281%29.pdf)\n", "## one as Critic · ", "## two as Critic · ", " · 1.2 s · 75 % sure · unsure\n\na cat 1\n",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(text, "What are they?") {
		t.Error("the other branch is there, too")
	}
	b.same("files", []string{out["files/cat.png"].String(), out["files/cat-2.png"].String(), out["files/a (1).pdf"].String()},
		[]string{"cat", "dog", "pdf"})
	b.is(b.WriteChat(t.Context(), studio.NewID(), memory{}), studio.ErrNotFound)
}

// A backup that was made while another wrote is whole; what was restored of it is equal.
func TestBackup(t *testing.T) {
	t.Parallel()
	b := filled(t)
	ctx := t.Context()
	first := b.zip(b.workspace.ID)
	elsewhere := studio.Workspace{Name: "Busy"}
	b.ok(b.AddWorkspace(ctx, &elsewhere))
	busy := studio.Chat{Workspace: elsewhere.ID, Title: "Busy"}
	b.ok(b.AddChat(ctx, &busy))
	stop, stopped := make(chan struct{}), make(chan error)
	go func() { // adds and purges all the time
		for i := 0; ; i++ {
			blob, err := b.PutBlob(ctx, strings.NewReader(fmt.Sprint("busy", i)), 0)
			m := studio.Message{Chat: busy.ID, Role: studio.RoleUser, State: studio.Done}
			if err == nil {
				m.Parts = []studio.Part{{Kind: studio.KindFile, Blob: blob.Hash, Name: "x"}}
				err = b.AddMessage(ctx, &m)
			}
			if err == nil && i%2 == 0 {
				err = b.Purge(ctx, studio.Thing{Kind: studio.ThingMessage, ID: m.ID})
			}
			select {
			case <-stop:
				stopped <- err
				return
			default:
				if err != nil {
					stopped <- err
					return
				}
			}
		}
	}()
	dir := t.TempDir()
	reader, err := Open(ctx, b.dir, Options{ReadOnly: true}) // as another process would
	b.ok(err)
	defer reader.Close()
	for i, keys := range []bool{false, true} {
		path := filepath.Join(dir, fmt.Sprint(i, ".zip"))
		b.ok(reader.Backup(ctx, path, BackupOptions{Keys: keys}))
		if err := reader.Backup(ctx, path, BackupOptions{}); !errors.Is(err, os.ErrExist) {
			t.Errorf("over another: %v", err)
		}
		back := &bundle{t: t, dir: filepath.Join(dir, fmt.Sprint("restored", i))}
		b.ok(Restore(ctx, path, back.dir))
		b.is(Restore(ctx, path, back.dir), studio.ErrInvalid)
		back.open()
		b.ok(back.check())
		if second := back.zip(b.workspace.ID); !bytes.Equal(first, second) {
			t.Error("what was restored differs")
		}
		upstreams, err := back.Upstreams(ctx, b.workspace.ID)
		b.ok(err)
		key, err := back.Key(ctx, upstreams[0].ID)
		if keys && (err != nil || key != "sk-secret") || !keys && !errors.Is(err, studio.ErrKey) {
			t.Errorf("keys %v: %q, %v", keys, string(key), err)
		}
		trash, err := back.InTrash(ctx, b.workspace.ID)
		b.ok(err)
		b.same("trash", len(trash), 1)
	}
	close(stop)
	b.ok(<-stopped)
	left, err := filepath.Glob(filepath.Join(dir, ".xpipe-*"))
	b.ok(err)
	b.same("what is left over", len(left), 0)

	// Backups that are wrong make no folder.
	data, err := os.ReadFile(filepath.Join(dir, "1.zip"))
	b.ok(err)
	var blob string
	for name := range unzip(t, data) {
		if strings.HasPrefix(name, contentsFolder) {
			blob = name
		}
	}
	for name, c := range map[string]struct {
		change func(map[string]string)
		want   error
	}{
		"no head":     {func(f map[string]string) { delete(f, backupName) }, studio.ErrInvalid},
		"no database": {func(f map[string]string) { delete(f, databaseName) }, studio.ErrInvalid},
		"newer": {func(f map[string]string) {
			f[backupName] = strings.Replace(f[backupName], `"version":1`, `"version":2`, 1)
		}, studio.ErrNewer},
		"no SQLite":       {func(f map[string]string) { f[databaseName] = "x" }, studio.ErrDamaged},
		"empty database":  {func(f map[string]string) { f[databaseName] = "" }, studio.ErrDamaged},
		"content missing": {func(f map[string]string) { delete(f, blob) }, studio.ErrDamaged},
		"content changed": {func(f map[string]string) { f[blob] += "x" }, studio.ErrDamaged},
		"a path":          {func(f map[string]string) { f["../../evil"] = "x" }, studio.ErrInvalid},
		"a path of blobs": {func(f map[string]string) { f["blobs/../../evil"] = "x" }, studio.ErrInvalid},
	} {
		files := unzip(t, data)
		c.change(files)
		path, target := filepath.Join(dir, "bad.zip"), filepath.Join(dir, "bad")
		b.ok(os.WriteFile(path, zipped(t, files), 0o600))
		if err := Restore(ctx, path, target); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		if _, err := os.Stat(target); err == nil {
			t.Errorf("%s: the folder is there", name)
		}
	}
}
