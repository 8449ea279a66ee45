package index

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/api"
)

// row is a file as the library has it.
type row struct {
	id       int64
	path     string
	kind     string
	size     int64
	modified int64
	hash     []byte
	words    bool // what is in it was read or heard
	embedded bool // a picture that has a vector
}

// task is a file that has to be done.
type task struct {
	api.LibraryFile        // Path is absolute
	root            string // below which it was found
	known           *row   // as the library has it; nil: new
	embed, words    bool   // what is to be made of it beside its row
}

// plan is what a run has to do.
type plan struct {
	todo  []task
	moved []move
	gone  []*row
	same  int
}

// move is a file that lies elsewhere now.
type move struct {
	from *row
	to   task
}

// makePlan compares what is on the disk with what the library has.
func (s *Store) makePlan(ctx context.Context, dirs []string, words bool, skips *api.Skips) (*plan, error) {
	rows, err := s.rows(ctx)
	if err != nil {
		return nil, err
	}
	p := &plan{}
	seen := map[string]bool{}
	var unlisted []string
	for _, dir := range dirs {
		files, closed, err := api.LibraryFiles(dir, skips)
		if err != nil {
			return nil, err
		}
		unlisted = append(unlisted, closed...)
		for _, file := range files {
			if seen[file.Path] {
				continue
			}
			seen[file.Path] = true
			p.add(task{LibraryFile: file, root: dir, known: rows[file.Path]}, words)
		}
	}
	for _, r := range rows {
		below := func(dir string) bool { return isBelow(r.path, dir) }
		if !seen[r.path] && slices.ContainsFunc(dirs, below) && !slices.ContainsFunc(unlisted, below) {
			p.gone = append(p.gone, r)
		}
	}
	slices.SortFunc(p.gone, func(a, b *row) int { return strings.Compare(a.path, b.path) })
	return p, p.findMoved(ctx, rows)
}

// add notes what is to be done for a file.
func (p *plan) add(t task, words bool) {
	t.embed, t.words = t.Kind == api.KindPhoto, words
	if r := t.known; r != nil && r.kind == t.Kind && r.size == t.Info.Size() && r.modified == t.Info.ModTime().UnixNano() {
		t.embed, t.words = t.embed && !r.embedded, words && !r.words
		if !t.embed && !t.words {
			p.same++
			return
		}
	}
	p.todo = append(p.todo, t)
}

// findMoved takes from the new files those that the library has under a path that is gone.
func (p *plan) findMoved(ctx context.Context, rows map[string]*row) error {
	sizes := map[int64][]*row{}
	for _, r := range rows {
		sizes[r.size] = append(sizes[r.size], r)
	}
	rest := p.todo[:0]
	for _, t := range p.todo {
		var away []*row // of the file's size and kind, and with nothing at their paths
		for _, r := range sizes[t.Info.Size()] {
			if t.known != nil || r.kind != t.Kind {
				continue
			}
			if _, err := os.Lstat(r.path); errors.Is(err, fs.ErrNotExist) {
				away = append(away, r)
			}
		}
		var from *row
		if len(away) > 0 {
			hash, err := hashFile(ctx, t.Path)
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if i := slices.IndexFunc(away, func(r *row) bool { return err == nil && string(r.hash) == string(hash) }); i >= 0 {
				from = away[i]
			}
		}
		if from == nil {
			rest = append(rest, t)
			continue
		}
		p.moved = append(p.moved, move{from, t})
		p.gone = slices.DeleteFunc(p.gone, func(r *row) bool { return r == from })
		sizes[from.size] = slices.DeleteFunc(sizes[from.size], func(r *row) bool { return r == from })
		t.known = from
		if t.embed, t.words = t.embed && !from.embedded, t.words && !from.words; t.embed || t.words {
			rest = append(rest, t)
		}
	}
	p.todo = rest
	return nil
}

// rows are the library's files by their paths.
func (s *Store) rows(ctx context.Context) (map[string]*row, error) {
	found, err := s.db.QueryContext(ctx, `SELECT f.id, f.path, f.kind, f.size, f.modified, f.hash, f.worded,
		EXISTS (SELECT 1 FROM items i JOIN vectors v ON v.item = i.id WHERE i.file = f.id) FROM files f`)
	if err != nil {
		return nil, s.explain(err)
	}
	defer found.Close()
	rows := map[string]*row{}
	for found.Next() {
		r := &row{}
		if err := found.Scan(&r.id, &r.path, &r.kind, &r.size, &r.modified, &r.hash, &r.words, &r.embedded); err != nil {
			return nil, s.explain(err)
		}
		rows[r.path] = r
	}
	return rows, s.explain(found.Err())
}

// isBelow says whether a path is that of a folder, or below it.
func isBelow(path, dir string) bool {
	rest, ok := strings.CutPrefix(path, dir)
	return ok && (rest == "" || os.IsPathSeparator(rest[0]) || os.IsPathSeparator(dir[len(dir)-1]))
}

// hashFile is the SHA-256 of a file.
func hashFile(ctx context.Context, path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, &untilDone{ctx, f}); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return h.Sum(nil), nil
}

// untilDone is a reader that ends with a context.
type untilDone struct {
	ctx context.Context
	r   io.Reader
}

func (u *untilDone) Read(b []byte) (int, error) {
	if u.ctx.Err() != nil {
		return 0, context.Cause(u.ctx)
	}
	return u.r.Read(b)
}

// nameWords are the words of a file's name, and of the folders between it and its root.
func nameWords(path, root string) string {
	name, err := filepath.Rel(root, path)
	if err != nil || name == "." {
		name = filepath.Base(path)
	}
	name = strings.TrimSuffix(name, filepath.Ext(name))
	return strings.ToValidUTF8(spread(strings.Map(func(r rune) rune {
		if r == '/' || r == filepath.Separator || r == '_' {
			return ' '
		}
		return r
	}, name)), "\uFFFD")
}
