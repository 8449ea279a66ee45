package store

import (
	"archive/zip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/internal/sqlitefile"
	"github.com/crossattn/xpipe/studio"
)

// A backup is a zip file: backupName says what it is, then the database, contents by hash and, where
// that was asked for, the key file.
const (
	backupName    = "backup.json"
	backupFormat  = "xpipe-studio-backup"
	backupVersion = 1
)

type backupHead struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Schema  int    `json:"schema"`
}

// BackupOptions say what a backup holds.
type BackupOptions struct {
	// Keys puts the key file in, too: who has the backup then has the keys of upstreams.
	Keys bool
}

// Backup writes everything to a new file, as it is at one moment, while others read and write. The
// file has its name only when it is whole and on the disk.
func (s *Store) Backup(ctx context.Context, path string, options BackupOptions) (err error) {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	tmp, err := os.MkdirTemp(filepath.Dir(path), ".xpipe-backup-*") // mode 0700
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	part := filepath.Join(tmp, "backup.zip")
	if err := s.backup(ctx, tmp, part, options); err != nil {
		return fault(err)
	}
	if err := os.Rename(part, path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func (s *Store) backup(ctx context.Context, tmp, part string, options BackupOptions) (err error) {
	f, err := os.OpenFile(part, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	z := zipWriter{zip.NewWriter(f)}
	// Contents first, then those that came meanwhile; a content that was purged while it was being
	// copied is in no later copy of the database. It ends as soon as a copy of the database has all
	// its contents in the file.
	written := map[studio.Hash]bool{}
	for try := 0; ; try++ {
		copied := filepath.Join(tmp, fmt.Sprintf("%d.db", try))
		hashes, schema, err := s.copyDatabase(ctx, copied)
		if err != nil {
			return err
		}
		gone := false
		for _, hash := range hashes {
			if written[hash] {
				continue
			}
			f, err := os.Open(blobPath(s.dir, hash))
			if errors.Is(err, fs.ErrNotExist) {
				gone = true
				continue
			}
			if err != nil {
				return err
			}
			err = z.file(ctx, contentsFolder+string(hash), f)
			if err = errors.Join(err, f.Close()); err != nil {
				return err
			}
			written[hash] = true
		}
		const tries = 5
		if gone && try < tries {
			continue
		}
		if gone {
			return fmt.Errorf("%w: files of contents are missing in %s", studio.ErrDamaged, filepath.Join(s.dir, blobsName))
		}
		if err := z.finish(ctx, copied, schema); err != nil {
			return err
		}
		break
	}
	if options.Keys {
		key, err := os.Open(s.keys.path)
		if err == nil {
			err = errors.Join(z.file(ctx, keyName, key), key.Close())
		} else if errors.Is(err, fs.ErrNotExist) { // no key was ever set
			err = nil
		}
		if err != nil {
			return err
		}
	}
	if err := z.Close(); err != nil {
		return err
	}
	return f.Sync()
}

// copyDatabase copies the database as it is at one moment, and lists its contents.
func (s *Store) copyDatabase(ctx context.Context, to string) (hashes []studio.Hash, number int, err error) {
	schema, err := schemaOf(steps)
	if err != nil {
		return nil, 0, err
	}
	// Its schema is the last one, or the store would not be open: nothing is brought up to date.
	db, err := sqlitefile.Open(ctx, filepath.Join(s.dir, databaseName), schema, sqlitefile.ReadWrite)
	if err != nil {
		return nil, 0, err
	}
	_, err = db.ExecContext(ctx, "VACUUM INTO ?", to)
	if err = errors.Join(err, db.Close()); err != nil {
		return nil, 0, err
	}
	if db, err = sqlitefile.Open(ctx, to, schema, sqlitefile.ReadWrite); err != nil {
		return nil, 0, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	// The copy is one file: what sets its mode takes its log in.
	var mode string
	if err := db.QueryRowContext(ctx, "PRAGMA journal_mode(DELETE)").Scan(&mode); err != nil {
		return nil, 0, err
	}
	hashes, err = rows(ctx, db, one[studio.Hash], "SELECT hash FROM blobs ORDER BY hash")
	return hashes, len(schema.Steps), err
}

func (z zipWriter) file(ctx context.Context, name string, r io.Reader) error {
	method := zip.Store // pictures and sounds do not get smaller
	if name == databaseName {
		method = zip.Deflate
	}
	w, err := z.CreateHeader(&zip.FileHeader{Name: name, Method: method})
	if err == nil {
		_, err = io.Copy(w, readerOf(ctx, r))
	}
	return err
}

func (z zipWriter) finish(ctx context.Context, database string, schema int) error {
	f, err := os.Open(database)
	if err != nil {
		return err
	}
	if err = errors.Join(z.file(ctx, databaseName, f), f.Close()); err != nil {
		return err
	}
	return z.json(backupName, backupHead{backupFormat, backupVersion, schema})
}

// Restore makes a data folder of a backup. The folder must not be there, or be empty. It has its
// name only when everything in it was checked and is on the disk.
func Restore(ctx context.Context, backup, dir string) error {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	entries, err := os.ReadDir(dir)
	if err == nil && len(entries) > 0 {
		return fmt.Errorf("%w: %s is not empty; move it away, or give another folder", studio.ErrInvalid, dir)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o700); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(dir), ".xpipe-restore-*")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if err := restore(ctx, backup, tmp); err != nil {
		return fault(err)
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, fs.ErrNotExist) { // an empty one
		return err
	}
	if err := os.Rename(tmp, dir); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

func restore(ctx context.Context, backup, dir string) error {
	z, err := zip.OpenReader(backup)
	if errors.Is(err, zip.ErrFormat) {
		return fmt.Errorf("%w: %s is no zip file", studio.ErrInvalid, backup)
	}
	if err != nil {
		return err
	}
	defer z.Close()
	var h backupHead
	held := map[studio.Hash]bool{}
	seen := map[string]bool{}
	for _, f := range z.File {
		if seen[f.Name] {
			return fmt.Errorf("%w: %s is twice in the backup", studio.ErrDamaged, f.Name)
		}
		seen[f.Name] = true
		hash, isContent := strings.CutPrefix(f.Name, contentsFolder)
		// Names are compared, never joined to a path as they are.
		switch {
		case f.Name == backupName:
			r, err := f.Open()
			if err != nil {
				return err
			}
			err = json.NewDecoder(io.LimitReader(r, 1<<16)).Decode(&h)
			if err = errors.Join(err, r.Close()); err != nil {
				return fmt.Errorf("%w: %s: %w", studio.ErrDamaged, f.Name, err)
			}
		case f.Name == databaseName:
			err = unpack(ctx, f, filepath.Join(dir, databaseName))
		case f.Name == keyName:
			err = unpack(ctx, f, filepath.Join(dir, keyName))
		case isContent && studio.Hash(hash).Valid():
			path := blobPath(dir, studio.Hash(hash))
			if err = os.MkdirAll(filepath.Dir(path), 0o700); err == nil {
				err = unpack(ctx, f, path)
			}
			if err == nil {
				err = checkBlob(path, studio.Hash(hash))
			}
			held[studio.Hash(hash)] = true
		default:
			err = fmt.Errorf("%w: %q is nothing that a backup has", studio.ErrInvalid, f.Name)
		}
		if err != nil {
			return err
		}
	}
	switch {
	case h.Format != backupFormat || !seen[databaseName]:
		return fmt.Errorf("%w: %s is no backup of a studio", studio.ErrInvalid, backup)
	case h.Version > backupVersion:
		return fmt.Errorf("%w: the backup has version %d, and this xpipe knows %d", studio.ErrNewer, h.Version, backupVersion)
	}
	if err := checkDatabase(ctx, filepath.Join(dir, databaseName), held); err != nil {
		return err
	}
	return filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			err = syncDir(path)
		}
		return err
	})
}

func unpack(ctx context.Context, f *zip.File, path string) error {
	r, err := f.Open()
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, readerOf(ctx, r))
	if errors.Is(err, zip.ErrChecksum) || errors.Is(err, zip.ErrFormat) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = fmt.Errorf("%w: %s: %w", studio.ErrDamaged, f.Name, err)
	}
	return errors.Join(err, w.Sync(), w.Close())
}

// checkDatabase reports whether a database is whole and has the contents that are held.
func checkDatabase(ctx context.Context, path string, held map[studio.Hash]bool) (err error) {
	const leastPage = 512 // what is shorter would become an empty studio
	if info, err := os.Stat(path); err != nil || info.Size() < leastPage {
		return errors.Join(fmt.Errorf("%w: the backup's database is empty", studio.ErrDamaged), err)
	}
	schema, err := schemaOf(steps)
	if err != nil {
		return err
	}
	db, err := sqlitefile.Open(ctx, path, schema, sqlitefile.ReadWrite) // one of an older version is brought up to date
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fault(db.Close())) }()
	problems, err := rows(ctx, db, one[string], "PRAGMA integrity_check")
	if err != nil {
		return err
	}
	if !slices.Equal(problems, []string{"ok"}) {
		return fmt.Errorf("%w: %s", studio.ErrDamaged, strings.Join(problems, "; "))
	}
	hashes, err := rows(ctx, db, one[studio.Hash], "SELECT hash FROM blobs")
	if err != nil {
		return err
	}
	for _, hash := range hashes {
		if !held[hash] {
			return fmt.Errorf("%w: the backup lacks the content %s", studio.ErrDamaged, hash)
		}
	}
	return nil
}
