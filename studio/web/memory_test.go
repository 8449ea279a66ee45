package web

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crossattn/xpipe/studio"
)

// table is a kind of thing of memory, in the order of adding.
type table[T any] struct {
	list []studio.ID
	rows map[studio.ID]*T
}

// clone copies a thing, as a database would.
func clone[T any](v *T) *T {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	c := new(T)
	if err := json.Unmarshal(data, c); err != nil {
		panic(err)
	}
	return c
}

func (t *table[T]) add(id *studio.ID, v *T) {
	if t.rows == nil {
		t.rows = map[studio.ID]*T{}
	}
	t.list = append(t.list, *id)
	t.rows[*id] = clone(v)
}

func (t *table[T]) get(id studio.ID) (*T, error) {
	if v := t.rows[id]; v != nil {
		return clone(v), nil
	}
	return nil, studio.ErrNotFound
}

func (t *table[T]) update(id studio.ID, change func(*T) error) (*T, error) {
	v, err := t.get(id)
	if err == nil {
		if err = change(v); err == nil {
			t.rows[id] = clone(v)
		}
	}
	return v, err
}

func (t *table[T]) all(which func(*T) bool) (list []T) {
	for _, id := range t.list {
		if v := t.rows[id]; v != nil && which(v) {
			list = append(list, *clone(v))
		}
	}
	return list
}

// memory is a studio.Store that keeps all in memory, and blobs in a folder: for tests of what is asked of a store,
// not of how one keeps it. Methods that no test needs are not there.
type memory struct {
	studio.Store
	dir        string
	mu         sync.Mutex
	workspaces table[studio.Workspace]
	folders    table[studio.Folder]
	chats      table[studio.Chat]
	messages   table[studio.Message]
	personas   table[studio.Persona]
	prompts    table[studio.Prompt]
	upstreams  table[studio.Upstream]
	jobs       table[studio.Job]
	keys       map[studio.ID]studio.Secret
	vectors    map[studio.Hash][]float32
}

func newMemory(dir string) *memory {
	return &memory{dir: dir, keys: map[studio.ID]studio.Secret{}, vectors: map[studio.Hash][]float32{}}
}

func begun(id *studio.ID, s *studio.Stamp) {
	if *id == "" {
		*id = studio.NewID()
	}
	s.Created = time.Now()
	s.Updated = s.Created
}

func locked[T any](m *memory, f func() (T, error)) (T, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return f()
}

func add[T interface{ Check() error }, P any](m *memory, t *table[P], id *studio.ID, s *studio.Stamp, v T, p *P) error {
	if err := v.Check(); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	begun(id, s)
	t.add(id, p)
	return nil
}

func (m *memory) AddWorkspace(_ context.Context, v *studio.Workspace) error {
	return add(m, &m.workspaces, &v.ID, &v.Stamp, v, v)
}
func (m *memory) AddFolder(_ context.Context, v *studio.Folder) error {
	return add(m, &m.folders, &v.ID, &v.Stamp, v, v)
}
func (m *memory) AddChat(_ context.Context, v *studio.Chat) error {
	return add(m, &m.chats, &v.ID, &v.Stamp, v, v)
}
func (m *memory) AddMessage(_ context.Context, v *studio.Message) error {
	return add(m, &m.messages, &v.ID, &v.Stamp, v, v)
}
func (m *memory) AddPersona(_ context.Context, v *studio.Persona) error {
	return add(m, &m.personas, &v.ID, &v.Stamp, v, v)
}
func (m *memory) AddPrompt(_ context.Context, v *studio.Prompt) error {
	return add(m, &m.prompts, &v.ID, &v.Stamp, v, v)
}
func (m *memory) AddUpstream(_ context.Context, v *studio.Upstream) error {
	return add(m, &m.upstreams, &v.ID, &v.Stamp, v, v)
}
func (m *memory) AddJob(_ context.Context, v *studio.Job) error {
	v.Total = len(v.Rows)
	return add(m, &m.jobs, &v.ID, &v.Stamp, v, v)
}

func (m *memory) UpdateWorkspace(_ context.Context, id studio.ID, f func(*studio.Workspace) error) (*studio.Workspace, error) {
	return locked(m, func() (*studio.Workspace, error) {
		return m.workspaces.update(id, func(v *studio.Workspace) error { return cmp.Or(f(v), v.Check()) })
	})
}
func (m *memory) UpdateFolder(_ context.Context, id studio.ID, f func(*studio.Folder) error) (*studio.Folder, error) {
	return locked(m, func() (*studio.Folder, error) {
		return m.folders.update(id, func(v *studio.Folder) error { return cmp.Or(f(v), v.Check()) })
	})
}
func (m *memory) UpdateChat(_ context.Context, id studio.ID, f func(*studio.Chat) error) (*studio.Chat, error) {
	return locked(m, func() (*studio.Chat, error) {
		return m.chats.update(id, func(v *studio.Chat) error { return cmp.Or(f(v), v.Check()) })
	})
}
func (m *memory) UpdateMessage(_ context.Context, id studio.ID, f func(*studio.Message) error) (*studio.Message, error) {
	return locked(m, func() (*studio.Message, error) {
		return m.messages.update(id, func(v *studio.Message) error { return cmp.Or(f(v), v.Check()) })
	})
}
func (m *memory) UpdatePersona(_ context.Context, id studio.ID, f func(*studio.Persona) error) (*studio.Persona, error) {
	return locked(m, func() (*studio.Persona, error) { return m.personas.update(id, f) })
}
func (m *memory) UpdatePrompt(_ context.Context, id studio.ID, f func(*studio.Prompt) error) (*studio.Prompt, error) {
	return locked(m, func() (*studio.Prompt, error) { return m.prompts.update(id, f) })
}
func (m *memory) UpdateUpstream(_ context.Context, id studio.ID, f func(*studio.Upstream) error) (*studio.Upstream, error) {
	return locked(m, func() (*studio.Upstream, error) { return m.upstreams.update(id, f) })
}
func (m *memory) UpdateJob(_ context.Context, id studio.ID, f func(*studio.Job) error) (*studio.Job, error) {
	return locked(m, func() (*studio.Job, error) { return m.jobs.update(id, f) })
}
func (m *memory) SetRow(_ context.Context, job studio.ID, row studio.JobRow) error {
	_, err := locked(m, func() (*studio.Job, error) {
		return m.jobs.update(job, func(j *studio.Job) error {
			j.Rows[row.Number] = row
			j.Finished, j.Failures = 0, 0
			for _, r := range j.Rows {
				if r.State.Final() {
					j.Finished++
				}
				if r.State == studio.Failed {
					j.Failures++
				}
			}
			return nil
		})
	})
	return err
}

func (m *memory) Workspace(_ context.Context, id studio.ID) (*studio.Workspace, error) {
	return locked(m, func() (*studio.Workspace, error) { return m.workspaces.get(id) })
}
func (m *memory) Folder(_ context.Context, id studio.ID) (*studio.Folder, error) {
	return locked(m, func() (*studio.Folder, error) { return m.folders.get(id) })
}
func (m *memory) Chat(_ context.Context, id studio.ID) (*studio.Chat, error) {
	return locked(m, func() (*studio.Chat, error) { return m.chats.get(id) })
}
func (m *memory) Message(_ context.Context, id studio.ID) (*studio.Message, error) {
	return locked(m, func() (*studio.Message, error) { return m.messages.get(id) })
}
func (m *memory) Persona(_ context.Context, id studio.ID) (*studio.Persona, error) {
	return locked(m, func() (*studio.Persona, error) { return m.personas.get(id) })
}
func (m *memory) Prompt(_ context.Context, id studio.ID) (*studio.Prompt, error) {
	return locked(m, func() (*studio.Prompt, error) { return m.prompts.get(id) })
}
func (m *memory) Upstream(_ context.Context, id studio.ID) (*studio.Upstream, error) {
	return locked(m, func() (*studio.Upstream, error) { return m.upstreams.get(id) })
}
func (m *memory) Job(_ context.Context, id studio.ID) (*studio.Job, error) {
	return locked(m, func() (*studio.Job, error) { return m.jobs.get(id) })
}

func list[T any](m *memory, t *table[T], which func(*T) bool) ([]T, error) {
	return locked(m, func() ([]T, error) { return t.all(which), nil })
}

func (m *memory) Workspaces(context.Context) ([]studio.Workspace, error) {
	return list(m, &m.workspaces, func(v *studio.Workspace) bool { return v.Trashed == nil })
}
func (m *memory) Folders(_ context.Context, ws studio.ID) ([]studio.Folder, error) {
	return list(m, &m.folders, func(v *studio.Folder) bool { return v.Workspace == ws && v.Trashed == nil })
}
func (m *memory) Chats(_ context.Context, f studio.ChatFilter) ([]studio.Chat, error) {
	found, err := list(m, &m.chats, func(v *studio.Chat) bool {
		return v.Workspace == f.Workspace && v.Trashed == nil && (f.Folder == nil || *f.Folder == v.Folder) &&
			(f.Archived == nil || *f.Archived == v.Archived) && (f.Pinned == nil || *f.Pinned == v.Pinned) &&
			(f.Tag == "" || slices.Contains(v.Tags, f.Tag))
	})
	slices.Reverse(found)
	found = found[min(f.Offset, len(found)):]
	if f.Limit > 0 {
		found = found[:min(f.Limit, len(found))]
	}
	return found, err
}
func (m *memory) Tags(_ context.Context, ws studio.ID) ([]studio.TagCount, error) {
	found, err := list(m, &m.chats, func(v *studio.Chat) bool { return v.Workspace == ws && v.Trashed == nil })
	counts := map[string]int{}
	for _, c := range found {
		for _, tag := range c.Tags {
			counts[tag]++
		}
	}
	var tags []studio.TagCount
	for tag, n := range counts {
		tags = append(tags, studio.TagCount{Tag: tag, Chats: n})
	}
	slices.SortFunc(tags, func(a, b studio.TagCount) int { return cmp.Compare(a.Tag, b.Tag) })
	return tags, err
}
func (m *memory) Messages(_ context.Context, chat studio.ID) ([]studio.Message, error) {
	found, err := list(m, &m.messages, func(v *studio.Message) bool { return v.Chat == chat && v.Trashed == nil })
	for i := range found {
		if found[i].Answer != nil {
			found[i].Answer.Words = nil
		}
	}
	return found, err
}
func (m *memory) Attachment(_ context.Context, ws studio.ID, blob studio.Hash) (*studio.Part, error) {
	return locked(m, func() (*studio.Part, error) {
		for _, msg := range m.messages.rows {
			if chat := m.chats.rows[msg.Chat]; chat != nil && chat.Workspace == ws {
				for _, p := range msg.Parts {
					if p.Blob == blob {
						return &p, nil
					}
				}
			}
		}
		for _, job := range m.jobs.rows {
			for _, row := range job.Rows {
				if row.Input.Blob == blob && job.Workspace == ws {
					return &row.Input, nil
				}
			}
		}
		return nil, studio.ErrNotFound
	})
}
func (m *memory) Personas(_ context.Context, ws studio.ID) ([]studio.Persona, error) {
	return list(m, &m.personas, func(v *studio.Persona) bool { return v.Workspace == ws && v.Trashed == nil })
}
func (m *memory) Prompts(_ context.Context, ws studio.ID) ([]studio.Prompt, error) {
	return list(m, &m.prompts, func(v *studio.Prompt) bool { return v.Workspace == ws && v.Trashed == nil })
}
func (m *memory) Upstreams(context.Context, studio.ID) ([]studio.Upstream, error) {
	found, err := list(m, &m.upstreams, func(*studio.Upstream) bool { return true })
	for i := range found {
		found[i].HasKey = m.keys[found[i].ID] != ""
	}
	return found, err
}
func (m *memory) RemoveUpstream(_ context.Context, id studio.ID) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.upstreams.rows, id)
	delete(m.keys, id)
	return nil
}
func (m *memory) SetKey(_ context.Context, id studio.ID, key studio.Secret) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.keys[id] = key
	return nil
}
func (m *memory) Key(_ context.Context, id studio.ID) (studio.Secret, error) {
	return locked(m, func() (studio.Secret, error) {
		if key := m.keys[id]; key != "" {
			return key, nil
		}
		return "", studio.ErrNotFound
	})
}
func (m *memory) Jobs(_ context.Context, ws studio.ID) ([]studio.Job, error) {
	return list(m, &m.jobs, func(v *studio.Job) bool { return v.Workspace == ws && v.Trashed == nil })
}
func (m *memory) Unfinished(context.Context) (ids []studio.ID, err error) {
	found, err := list(m, &m.jobs, func(v *studio.Job) bool { return !v.State.Final() })
	for _, j := range found {
		ids = append(ids, j.ID)
	}
	return ids, err
}

// bin puts a thing in the trash, or takes it back where at is nil.
func (m *memory) bin(t studio.Thing, at *time.Time) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	var err error
	switch t.Kind {
	case studio.ThingWorkspace:
		_, err = m.workspaces.update(t.ID, func(v *studio.Workspace) error { v.Trashed = at; return nil })
	case studio.ThingFolder:
		_, err = m.folders.update(t.ID, func(v *studio.Folder) error { v.Trashed = at; return nil })
	case studio.ThingChat:
		_, err = m.chats.update(t.ID, func(v *studio.Chat) error { v.Trashed = at; return nil })
	case studio.ThingMessage:
		_, err = m.messages.update(t.ID, func(v *studio.Message) error { v.Trashed = at; return nil })
	case studio.ThingPersona:
		_, err = m.personas.update(t.ID, func(v *studio.Persona) error { v.Trashed = at; return nil })
	case studio.ThingPrompt:
		_, err = m.prompts.update(t.ID, func(v *studio.Prompt) error { v.Trashed = at; return nil })
	case studio.ThingJob:
		_, err = m.jobs.update(t.ID, func(v *studio.Job) error { v.Trashed = at; return nil })
	default:
		err = studio.ErrNotFound
	}
	return err
}
func (m *memory) Trash(_ context.Context, t studio.Thing) error {
	now := time.Now()
	return m.bin(t, &now)
}
func (m *memory) Restore(_ context.Context, t studio.Thing) error { return m.bin(t, nil) }
func (m *memory) Purge(_ context.Context, t studio.Thing) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.chats.rows, t.ID)
	return nil
}
func (m *memory) InTrash(_ context.Context, ws studio.ID) (things []studio.Trashed, err error) {
	found, err := list(m, &m.chats, func(v *studio.Chat) bool { return v.Workspace == ws && v.Trashed != nil })
	for _, c := range found {
		things = append(things, studio.Trashed{Thing: studio.Thing{Kind: studio.ThingChat, ID: c.ID}, Workspace: ws, Name: c.Title, At: *c.Trashed})
	}
	return things, err
}

func (m *memory) PutBlob(_ context.Context, r io.Reader, limit int64) (*studio.Blob, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	if limit > 0 && int64(len(data)) > limit {
		return nil, studio.ErrInvalid
	}
	sum := sha256.Sum256(data)
	h := studio.Hash(hex.EncodeToString(sum[:]))
	return &studio.Blob{Hash: h, Size: int64(len(data)), Created: time.Now()}, os.WriteFile(filepath.Join(m.dir, string(h)), data, 0o600)
}
func (m *memory) OpenBlob(_ context.Context, h studio.Hash) (*os.File, error) {
	f, err := os.Open(filepath.Join(m.dir, string(h)))
	if err != nil {
		err = studio.ErrNotFound
	}
	return f, err
}
func (m *memory) SetVector(_ context.Context, h studio.Hash, _ string, v []float32) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.vectors[h] = v
	return nil
}
func (m *memory) Unembedded(context.Context, string, int) ([]studio.Hash, error) {
	return locked(m, func() (left []studio.Hash, err error) {
		for _, msg := range m.messages.rows {
			for _, p := range msg.Parts {
				if p.Kind == studio.KindPicture && m.vectors[p.Blob] == nil {
					left = append(left, p.Blob)
				}
			}
		}
		return left, nil
	})
}
func (m *memory) Search(_ context.Context, q studio.Query) (*studio.Hits, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	hits := &studio.Hits{}
	for _, id := range m.messages.list {
		msg := m.messages.rows[id]
		chat := m.chats.rows[msg.Chat]
		if chat == nil || len(q.Workspaces) > 0 && !slices.Contains(q.Workspaces, chat.Workspace) ||
			q.Kind != "" && !slices.ContainsFunc(msg.Parts, func(p studio.Part) bool { return p.Kind == q.Kind }) {
			continue
		}
		hit := studio.Hit{Workspace: chat.Workspace, Chat: chat.ID, Title: chat.Title, Message: id, Role: msg.Role, At: msg.Created}
		text := msg.Text()
		if i := strings.Index(strings.ToLower(text), strings.ToLower(q.Words)); q.Words != "" && i >= 0 {
			hit.Context = []studio.Piece{{Text: text[:i]}, {Text: text[i : i+len(q.Words)], Hit: true}, {Text: text[i+len(q.Words):]}}
		} else if q.Words != "" {
			continue
		}
		for _, p := range msg.Parts {
			if v := m.vectors[p.Blob]; q.Like != nil && len(v) > 0 {
				hit.Blob = p.Blob
				for k := range v {
					hit.Likeness += float64(v[k] * q.Like[k])
				}
			}
		}
		if q.Like == nil || hit.Blob != "" {
			hits.Hits = append(hits.Hits, hit)
		}
	}
	slices.SortStableFunc(hits.Hits, func(a, b studio.Hit) int { return cmp.Compare(b.Likeness, a.Likeness) })
	return hits, nil
}
func (m *memory) Usage(context.Context) (*studio.Usage, error) {
	return &studio.Usage{Workspaces: 1, Chats: len(m.chats.list), Messages: len(m.messages.list)}, nil
}
func (m *memory) Close() error { return nil }
