// Package store keeps a studio (package studio) in one folder: a SQLite database in WAL mode, the
// contents of attachments in files named by their hash, and the key file that upstreams' keys are
// sealed with.
//
//	studio.db        the database; beside it, while it is open, studio.db-wal and studio.db-shm
//	blobs/ab/ab...   contents, by SHA-256
//	studio.key       32 bytes in hexadecimal digits, mode 0600
//	studio.lock      locked by the process that writes
//	tmp/             contents that are being taken in
//
// Invariants, and where they are held:
//
//   - What was acknowledged is on the disk: synchronous=FULL (schemaOf), PutBlob (blobs.go).
//   - One process writes (Open); one connection of it does (write), so no writer meets another.
//   - Schemas only go forward, and a released one never changes (migrate.go).
//   - The index of words holds what the messages hold (index.go), in the same transaction.
//   - A blob's file is there before its row and goes after it (blobs.go). Those that end between are
//     cleaned up when the store is opened.
//   - What is purged is overwritten: secure_delete here, secure-delete in the index, and the log is
//     emptied (trash.go).
package store

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
	"time"

	"github.com/crossattn/xpipe/internal/filelock"
	"github.com/crossattn/xpipe/internal/sqlitefile"
	"github.com/crossattn/xpipe/studio"
)

// Names in the data folder.
const (
	databaseName = "studio.db"
	keyName      = "studio.key"
	lockName     = "studio.lock"
	blobsName    = "blobs"
	tmpName      = "tmp"
)

// Options say how a store is opened. The zero value opens it to write, and makes it where there is
// none.
type Options struct {
	// ReadOnly opens a store that is there, also one that another process writes to. Methods that
	// write give an error.
	ReadOnly bool
	// Now is the clock; nil is time.Now.
	Now func() time.Time
}

// Store is a studio.Store in a folder.
type Store struct {
	dir    string
	writer *sql.DB // of one connection
	reader *sql.DB
	lock   *os.File
	now    func() time.Time

	clock sync.Mutex
	last  int64 // the last time that was given out, in microseconds

	files   sync.Mutex // held where files of blobs and their rows change
	vectors vectors
	keys    keyring
}

var _ studio.Store = (*Store)(nil)

// DefaultDir is where data of users lies on this system: XDG_DATA_HOME or ~/.local/share, on macOS
// ~/Library/Application Support, on Windows %LocalAppData%; in it the folder xpipe/studio. getenv is
// os.Getenv or a test's.
func DefaultDir(getenv func(string) string) (string, error) {
	return defaultDir(runtime.GOOS, getenv)
}

func defaultDir(system string, getenv func(string) string) (string, error) {
	base, home := "", getenv("HOME")
	switch {
	case system == "windows":
		base = getenv("LocalAppData")
	case filepath.IsAbs(getenv("XDG_DATA_HOME")): // relative ones are to be ignored, says the specification
		base = getenv("XDG_DATA_HOME")
	case home == "":
	case system == "darwin" || system == "ios":
		base = filepath.Join(home, "Library", "Application Support")
	default:
		base = filepath.Join(home, ".local", "share")
	}
	if base == "" {
		return "", errors.New("the environment does not say where data lies (HOME, XDG_DATA_HOME, LocalAppData); say it with --data DIR")
	}
	return filepath.Join(base, "xpipe", "studio"), nil
}

// readers is how many connections read at once; each has a cache of its own.
const readers = 4

// Open opens the store in a folder.
func Open(ctx context.Context, dir string, options Options) (*Store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	s := &Store{dir: dir, now: options.Now}
	if s.now == nil {
		s.now = time.Now
	}
	s.keys.path = filepath.Join(dir, keyName)
	if err := s.open(ctx, options); err != nil {
		s.Close()
		return nil, fmt.Errorf("studio in %s: %w", dir, fault(err))
	}
	return s, nil
}

func (s *Store) open(ctx context.Context, options Options) error {
	schema, err := schemaOf(steps)
	if err != nil {
		return err
	}
	path := filepath.Join(s.dir, databaseName)
	if !options.ReadOnly {
		for _, dir := range []string{s.dir, filepath.Join(s.dir, blobsName), filepath.Join(s.dir, tmpName)} {
			if err := os.MkdirAll(dir, 0o700); err != nil {
				return err
			}
		}
		if err := s.takeLock(); err != nil {
			return err
		}
		// SQLite gives the files beside it the mode of the first.
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		f.Close()
		if s.writer, err = sqlitefile.Open(ctx, path, schema, sqlitefile.ReadWrite); err != nil {
			return err
		}
	}
	s.reader, err = sqlitefile.Open(ctx, path, schema, sqlitefile.ReadOnly)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: there is no %s", studio.ErrNotFound, databaseName)
	}
	if err != nil {
		return err
	}
	s.reader.SetMaxOpenConns(readers)
	s.reader.SetMaxIdleConns(readers)
	if options.ReadOnly {
		return nil
	}
	return s.recover(ctx)
}

// takeLock makes this the process that writes.
func (s *Store) takeLock() error {
	f, err := os.OpenFile(filepath.Join(s.dir, lockName), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	s.lock = f
	if err := filelock.TryLock(f); errors.Is(err, filelock.ErrLocked) {
		return fmt.Errorf("%w: stop it first", studio.ErrLocked)
	} else if err != nil && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// recover cleans up after a process that ended in the middle of things.
func (s *Store) recover(ctx context.Context) error {
	err := s.write(ctx, func(tx *sql.Tx) error {
		now := s.tick()
		unfinished, err := rows(ctx, tx, one[int64], "SELECT n FROM messages WHERE state IN ('waiting', 'writing')")
		if err != nil {
			return err
		}
		for _, n := range unfinished {
			before, err := messageEntries(ctx, tx, n)
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(ctx, "UPDATE messages SET state = 'stopped', updated = ? WHERE n = ?", now, n); err != nil {
				return err
			}
			after, err := messageEntries(ctx, tx, n)
			if err != nil {
				return err
			}
			if err := reindex(ctx, tx, before, after); err != nil {
				return err
			}
		}
		// Jobs go on where they were.
		if _, err := tx.ExecContext(ctx, "UPDATE jobs SET state = 'waiting', updated = ? WHERE state = 'writing'", now); err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, "UPDATE job_rows SET state = 'waiting' WHERE state = 'writing'")
		return err
	})
	if err != nil {
		return err
	}
	return s.sweep(ctx)
}

// Close closes the store. What was written is on the disk already.
func (s *Store) Close() error {
	var errs []error
	for _, db := range []*sql.DB{s.reader, s.writer} { // the writer last: it empties the log
		if db != nil {
			errs = append(errs, db.Close())
		}
	}
	if s.lock != nil {
		errs = append(errs, s.lock.Close())
	}
	return fault(errors.Join(errs...))
}

// Dir is the store's folder.
func (s *Store) Dir() string { return s.dir }

// tick returns the time, in microseconds, and never the same twice, so that what was put in the
// trash at once can be told from what came after.
func (s *Store) tick() int64 {
	s.clock.Lock()
	defer s.clock.Unlock()
	s.last = max(s.now().UnixMicro(), s.last+1)
	return s.last
}

// write runs f in a transaction. What f returns nil for is on the disk when write returns nil.
func (s *Store) write(ctx context.Context, f func(tx *sql.Tx) error) error {
	if s.writer == nil {
		return errors.New("the store was opened to be read")
	}
	tx, err := s.writer.BeginTx(ctx, nil)
	if err != nil {
		return fault(err)
	}
	if err := f(tx); err != nil {
		tx.Rollback()
		return fault(err)
	}
	return fault(tx.Commit())
}

// querier is a database or a transaction.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// rows runs a query and scans each of its rows.
func rows[T any](
	ctx context.Context, q querier, scan func(scan func(...any) error) (T, error), query string, args ...any,
) ([]T, error) {
	r, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fault(err)
	}
	defer r.Close()
	var list []T
	for r.Next() {
		v, err := scan(r.Scan)
		if err != nil {
			return nil, fault(err)
		}
		list = append(list, v)
	}
	return list, fault(r.Err())
}

// row runs a query for one row; ErrNotFound names what is not there.
func row[T any](
	ctx context.Context, q querier, what string, scan func(scan func(...any) error) (T, error), query string, args ...any,
) (*T, error) {
	v, err := scan(q.QueryRowContext(ctx, query, args...).Scan)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("%w: there is no such %s", studio.ErrNotFound, what)
	}
	if err != nil {
		return nil, fault(err)
	}
	return &v, nil
}

// one scans a single value.
func one[T any](scan func(...any) error) (v T, err error) { return v, scan(&v) }

// fault makes an error of SQLite or of the system one of package studio, where there is one.
func fault(err error) error {
	if err == nil {
		return nil
	}
	if sqlitefile.Constraint(err) {
		return as(studio.ErrInvalid, err)
	}
	explained := sqlitefile.Explain(databaseName, "studio", err)
	for _, known := range []struct{ theirs, ours error }{
		{studio.ErrFull, nil}, {studio.ErrDamaged, nil}, {studio.ErrNewer, nil}, // said already
		{sqlitefile.ErrFull, studio.ErrFull},
		{errQuota, studio.ErrFull},
		{sqlitefile.ErrDamaged, studio.ErrDamaged},
		{sqlitefile.ErrForeign, studio.ErrDamaged},
		{sqlitefile.ErrNewer, studio.ErrNewer},
	} {
		switch {
		case errors.Is(err, known.theirs) && known.ours == nil:
			return err
		case errors.Is(err, known.theirs): // it has its words
			return as(known.ours, err)
		case known.ours != nil && errors.Is(explained, known.theirs):
			return as(known.ours, explained)
		}
	}
	return err
}

// as has an error be one of package studio's, too, without further words.
func as(kind, err error) error { return ofKind{err, kind} }

type ofKind struct {
	error
	kind error
}

func (e ofKind) Unwrap() []error { return []error{e.error, e.kind} }

func toJSON(v any) (string, error) {
	b, err := json.Marshal(v)
	return string(b), err
}

func fromJSON(text string, v any) error {
	if err := json.Unmarshal([]byte(text), v); err != nil {
		return fmt.Errorf("%w: %w", studio.ErrDamaged, err)
	}
	return nil
}

// stamp holds the three times of a row while it is scanned.
type stamp struct {
	created, updated int64
	trashed          sql.NullInt64
}

func (s stamp) Stamp() studio.Stamp {
	out := studio.Stamp{Created: at(s.created), Updated: at(s.updated)}
	if s.trashed.Valid {
		t := at(s.trashed.Int64)
		out.Trashed = &t
	}
	return out
}

func at(micros int64) time.Time { return time.UnixMicro(micros).UTC() }

// begin gives a thing that is added its ID and times. Times that are set stay, as those of what is
// imported; the trash does not.
func (s *Store) begin(id *studio.ID, t *studio.Stamp) error {
	if *id == "" {
		*id = studio.NewID()
	} else if !id.Valid() {
		return fmt.Errorf("%w: %q is no ID", studio.ErrInvalid, *id)
	}
	now := at(s.tick())
	if t.Created.IsZero() {
		t.Created = now
	}
	if t.Updated.IsZero() {
		t.Updated = t.Created
	}
	t.Created, t.Updated = at(t.Created.UnixMicro()), at(t.Updated.UnixMicro())
	t.Trashed = nil
	return nil
}

// update changes a thing in one transaction: get reads it, put stores what change made of it.
func update[T any](
	ctx context.Context, s *Store, get func(querier) (*T, error), change func(*T) error,
	put func(tx *sql.Tx, before, after *T) error,
) (*T, error) {
	var after *T
	err := s.write(ctx, func(tx *sql.Tx) error {
		before, err := get(tx)
		if err != nil {
			return err
		}
		if after, err = get(tx); err != nil { // a copy that shares nothing
			return err
		}
		if err := change(after); err != nil {
			return err
		}
		return put(tx, before, after)
	})
	if err != nil {
		return nil, err
	}
	return after, nil
}
