package store

import (
	"archive/zip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/studio"
)

// WriteChat writes a chat as chat.md and its files in the folder files.
func (s *Store) WriteChat(ctx context.Context, id studio.ID, to studio.Sink) error {
	chat, err := s.Chat(ctx, id)
	if err != nil {
		return err
	}
	messages, err := s.Messages(ctx, id)
	if err != nil {
		return err
	}
	names, taken := map[studio.Hash]string{}, map[string]bool{}
	var order []studio.Hash
	file := func(p studio.Part) string {
		if name, ok := names[p.Blob]; ok {
			return name
		}
		name := "files/" + p.Name
		for n := 2; taken[strings.ToLower(name)]; n++ { // as file systems may see it
			suffix := path.Ext(p.Name)
			name = fmt.Sprintf("files/%s-%d%s", strings.TrimSuffix(p.Name, suffix), n, suffix)
		}
		names[p.Blob], taken[strings.ToLower(name)] = name, true
		order = append(order, p.Blob)
		return name
	}
	w, err := to.Create("chat.md")
	if err != nil {
		return err
	}
	if err := studio.WriteMarkdown(w, chat, messages, file); err != nil {
		return err
	}
	for _, hash := range order {
		w, err := to.Create(names[hash])
		if err != nil {
			return err
		}
		if err := s.copyBlob(ctx, w, hash); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) copyBlob(ctx context.Context, w io.Writer, hash studio.Hash) error {
	f, err := s.OpenBlob(ctx, hash)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, readerOf(ctx, f))
	return err
}

// What a workspace's zip file holds: head first, then lists of things, a file a chat and a job, and
// contents by hash.
const (
	headName       = "studio.json"
	foldersName    = "folders.json"
	personasName   = "personas.json"
	promptsName    = "prompts.json"
	upstreamsName  = "upstreams.json"
	chatsFolder    = "chats/"
	jobsFolder     = "jobs/"
	contentsFolder = "blobs/"

	workspaceFormat  = "xpipe-studio-workspace"
	workspaceVersion = 1
)

// head says what a zip file is.
type head struct {
	Format    string            `json:"format"`
	Version   int               `json:"version"`
	Workspace *studio.Workspace `json:"workspace"`
}

// conversation is a chat with its messages.
type conversation struct {
	Chat     studio.Chat      `json:"chat"`
	Messages []studio.Message `json:"messages"`
}

// zipWriter writes entries without times: equal workspaces give equal files.
type zipWriter struct{ *zip.Writer }

func (z zipWriter) json(name string, v any) error {
	w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: zip.Deflate})
	if err == nil {
		err = json.NewEncoder(w).Encode(v)
	}
	return err
}

// WriteWorkspace writes a workspace as a zip file. What is in the trash stays out, and so do keys.
func (s *Store) WriteWorkspace(ctx context.Context, id studio.ID, to io.Writer) error {
	z := zipWriter{zip.NewWriter(to)}
	if err := s.writeWorkspace(ctx, id, z); err != nil {
		return err
	}
	return fault(z.Close())
}

func (s *Store) writeWorkspace(ctx context.Context, id studio.ID, z zipWriter) error {
	workspace, err := s.Workspace(ctx, id)
	if err != nil {
		return err
	}
	workspace.Trashed = nil
	if err := z.json(headName, head{workspaceFormat, workspaceVersion, workspace}); err != nil {
		return err
	}
	blobs := map[studio.Hash]bool{}
	use := func(parts ...studio.Part) {
		for _, p := range parts {
			if p.Kind != studio.KindText {
				blobs[p.Blob] = true
			}
		}
	}
	folders, err := s.Folders(ctx, id)
	if err != nil {
		return err
	}
	if err := z.json(foldersName, outermost(folders)); err != nil {
		return err
	}
	personas, err := s.Personas(ctx, id)
	if err != nil {
		return err
	}
	if err := z.json(personasName, slices.Concat([]studio.Persona{}, personas)); err != nil {
		return err
	}
	prompts, err := s.Prompts(ctx, id)
	if err != nil {
		return err
	}
	for _, p := range prompts {
		use(p.Parts...)
	}
	if err := z.json(promptsName, slices.Concat([]studio.Prompt{}, prompts)); err != nil {
		return err
	}
	upstreams, err := s.Upstreams(ctx, id)
	if err != nil {
		return err
	}
	upstreams = slices.DeleteFunc(upstreams, func(u studio.Upstream) bool { return u.Workspace == "" })
	for i := range upstreams {
		upstreams[i].HasKey = false
	}
	if err := z.json(upstreamsName, slices.Concat([]studio.Upstream{}, upstreams)); err != nil {
		return err
	}
	chats, err := rows(ctx, s.reader, one[studio.ID], "SELECT id FROM chats WHERE workspace = ? AND trashed IS NULL ORDER BY n", id)
	if err != nil {
		return err
	}
	for _, id := range chats {
		c, err := s.conversation(ctx, id)
		if err != nil {
			return err
		}
		for _, m := range c.Messages {
			use(m.Parts...)
		}
		if err := z.json(chatsFolder+string(id)+".json", c); err != nil {
			return err
		}
	}
	jobs, err := s.Jobs(ctx, id)
	if err != nil {
		return err
	}
	slices.Reverse(jobs) // the oldest first, as they are added
	for _, without := range jobs {
		j, err := s.Job(ctx, without.ID)
		if err != nil {
			return err
		}
		use(jobParts(j)...)
		for _, r := range j.Rows {
			use(r.Input)
		}
		if err := z.json(jobsFolder+string(j.ID)+".json", j); err != nil {
			return err
		}
	}
	var hashes []studio.Hash
	for hash := range blobs {
		hashes = append(hashes, hash)
	}
	slices.Sort(hashes)
	for _, hash := range hashes {
		w, err := z.CreateHeader(&zip.FileHeader{Name: contentsFolder + string(hash), Method: zip.Store})
		if err == nil {
			err = s.copyBlob(ctx, w, hash)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// outermost puts folders before those in them.
func outermost(folders []studio.Folder) []studio.Folder {
	list := make([]studio.Folder, 0, len(folders))
	var add func(parent studio.ID)
	add = func(parent studio.ID) {
		for _, f := range folders {
			if f.Parent == parent {
				list = append(list, f)
				add(f.ID)
			}
		}
	}
	add("")
	return list
}

func (s *Store) conversation(ctx context.Context, id studio.ID) (*conversation, error) {
	chat, err := s.Chat(ctx, id)
	if err != nil {
		return nil, err
	}
	list, err := rows(ctx, s.reader, scanMessage, messageColumns+"WHERE c.id = ? AND m.trashed IS NULL ORDER BY m.n", id)
	if err != nil {
		return nil, err
	}
	c := &conversation{*chat, make([]studio.Message, len(list))}
	for i, m := range list {
		if m.Answer != nil && m.Answer.HasWords {
			if m.Answer.Words, err = getWords(ctx, s.reader, m.n); err != nil {
				return nil, err
			}
		}
		c.Messages[i] = m.Message
	}
	return c, nil
}
