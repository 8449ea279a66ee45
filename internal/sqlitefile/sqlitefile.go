// Package sqlitefile opens SQLite files that hold a program's own data: it sets the pragmas, brings the
// schema up to date, and gives errors words that say what to do. The driver is modernc.org/sqlite,
// which is SQLite without cgo.
package sqlitefile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"syscall"
)

// What Open and Explain wrap, beside what the file system says.
var (
	// ErrForeign says that a file is no SQLite file, or one of another program.
	ErrForeign = errors.New("the file is of another kind")
	// ErrNewer says that a newer program wrote the file.
	ErrNewer = errors.New("the file is of a newer version")
	// ErrOlder says that the schema has to be brought up to date first, which a reader does not do.
	ErrOlder = errors.New("the file is of an older version")
	// ErrFull says that the disk is full, or that a quota is used up.
	ErrFull = errors.New("the disk is full")
	// ErrBusy says that another process held the file for too long.
	ErrBusy = errors.New("the file is in use by another process")
	// ErrDamaged says that the file's contents contradict each other.
	ErrDamaged = errors.New("the file is damaged")
)

// Schema is what a file holds.
type Schema struct {
	// ID is SQLite's application_id, which tells the files of this schema from others.
	ID int32
	// What messages call such a file, such as "library".
	What string
	// PageSize is the size of a new file's pages in bytes; 0 is SQLite's own, 4,096.
	PageSize int
	// Durable has every commit written through to the disk before it returns: a power cut takes nothing.
	Durable bool
	// Pragmas are set on every connection, beside those that all files have, such as "secure_delete(on)".
	Pragmas []string
	// Steps bring a file from each version to the next one, the first from an empty file. Steps that
	// were released never change.
	Steps []string
}

// Mode says how a file is opened.
type Mode int

const (
	// ReadOnly opens a file that is there, and changes nothing.
	ReadOnly Mode = iota
	// ReadWrite opens a file that is there.
	ReadWrite
	// Create opens a file, and makes it if there is none.
	Create
)

// pragmas are those of every connection. The driver sets the time to wait for others first, because the
// next ones may have to wait; then those of _pragma by their names, whatever their order, and the journal
// after them. The write-ahead log lets readers read while a writer writes; with synchronous NORMAL a
// power cut may take the last transactions, and never breaks the file.
var pragmas = url.Values{
	"_busy_timeout": {"10000"}, "_pragma": {"temp_store(memory)"},
	"_foreign_keys": {"on"}, "_journal_mode": {"wal"}, "_synchronous": {"normal"},
	"_txlock": {"immediate"}, // a transaction waits when it begins, and not when it writes first
}

// Open opens the file at path. Errors name it and wrap one of those above, or what the file system says.
func Open(ctx context.Context, path string, schema Schema, mode Mode) (*sql.DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(path)
	switch {
	case err == nil && info.IsDir():
		return nil, fmt.Errorf("%s is a folder; name a file: %w", path, ErrForeign)
	case err != nil && (mode != Create || !errors.Is(err, fs.ErrNotExist)):
		return nil, err
	}
	db, err := connect(ctx, path, schema, mode)
	if err != nil {
		return nil, Explain(path, schema.What, err)
	}
	if err := schema.apply(ctx, db, mode); err != nil {
		db.Close()
		return nil, Explain(path, schema.What, err)
	}
	return db, nil
}

func connect(ctx context.Context, path string, schema Schema, mode Mode) (*sql.DB, error) {
	query := maps.Clone(pragmas)
	query["_pragma"] = slices.Concat(query["_pragma"], schema.Pragmas)
	if schema.Durable {
		query.Set("_synchronous", "full")
	}
	switch {
	case mode == ReadOnly:
		query.Del("_journal_mode")
		query.Del("_txlock")
		query.Set("_query_only", "on")
	case schema.PageSize > 0:
		query.Add("_pragma", fmt.Sprintf("page_size(%d)", schema.PageSize))
	}
	ways := map[Mode][]string{
		// A reader that could write takes the write-ahead log away with it. One that cannot may not even
		// make the log's index beside a file on a disk that is read-only, where nobody writes it either.
		ReadOnly:  {"mode=rw", "mode=ro", "mode=ro&immutable=1"},
		ReadWrite: {"mode=rw"}, Create: {"mode=rwc"},
	}
	var db *sql.DB
	var err error
	for _, way := range ways[mode] {
		address := url.URL{Scheme: "file", OmitHost: true, Path: slashed(path), RawQuery: way + "&" + query.Encode()}
		if db, err = try(ctx, address.String(), mode); !is(err, codeCantOpen, codeReadOnly) {
			break
		}
	}
	return db, err
}

// try opens a file, and reads from it once.
func try(ctx context.Context, address string, mode Mode) (*sql.DB, error) {
	db, err := sql.Open("sqlite", address)
	if err != nil {
		return nil, err
	}
	if mode != ReadOnly {
		db.SetMaxOpenConns(1) // SQLite has one writer; a second one would only wait
	}
	var version int
	if err := db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		db.Close()
		return nil, err
	}
	return db, nil
}

// slashed is a path as a URI has it; on Windows /C:/folder/file.
func slashed(path string) string {
	path = filepath.ToSlash(path)
	if filepath.VolumeName(path) != "" && path[0] != '/' {
		path = "/" + path
	}
	return path
}

// apply checks what a file is, and brings it up to date.
func (s Schema) apply(ctx context.Context, db *sql.DB, mode Mode) error {
	id, version, err := s.state(ctx, db)
	if err != nil || version == len(s.Steps) && id == s.ID {
		return err
	}
	if mode == ReadOnly {
		return fmt.Errorf("%w: version %d of %d", ErrOlder, version, len(s.Steps))
	}
	tx, err := db.BeginTx(ctx, nil) // which waits until no other process writes
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, version, err = s.state(ctx, tx); err != nil {
		return err
	}
	for _, step := range s.Steps[version:] {
		if _, err := tx.ExecContext(ctx, step); err != nil {
			return err
		}
	}
	mark := fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", s.ID, len(s.Steps))
	if _, err := tx.ExecContext(ctx, mark); err != nil {
		return err
	}
	return tx.Commit()
}

// state reads what a file says of itself. An empty one has the version 0.
func (s Schema) state(ctx context.Context, db interface {
	QueryRowContext(context.Context, string, ...any) *sql.Row
}) (id int32, version int, err error) {
	if err = db.QueryRowContext(ctx, "PRAGMA application_id").Scan(&id); err != nil {
		return
	}
	if err = db.QueryRowContext(ctx, "PRAGMA user_version").Scan(&version); err != nil {
		return
	}
	var tables int
	if err = db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&tables); err != nil {
		return
	}
	switch {
	case id != s.ID && tables+version > 0 || id == s.ID && version == 0:
		err = fmt.Errorf("%w: a SQLite file of another program", ErrForeign)
	case version > len(s.Steps):
		err = fmt.Errorf("%w: %d, and this program knows those up to %d", ErrNewer, version, len(s.Steps))
	}
	return
}

// codes are SQLite's results that users meet.
var codes = []struct {
	code   int
	err    error
	advice string
}{
	{codeFull, ErrFull, "make room, and run it again; what was stored before is kept"},
	{codeBusy, ErrBusy, "wait until it is done"},
	{codeCorrupt, ErrDamaged, "restore a backup, or remove it and make it again"},
	{codeReadOnly, fs.ErrPermission, "name a file that may be written"},
	{codeCantOpen, fs.ErrPermission, "it, or its folder, cannot be opened"},
}

// Explain gives an error of the driver about the file at path words that name it and say what to do.
// what is such a file's name in words.
func Explain(path, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrForeign):
		return fmt.Errorf("%s is no %s of xpipe: %w; name another file", path, what, err)
	case errors.Is(err, ErrNewer):
		return fmt.Errorf("%s was written by a newer xpipe: %w; use that one, or another file", path, err)
	case errors.Is(err, ErrOlder):
		return fmt.Errorf("%s was written by an older xpipe: %w; write to it once, and it is brought up to date", path, err)
	}
	if is(err, codeNotADB) {
		return fmt.Errorf("%s is no %s of xpipe: %w (%w); name another file", path, what, ErrForeign, err)
	}
	for _, c := range codes {
		if is(err, c.code) || c.err == ErrFull && errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("%s: %w: %s (%w)", path, c.err, c.advice, err)
		}
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return fmt.Errorf("%s: %w", path, err)
}

// Taken reports whether an error says that a row has a key that another has already.
func Taken(err error) bool {
	return is(err, codeConstraint) && isExtended(err, codePrimaryKey, codeUnique)
}

// Constraint reports whether an error says that a row breaks a rule of its table.
func Constraint(err error) bool { return is(err, codeConstraint) }

// SQLite's result codes, as sqlite3.h has them.
const (
	codeBusy       = 5
	codeReadOnly   = 8
	codeCorrupt    = 11
	codeFull       = 13
	codeCantOpen   = 14
	codeConstraint = 19
	codeNotADB     = 26

	codePrimaryKey = codeConstraint | 6<<8
	codeUnique     = codeConstraint | 8<<8
)

// is reports whether an error is one of SQLite's, by the primary codes.
func is(err error, codes ...int) bool {
	code, ok := resultCode(err)
	return ok && slices.Contains(codes, code&0xff)
}

func isExtended(err error, codes ...int) bool {
	code, ok := resultCode(err)
	return ok && slices.Contains(codes, code)
}
