// Package index keeps a library of pictures, pages and sounds in one SQLite file, and finds in it by
// words, by what pictures show, and by time and path.
//
// A file of the library has items: a picture is one, a PDF file has one for each page, a sound one for
// each stretch of speech, or one for all of it where nobody has written it down. Items have words, in
// SQLite's full-text index, and pictures have a vector each. The vectors in the SQLite file are what
// counts; FILE.vec beside it holds them in the form that package vectors searches, and is made again
// where it is missing.
package index

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/index/vectors"
	"github.com/crossattn/xpipe/internal/sqlitefile"
)

// schema is that of a library's file. Times are in nanoseconds since 1970, stretches in seconds.
var schema = sqlitefile.Schema{
	ID: 0x78706c62, What: "library", PageSize: 16384, // "xplb"; pages of several vectors each
	Steps: []string{`
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
INSERT INTO meta VALUES ('store', randomblob(16)), ('generation', 0);
CREATE TABLE roots (path TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE files (
	id INTEGER PRIMARY KEY,
	path TEXT NOT NULL UNIQUE,
	kind TEXT NOT NULL,
	size INTEGER NOT NULL,
	modified INTEGER NOT NULL,
	hash BLOB NOT NULL,      -- SHA-256
	worded INTEGER NOT NULL, -- 1: described, read or heard, too
	taken INTEGER NOT NULL,
	latitude REAL, longitude REAL,
	look INTEGER             -- of a picture: see look.go
);
CREATE INDEX files_hash ON files (hash);
CREATE INDEX files_taken ON files (taken);
CREATE TABLE items (
	id INTEGER PRIMARY KEY,
	file INTEGER NOT NULL REFERENCES files ON DELETE CASCADE,
	page INTEGER, start REAL, end REAL
);
CREATE INDEX items_file ON items (file);
CREATE TABLE vectors (
	slot INTEGER PRIMARY KEY,
	item INTEGER NOT NULL UNIQUE REFERENCES items ON DELETE CASCADE,
	generation INTEGER NOT NULL, -- of the transaction that wrote it
	vector BLOB NOT NULL         -- float32, the lowest byte first
);
CREATE INDEX vectors_generation ON vectors (generation);
CREATE VIRTUAL TABLE words USING fts5 (name, text, tokenize = 'porter unicode61 remove_diacritics 2');
CREATE TRIGGER items_gone AFTER DELETE ON items BEGIN
	DELETE FROM words WHERE rowid = old.id;
END;`},
}

// Store is an open library.
type Store struct {
	path string
	db   *sql.DB
	id   [16]byte
	lock *os.File // while it may be written

	mu    sync.Mutex
	model Model // that others may change while the library is open to be searched

	mapping sync.RWMutex
	vec     *vectors.File // as it was mapped last, since to map it takes as long as to search it
	vecDim  int
}

// Model is the model that made a library's vectors.
type Model struct {
	Name string `json:"name"` // as it is given to --model
	Hash string `json:"hash"`
	Dim  int    `json:"dim"`
}

// ErrInUse says that another process indexes into the same library.
var ErrInUse = errors.New("another xpipe indexes into the library")

// DefaultPath is the path of a user's library, where none is named.
func DefaultPath(getenv func(string) string) (string, error) {
	home, err := os.UserHomeDir()
	if err != nil {
		return "", fmt.Errorf("no place for a library is known; name a file with --store: %w", err)
	}
	var dir string
	switch runtime.GOOS {
	case "windows":
		dir = getenv("LocalAppData")
	case "darwin":
		dir = filepath.Join(home, "Library", "Application Support")
	default:
		if dir = getenv("XDG_DATA_HOME"); !filepath.IsAbs(dir) {
			dir = filepath.Join(home, ".local", "share")
		}
	}
	if dir == "" {
		dir = home
	}
	return filepath.Join(dir, "xpipe", "library.db"), nil
}

// vectorPath is where the vectors lie for searches.
func vectorPath(path string) string { return path + ".vec" }

// Open opens a library to search it. Errors wrap those of package sqlitefile or of the file system.
func Open(ctx context.Context, path string) (*Store, error) {
	db, err := sqlitefile.Open(ctx, path, schema, sqlitefile.ReadOnly)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("there is no library at %s yet; \"xpipe index DIR\" makes one: %w", path, err)
	}
	if err != nil {
		return nil, withKind(err)
	}
	return (&Store{path: path, db: db}).opened(ctx)
}

// Create opens a library to write to, and makes it if there is none. One process at a time does:
// ErrInUse says that another one is at it.
func Create(ctx context.Context, path string) (*Store, error) {
	// Nothing is put beside a file that is no library.
	switch db, err := sqlitefile.Open(ctx, path, schema, sqlitefile.ReadOnly); {
	case err == nil:
		db.Close()
	case !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, sqlitefile.ErrOlder):
		return nil, withKind(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		return nil, withKind(err)
	}
	lock, err := vectors.Lock(path + ".lock")
	switch {
	case errors.Is(err, vectors.ErrLocked):
		return nil, api.WithKind(fmt.Errorf("%s: %w; wait until it is done, or name another file with --store",
			path, ErrInUse), api.KindInput)
	case err != nil:
		return nil, withKind(err)
	}
	db, err := sqlitefile.Open(ctx, path, schema, sqlitefile.Create)
	if err != nil {
		lock.Close()
		return nil, withKind(err)
	}
	return (&Store{path: path, db: db, lock: lock}).opened(ctx)
}

// readMeta reads what the library says of itself.
func (s *Store) readMeta(ctx context.Context) (id []byte, m Model, err error) {
	var model sql.Null[[]byte]
	err = s.db.QueryRowContext(ctx,
		"SELECT value, (SELECT value FROM meta WHERE key = 'model') FROM meta WHERE key = 'store'").Scan(&id, &model)
	if err == nil && model.Valid {
		err = json.Unmarshal(model.V, &m)
	}
	return id, m, s.explain(err)
}

// opened notes what the library says of itself, and closes it where that fails.
func (s *Store) opened(ctx context.Context) (*Store, error) {
	id, m, err := s.readMeta(ctx)
	if err != nil {
		s.Close()
		return nil, err
	}
	copy(s.id[:], id)
	s.model = m
	return s, nil
}

func (s *Store) setModel(m Model) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.model = m
}

// Close closes the library.
func (s *Store) Close() error {
	err := s.db.Close()
	if s.vec != nil {
		err = errors.Join(err, s.vec.Close())
	}
	if s.lock != nil {
		err = errors.Join(err, s.lock.Close())
	}
	return err
}

// Path is the path of the library's file.
func (s *Store) Path() string { return s.path }

// Model is the model that made the library's vectors; the zero value before there are any.
func (s *Store) Model() Model {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.model
}

// Refresh notes what model made the library's vectors, which another process may have made anew with
// another one. Find does so, too.
func (s *Store) Refresh(ctx context.Context) error {
	_, m, err := s.readMeta(ctx)
	if err == nil {
		s.setModel(m)
	}
	return err
}

// explain gives errors about the library's file words.
func (s *Store) explain(err error) error {
	return withKind(sqlitefile.Explain(s.path, schema.What, err))
}

// withKind makes errors about a library's file those of an input.
func withKind(err error) error {
	for _, wraps := range []error{
		sqlitefile.ErrForeign, sqlitefile.ErrNewer, sqlitefile.ErrOlder, sqlitefile.ErrFull, sqlitefile.ErrBusy,
		sqlitefile.ErrDamaged, fs.ErrNotExist, fs.ErrPermission,
	} {
		if errors.Is(err, wraps) {
			return api.WithKind(err, api.KindInput)
		}
	}
	return err
}
