package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// ErrNotCached is the kind of error of a repository, revision or file that the cache lacks.
var ErrNotCached = errors.New("it is not in the cache")

// Cache is a folder in huggingface_hub's layout. It need not exist.
type Cache struct{ Dir string }

// Snapshot returns the folder of a repository's state. Errors wrap ErrNotCached, or fs errors.
func (c Cache) Snapshot(r Ref) (dir string, err error) {
	commit, err := c.commit(r)
	if err != nil {
		return "", err
	}
	dir = filepath.Join(c.Dir, r.Folder(), "snapshots", commit)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return "", fmt.Errorf("%s: %w (%s)", r, ErrNotCached, c.Dir)
	}
	return dir, nil
}

// commit resolves a branch or tag to the commit that it stood for.
func (c Cache) commit(r Ref) (string, error) {
	if IsCommit(r.Revision) {
		return r.Revision, nil
	}
	root, err := os.OpenRoot(filepath.Join(c.Dir, r.Folder()))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: %w (%s)", r, ErrNotCached, c.Dir)
	} else if err != nil {
		return "", err
	}
	defer root.Close()
	data, err := root.ReadFile("refs/" + r.Revision)
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s: %w (%s); of %s there is %s",
			r, ErrNotCached, c.Dir, r.Repo, list(refs(root)))
	} else if err != nil {
		return "", err
	}
	commit := strings.TrimSpace(string(data))
	if !IsCommit(commit) {
		return "", fmt.Errorf("%s: refs/%s holds %.50q, which is no commit", r, r.Revision, commit)
	}
	return commit, nil
}

func list(names []string) string {
	if len(names) == 0 {
		return "no revision"
	}
	return strings.Join(names, ", ")
}

// refs lists the branches and tags that are known.
func refs(root *os.Root) (names []string) {
	fs.WalkDir(root.FS(), "refs", func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			names = append(names, strings.TrimPrefix(p, "refs/"))
		}
		return nil
	})
	slices.Sort(names)
	return names
}

// Cached is a repository in the cache.
type Cached struct {
	Repo      string
	Revisions []string // branches and tags, and commits that have none
	Size      int64    // bytes of its blobs
	Modified  time.Time
}

// Repos lists what is in the cache, by name. What is no repository of models is left out. A cache
// that does not exist has none.
func (c Cache) Repos() ([]Cached, error) {
	entries, err := os.ReadDir(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	var all []Cached
	for _, e := range entries {
		repo, ok := repoOf(e.Name())
		if !ok || !e.IsDir() {
			continue
		}
		one, err := c.repo(repo)
		if err != nil {
			return nil, err
		}
		all = append(all, one)
	}
	return all, nil
}

func (c Cache) repo(repo string) (Cached, error) {
	one := Cached{Repo: repo}
	root, err := os.OpenRoot(filepath.Join(c.Dir, Ref{Repo: repo}.Folder()))
	if err != nil {
		return one, err
	}
	defer root.Close()
	one.Revisions = refs(root)
	named := map[string]bool{}
	for _, name := range one.Revisions {
		data, _ := root.ReadFile("refs/" + name) // one that cannot be read names no commit
		named[strings.TrimSpace(string(data))] = true
	}
	snapshots, err := fs.ReadDir(root.FS(), "snapshots")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return one, err
	}
	for _, s := range snapshots {
		if s.IsDir() && !named[s.Name()] {
			one.Revisions = append(one.Revisions, s.Name())
		}
	}
	blobs, err := fs.ReadDir(root.FS(), "blobs")
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return one, err
	}
	for _, b := range blobs {
		// A blob in the shared store counts too: Stat follows the link.
		info, err := os.Stat(filepath.Join(root.Name(), "blobs", b.Name()))
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		one.Size += info.Size()
		if info.ModTime().After(one.Modified) {
			one.Modified = info.ModTime()
		}
	}
	return one, nil
}

// Remove deletes a repository from the cache, all its revisions; its blobs in the shared store stay
// for the others. A repository that is not there gives ErrNotCached.
func (c Cache) Remove(repo string) error {
	r, err := ParseRef(repo)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(c.Dir)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w (%s)", repo, ErrNotCached, c.Dir)
	} else if err != nil {
		return err
	}
	defer root.Close()
	if _, err := root.Lstat(r.Folder()); err != nil {
		return fmt.Errorf("%s: %w (%s)", repo, ErrNotCached, c.Dir)
	}
	if err := root.RemoveAll(r.Folder()); err != nil {
		return err
	}
	return root.RemoveAll(".locks/" + r.Folder())
}

// snapshotFS reads one snapshot. Links are followed within the repository's folder, and from its
// blobs into the cache's shared store; one that leads elsewhere is an error.
type snapshotFS struct {
	repo  *os.Root // the repository's folder
	cache string
	dir   string // of the snapshot, in repo
}

// SnapshotFS opens the snapshot in a folder, if it is one of a cache: .../models--org--name/
// snapshots/COMMIT. ok is false where the folder is none, and nothing is open then. Close it.
func SnapshotFS(dir string) (fsys FS, ok bool, err error) {
	dir, err = filepath.Abs(dir)
	if err != nil {
		return nil, false, err
	}
	snapshots := filepath.Dir(dir)
	repo := filepath.Dir(snapshots)
	if !strings.HasPrefix(filepath.Base(repo), "models--") || filepath.Base(snapshots) != "snapshots" {
		return nil, false, nil
	}
	root, err := os.OpenRoot(repo)
	if err != nil {
		return nil, false, err
	}
	return &snapshotFS{root, filepath.Dir(repo), "snapshots/" + filepath.Base(dir)}, true, nil
}

// FS is a file system that holds a folder open until it is closed.
type FS interface {
	fs.FS
	fs.ReadDirFS
	fs.StatFS
	Close() error
}

func (s *snapshotFS) Close() error { return s.repo.Close() }

func (s *snapshotFS) in(op, name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return path.Join(s.dir, name), nil
}

func (s *snapshotFS) Open(name string) (fs.File, error) {
	p, err := s.in("open", name)
	if err != nil {
		return nil, err
	}
	f, err := s.repo.Open(p)
	if err == nil {
		return f, nil
	}
	shared, ok := s.shared(p)
	if !ok {
		return nil, err
	}
	store, err := os.OpenRoot(s.cache)
	if err != nil {
		return nil, err
	}
	defer store.Close()
	return store.Open(shared)
}

func (s *snapshotFS) ReadDir(name string) ([]fs.DirEntry, error) {
	p, err := s.in("readdir", name)
	if err != nil {
		return nil, err
	}
	return fs.ReadDir(s.repo.FS(), p)
}

func (s *snapshotFS) Stat(name string) (fs.FileInfo, error) {
	f, err := s.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Stat()
}

// sharedForm is where a link in blobs leads that the shared store has.
var sharedForm = regexp.MustCompile(`^\.\./\.\./blobs/[0-9a-f]{2}/[0-9a-f]{64}$`)

// shared returns the place in the cache's store of a file whose blob is a link into it.
func (s *snapshotFS) shared(p string) (string, bool) {
	blob, err := s.repo.Readlink(p)
	if err != nil {
		return "", false
	}
	blob = path.Join(path.Dir(p), filepath.ToSlash(blob))
	if path.Dir(blob) != "blobs" {
		return "", false
	}
	target, err := s.repo.Readlink(blob)
	if err != nil || !sharedForm.MatchString(filepath.ToSlash(target)) {
		return "", false
	}
	return strings.TrimPrefix(filepath.ToSlash(target), "../../"), true
}
