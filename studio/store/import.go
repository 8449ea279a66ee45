package store

import (
	"archive/zip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/crossattn/xpipe/internal/sqlitefile"
	"github.com/crossattn/xpipe/studio"
)

// mostJSON bounds one JSON file of a zip file, whatever its directory says.
const mostJSON = 1 << 28

// ReadWorkspace adds the workspace of a zip file that WriteWorkspace wrote: all of it or, with an
// error, nothing. Where any of its IDs is taken, all get new ones.
func (s *Store) ReadWorkspace(ctx context.Context, file io.ReaderAt, size int64) (*studio.Workspace, error) {
	z, err := zip.NewReader(file, size)
	if err != nil {
		return nil, fmt.Errorf("%w: the file is no zip file that can be read (%w)", studio.ErrInvalid, err)
	}
	in := &workspaceReader{store: s, files: map[string]*zip.File{}}
	for _, f := range z.File {
		if in.files[f.Name] != nil {
			return nil, fmt.Errorf("%w: the zip file has %q twice", studio.ErrInvalid, f.Name)
		}
		in.files[f.Name] = f
		switch {
		case strings.HasPrefix(f.Name, chatsFolder):
			in.chats = append(in.chats, f.Name)
		case strings.HasPrefix(f.Name, jobsFolder):
			in.jobs = append(in.jobs, f.Name)
		case strings.HasPrefix(f.Name, contentsFolder):
			in.contents = append(in.contents, f)
		}
	}
	if err := in.head(); err != nil {
		return nil, err
	}
	for _, f := range in.contents {
		if err := in.content(ctx, f); err != nil {
			return nil, err
		}
	}
	err = in.add(ctx)
	if sqlitefile.Taken(err) {
		in.renamed = map[studio.ID]studio.ID{}
		err = in.add(ctx)
	}
	if err != nil {
		return nil, err
	}
	return in.workspace, nil
}

// workspaceReader adds what a zip file holds.
type workspaceReader struct {
	store       *Store
	files       map[string]*zip.File
	chats, jobs []string
	contents    []*zip.File
	workspace   *studio.Workspace
	renamed     map[studio.ID]studio.ID // nil: IDs stay
}

// id is the ID in the place of one of the file.
func (in *workspaceReader) id(id *studio.ID) {
	if in.renamed == nil || *id == "" {
		return
	}
	if in.renamed[*id] == "" {
		in.renamed[*id] = studio.NewID()
	}
	*id = in.renamed[*id]
}

func (in *workspaceReader) json(name string, v any) error {
	f := in.files[name]
	if f == nil {
		return fmt.Errorf("%w: the zip file has no %s: it is no workspace that xpipe studio export wrote", studio.ErrInvalid, name)
	}
	r, err := f.Open()
	if err != nil {
		return fmt.Errorf("%w: %s: %w", studio.ErrInvalid, name, err)
	}
	defer r.Close()
	limited := &io.LimitedReader{R: r, N: mostJSON}
	if err := json.NewDecoder(limited).Decode(v); err != nil {
		if limited.N <= 0 {
			err = fmt.Errorf("it is larger than %d bytes", mostJSON)
		}
		return fmt.Errorf("%w: %s of the zip file: %w", studio.ErrInvalid, name, err)
	}
	return nil
}

func (in *workspaceReader) head() error {
	var h head
	if err := in.json(headName, &h); err != nil {
		return err
	}
	switch {
	case h.Format != workspaceFormat || h.Workspace == nil:
		return fmt.Errorf("%w: the zip file is no workspace of a studio", studio.ErrInvalid)
	case h.Version > workspaceVersion:
		return fmt.Errorf("%w: the zip file has version %d, and this xpipe knows %d", studio.ErrNewer, h.Version, workspaceVersion)
	}
	in.workspace = h.Workspace
	return nil
}

// content takes in a content, which has to have the hash that is its name.
func (in *workspaceReader) content(ctx context.Context, f *zip.File) error {
	hash := studio.Hash(strings.TrimPrefix(f.Name, contentsFolder))
	if !hash.Valid() {
		return fmt.Errorf("%w: %q in the zip file is no name of a content", studio.ErrInvalid, f.Name)
	}
	r, err := f.Open()
	if err != nil {
		return fmt.Errorf("%w: %s: %w", studio.ErrInvalid, f.Name, err)
	}
	defer r.Close()
	blob, err := in.store.PutBlob(ctx, r, 0)
	switch {
	case errors.Is(err, zip.ErrChecksum) || errors.Is(err, zip.ErrFormat) || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %s of the zip file: %w", studio.ErrDamaged, f.Name, err)
	case err != nil:
		return err
	case blob.Hash != hash:
		return fmt.Errorf("%w: %s of the zip file has another content", studio.ErrDamaged, f.Name)
	}
	return nil
}

// add adds everything in one transaction.
func (in *workspaceReader) add(ctx context.Context) error {
	w := *in.workspace
	in.id(&w.ID)
	err := in.store.write(ctx, func(tx *sql.Tx) error {
		if err := in.store.addWorkspace(ctx, tx, &w); err != nil {
			return err
		}
		for _, list := range []func(context.Context, *sql.Tx, studio.ID) error{in.addFolders, in.addPersonas, in.addPrompts, in.addUpstreams} {
			if err := list(ctx, tx, w.ID); err != nil {
				return err
			}
		}
		for _, name := range in.chats {
			if err := in.addChat(ctx, tx, w.ID, name); err != nil {
				return err
			}
		}
		for _, name := range in.jobs {
			if err := in.addJob(ctx, tx, w.ID, name); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		in.workspace = &w
	}
	return err
}

func (in *workspaceReader) addFolders(ctx context.Context, tx *sql.Tx, workspace studio.ID) error {
	var list []studio.Folder
	if err := in.json(foldersName, &list); err != nil {
		return err
	}
	for _, f := range list {
		in.id(&f.ID)
		in.id(&f.Parent)
		f.Workspace = workspace
		if err := in.store.addFolder(ctx, tx, &f); err != nil {
			return err
		}
	}
	return nil
}

func (in *workspaceReader) addPersonas(ctx context.Context, tx *sql.Tx, workspace studio.ID) error {
	var list []studio.Persona
	if err := in.json(personasName, &list); err != nil {
		return err
	}
	for _, p := range list {
		in.id(&p.ID)
		in.id(&p.Upstream)
		p.Workspace = workspace
		if err := in.store.addPersona(ctx, tx, &p); err != nil {
			return err
		}
	}
	return nil
}

func (in *workspaceReader) addPrompts(ctx context.Context, tx *sql.Tx, workspace studio.ID) error {
	var list []studio.Prompt
	if err := in.json(promptsName, &list); err != nil {
		return err
	}
	for _, p := range list {
		in.id(&p.ID)
		in.id(&p.Persona)
		p.Workspace = workspace
		if err := in.store.addPrompt(ctx, tx, &p); err != nil {
			return err
		}
	}
	return nil
}

func (in *workspaceReader) addUpstreams(ctx context.Context, tx *sql.Tx, workspace studio.ID) error {
	var list []studio.Upstream
	if err := in.json(upstreamsName, &list); err != nil {
		return err
	}
	for _, u := range list {
		in.id(&u.ID)
		u.Workspace = workspace
		if err := in.store.addUpstream(ctx, tx, &u); err != nil {
			return err
		}
	}
	return nil
}

func (in *workspaceReader) addChat(ctx context.Context, tx *sql.Tx, workspace studio.ID, name string) error {
	var c conversation
	if err := in.json(name, &c); err != nil {
		return err
	}
	for _, id := range []*studio.ID{&c.Chat.ID, &c.Chat.Folder, &c.Chat.Leaf, &c.Chat.Persona} {
		in.id(id)
	}
	c.Chat.Workspace = workspace
	if err := in.store.addChat(ctx, tx, &c.Chat); err != nil {
		return err
	}
	for _, m := range c.Messages {
		for _, id := range []*studio.ID{&m.ID, &m.Parent, &m.Run} {
			in.id(id)
		}
		m.Chat = c.Chat.ID
		if m.Answer != nil {
			in.id(&m.Answer.Persona)
			in.id(&m.Answer.Upstream)
		}
		if !m.State.Final() { // nobody goes on with it here
			m.State = studio.Stopped
		}
		if err := in.store.addMessage(ctx, tx, &m); err != nil {
			return err
		}
	}
	return nil
}

func (in *workspaceReader) addJob(ctx context.Context, tx *sql.Tx, workspace studio.ID, name string) error {
	var j studio.Job
	if err := in.json(name, &j); err != nil {
		return err
	}
	for _, id := range []*studio.ID{&j.ID, &j.Upstream, &j.Persona, &j.Prompt.ID, &j.Prompt.Persona} {
		in.id(id)
	}
	j.Workspace, j.Prompt.Workspace = workspace, workspace
	if !j.State.Final() {
		j.State = studio.Stopped
	}
	return in.store.addJob(ctx, tx, &j)
}
