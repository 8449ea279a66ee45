package store

import (
	"context"
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/crossattn/xpipe/studio"
)

// blobPath is where a content lies. Whoever calls has checked the hash.
func blobPath(dir string, hash studio.Hash) string {
	return filepath.Join(dir, blobsName, string(hash[:2]), string(hash))
}

// PutBlob keeps a content: it is written through to the disk under another name first.
func (s *Store) PutBlob(ctx context.Context, content io.Reader, limit int64) (*studio.Blob, error) {
	if s.writer == nil {
		return nil, errors.New("the store was opened to be read")
	}
	blob, err := s.putBlob(ctx, content, limit)
	return blob, fault(err)
}

func (s *Store) putBlob(ctx context.Context, content io.Reader, limit int64) (blob *studio.Blob, err error) {
	f, err := os.CreateTemp(filepath.Join(s.dir, tmpName), "blob-*") // mode 0600
	if err != nil {
		return nil, err
	}
	defer func() {
		f.Close()
		os.Remove(f.Name()) // where it is still there
	}()
	sum := sha256.New()
	in := io.Reader(readerOf(ctx, content))
	if limit > 0 {
		in = io.LimitReader(in, limit+1)
	}
	size, err := io.Copy(io.MultiWriter(f, sum), in)
	if err != nil {
		return nil, err
	}
	if limit > 0 && size > limit {
		return nil, fmt.Errorf("%w: the file is larger than %d bytes", studio.ErrInvalid, limit)
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return nil, err
	}
	blob = &studio.Blob{Hash: studio.Hash(hex.EncodeToString(sum.Sum(nil))), Size: size}
	s.files.Lock() // a purge does not take the file away before the row is there
	defer s.files.Unlock()
	path := blobPath(s.dir, blob.Hash)
	if info, err := os.Stat(path); err != nil || info.Size() != size { // there, or damaged
		if err := place(f.Name(), path); err != nil {
			return nil, err
		}
	}
	err = s.write(ctx, func(tx *sql.Tx) error {
		var created int64
		err := tx.QueryRowContext(ctx, "INSERT INTO blobs (hash, size, created) VALUES (?, ?, ?)"+
			" ON CONFLICT (hash) DO UPDATE SET pending = 1, created = excluded.created RETURNING created", blob.Hash, size, s.tick()).Scan(&created)
		blob.Created = at(created)
		return err
	})
	return blob, err
}

// place moves a file that is on the disk to its name, for good: the folders are written through.
func place(from, to string) error {
	dir := filepath.Dir(to)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	if err := syncDir(dir); err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// syncDir writes a folder's entries through to the disk. Windows has nothing of the kind.
func syncDir(dir string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// writeFile makes a file that only its owner reads, whole or not at all, on the disk. One that is
// there stays and is an error.
func writeFile(path string, data []byte) error {
	if _, err := os.Lstat(path); err == nil {
		return fmt.Errorf("%s: %w", path, fs.ErrExist)
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// readerOf reads until the context is done.
func readerOf(ctx context.Context, r io.Reader) io.Reader { return contextReader{ctx, r} }

type contextReader struct {
	ctx context.Context
	io.Reader
}

func (r contextReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(p)
}

// OpenBlob opens a content.
func (s *Store) OpenBlob(ctx context.Context, blob studio.Hash) (*os.File, error) {
	if !blob.Valid() {
		return nil, fmt.Errorf("%w: %q is no hash", studio.ErrInvalid, blob)
	}
	if _, err := row(ctx, s.reader, "content", one[int64], "SELECT n FROM blobs WHERE hash = ?", blob); err != nil {
		return nil, err
	}
	f, err := os.Open(blobPath(s.dir, blob))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: the file of the content %s is gone", studio.ErrDamaged, blob)
	}
	return f, err
}

// owner is who has attachments: one of the three.
type owner struct {
	message int64
	prompt  studio.ID
	job     studio.ID
}

func (o owner) column() (string, any) {
	switch {
	case o.message != 0:
		return "message", o.message
	case o.prompt != "":
		return "prompt", o.prompt
	}
	return "job", o.job
}

// attach makes parts the attachments of an owner, in place of those it had. Their sizes are set.
func attach(ctx context.Context, tx *sql.Tx, o owner, parts []studio.Part) error {
	column, key := o.column()
	if _, err := tx.ExecContext(ctx, "DELETE FROM attachments WHERE "+column+" = ?", key); err != nil {
		return err
	}
	for i, p := range parts {
		if p.Kind == studio.KindText {
			continue
		}
		n, err := row(ctx, tx, "content", one[int64], "UPDATE blobs SET pending = 0 WHERE hash = ? RETURNING n", p.Blob)
		if err != nil {
			return fmt.Errorf("attachment %q: %w", p.Name, err)
		}
		_, err = tx.ExecContext(ctx, "INSERT INTO attachments (blob, "+column+", part, kind, name, type) VALUES (?, ?, ?, ?, ?, ?)",
			*n, key, i, p.Kind, p.Name, p.Type)
		if err != nil {
			return err
		}
	}
	return nil
}

// unused is the condition of blobs that nobody has.
const unused = "NOT EXISTS (SELECT 1 FROM attachments a WHERE a.blob = blobs.n)"

// doom takes the rows of some blobs away, if nobody has them, and notes that their files are to go.
// condition chooses the blobs. It returns their rows' numbers.
func doom(ctx context.Context, tx *sql.Tx, condition string, args ...any) ([]int64, error) {
	_, err := tx.ExecContext(ctx, "INSERT OR IGNORE INTO doomed SELECT hash FROM blobs WHERE "+unused+" AND "+condition, args...)
	if err != nil {
		return nil, err
	}
	return rows(ctx, tx, one[int64], "DELETE FROM blobs WHERE "+unused+" AND "+condition+" RETURNING n", args...)
}

// removeDoomed deletes the files of blobs that have no row any more. The caller holds s.files.
func (s *Store) removeDoomed(ctx context.Context) error {
	hashes, err := rows(ctx, s.writer, one[studio.Hash],
		"SELECT hash FROM doomed WHERE hash NOT IN (SELECT hash FROM blobs)")
	if err != nil {
		return err
	}
	for _, hash := range hashes {
		path := blobPath(s.dir, hash)
		if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return s.write(ctx, func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, "DELETE FROM doomed")
		return err
	})
}

// unusedFor is how long a content is kept that nothing has.
const unusedFor = 24 * time.Hour

// sweep deletes what a process left that ended in the middle: contents half taken in, files without
// a row, and contents that nothing has had for a day.
func (s *Store) sweep(ctx context.Context) error {
	s.files.Lock()
	defer s.files.Unlock()
	halves, err := os.ReadDir(filepath.Join(s.dir, tmpName))
	if err != nil {
		return err
	}
	for _, e := range halves {
		if err := os.RemoveAll(filepath.Join(s.dir, tmpName, e.Name())); err != nil {
			return err
		}
	}
	err = s.write(ctx, func(tx *sql.Tx) error {
		_, err := doom(ctx, tx, "(pending = 0 OR created < ?)", s.now().Add(-unusedFor).UnixMicro())
		return err
	})
	if err != nil {
		return err
	}
	if err := s.removeDoomed(ctx); err != nil {
		return err
	}
	held, err := rows(ctx, s.reader, one[studio.Hash], "SELECT hash FROM blobs")
	if err != nil {
		return err
	}
	known := make(map[studio.Hash]bool, len(held))
	for _, h := range held {
		known[h] = true
	}
	return filepath.WalkDir(filepath.Join(s.dir, blobsName), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		// What is no blob's name is none of ours.
		if hash := studio.Hash(e.Name()); hash.Valid() && !known[hash] && path == blobPath(s.dir, hash) {
			return os.Remove(path)
		}
		return nil
	})
}

// checkBlob reports whether a file has the content that its name says.
func checkBlob(path string, hash studio.Hash) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return err
	}
	if got := hex.EncodeToString(sum.Sum(nil)); got != string(hash) {
		return fmt.Errorf("%w: the content %s has changed", studio.ErrDamaged, hash)
	}
	return nil
}
