package index

import (
	"context"
	"database/sql"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/crossattn/xpipe/index/vectors"
	"github.com/crossattn/xpipe/vision"
)

// commitEvery bounds what a run that is killed loses, in files and in time.
const (
	commitFiles = 64
	commitEvery = time.Second
)

// writer changes a library, in transactions that hold some files each. The vectors' file follows each of
// them, and where it could not it is brought up to date when the library is written the next time.
type writer struct {
	s   *Store
	vec *vectors.File

	tx         *sql.Tx
	began      time.Time
	files      int
	generation int64
	slots      []int64 // whose vectors the transaction changes
	rows       [][]float32
}

// newWriter brings the vectors' file up to date.
func (s *Store) newWriter(ctx context.Context) (*writer, error) {
	w := &writer{s: s}
	dim := s.Model().Dim
	if dim == 0 {
		return w, nil
	}
	var err error
	if w.vec, err = vectors.Create(vectorPath(s.path), s.id, dim); err != nil {
		return nil, withKind(err)
	}
	generation, err := s.generation(ctx)
	if err == nil && w.vec.Generation() != uint64(generation) {
		err = w.rebuild(ctx, generation)
	}
	if err != nil {
		w.vec.Close()
		return nil, s.explain(err)
	}
	return w, nil
}

func (s *Store) generation(ctx context.Context) (n int64, err error) {
	return n, s.db.QueryRowContext(ctx, "SELECT value FROM meta WHERE key = 'generation'").Scan(&n)
}

// rebuild writes all vectors to their file.
func (w *writer) rebuild(ctx context.Context, generation int64) error {
	if err := w.vec.SetGeneration(0); err != nil {
		return err
	}
	found, err := w.s.db.QueryContext(ctx, "SELECT slot, vector FROM vectors ORDER BY slot")
	if err != nil {
		return err
	}
	defer found.Close()
	const atOnce = 4096
	next := int64(0)
	put := func() error {
		err := w.vec.Put(w.slots, w.rows)
		w.slots, w.rows = w.slots[:0], w.rows[:0]
		return err
	}
	for found.Next() {
		var slot int64
		var data []byte
		if err := found.Scan(&slot, &data); err != nil {
			return err
		}
		for ; next <= slot; next++ {
			row := []float32(nil) // slots between have none
			if next == slot {
				row = floatsOf(data)
			}
			w.slots, w.rows = append(w.slots, next), append(w.rows, row)
		}
		if len(w.slots) >= atOnce {
			if err := put(); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(found.Err(), put(), w.vec.ClearFrom(next)); err != nil {
		return err
	}
	return w.vec.SetGeneration(uint64(generation))
}

// begin begins a transaction unless one is on.
func (w *writer) begin(ctx context.Context) error {
	if w.tx != nil {
		return nil
	}
	tx, err := w.s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	err = tx.QueryRowContext(ctx,
		"UPDATE meta SET value = value + 1 WHERE key = 'generation' RETURNING value").Scan(&w.generation)
	if err != nil {
		tx.Rollback()
		return err
	}
	w.tx, w.began, w.files, w.slots, w.rows = tx, time.Now(), 0, nil, nil
	return nil
}

// change does something in a transaction, and commits it with those before where it is time.
func (w *writer) change(ctx context.Context, do func(tx *sql.Tx) error) error {
	err := w.begin(ctx)
	if err == nil {
		err = do(w.tx)
	}
	if err == nil {
		if w.files++; w.files >= commitFiles || time.Since(w.began) >= commitEvery {
			err = w.commit(ctx)
		}
	}
	if err != nil {
		w.rollback()
		return w.s.explain(err)
	}
	return nil
}

func (w *writer) rollback() {
	if w.tx != nil {
		w.tx.Rollback()
		w.tx = nil
	}
}

// commit ends the transaction. It makes no use of ctx's end: what was done is kept.
func (w *writer) commit(context.Context) error {
	if w.tx == nil {
		return nil
	}
	tx := w.tx
	w.tx = nil
	if err := tx.Commit(); err != nil {
		return err
	}
	if w.vec == nil {
		return nil
	}
	if err := w.vec.Put(w.slots, w.rows); err != nil {
		return err
	}
	return w.vec.SetGeneration(uint64(w.generation))
}

// close commits what is left.
func (w *writer) close() error {
	err := w.commit(context.Background())
	if w.vec != nil {
		err = errors.Join(err, w.vec.Close())
	}
	return w.s.explain(err)
}

// setModel notes the model whose vectors the library holds from now on, and takes those of another one
// away.
func (w *writer) setModel(ctx context.Context, m Model) error {
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	if err := w.begin(ctx); err != nil {
		return w.s.explain(err)
	}
	for _, step := range []struct {
		query string
		args  []any
	}{
		{"DELETE FROM vectors", nil},
		{"INSERT OR REPLACE INTO meta VALUES ('model', ?)", []any{data}},
	} {
		if _, err = w.tx.ExecContext(ctx, step.query, step.args...); err != nil {
			w.rollback()
			return w.s.explain(err)
		}
	}
	if w.vec != nil {
		err = w.vec.Close()
		w.vec = nil
	}
	if err = errors.Join(err, w.commit(ctx)); err != nil {
		return w.s.explain(err)
	}
	w.s.setModel(m)
	again, err := w.s.newWriter(ctx)
	if err == nil {
		*w = *again
	}
	return err
}

// fileRow is what the library notes of a file.
type fileRow struct {
	task
	hash  []byte
	taken vision.Taken
	look  *int64
}

// item is a part of a file.
type item struct {
	page       int // 0: none
	start, end *float64
	text       string
	vector     []float32 // nil: none
}

// putFile notes a file with its items, in the place of what was known of it.
func (w *writer) putFile(ctx context.Context, tx *sql.Tx, f fileRow, items []item) error {
	var latitude, longitude *float64
	if !math.IsNaN(f.taken.Latitude) {
		latitude, longitude = &f.taken.Latitude, &f.taken.Longitude
	}
	var id int64
	err := tx.QueryRowContext(ctx, `INSERT INTO files (path, kind, size, modified, hash, worded, taken, latitude, longitude, look)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (path) DO UPDATE SET kind = excluded.kind, size = excluded.size, modified = excluded.modified,
		hash = excluded.hash, worded = excluded.worded, taken = excluded.taken, latitude = excluded.latitude,
		longitude = excluded.longitude, look = excluded.look RETURNING id`,
		f.Path, f.Kind, f.Info.Size(), f.Info.ModTime().UnixNano(), f.hash, f.words, f.taken.Time.UnixNano(),
		latitude, longitude, f.look).Scan(&id)
	if err != nil {
		return err
	}
	if f.known != nil {
		if err := w.removeItems(ctx, tx, id); err != nil {
			return err
		}
	}
	name := nameWords(f.Path, f.root)
	for _, it := range items {
		page := sql.NullInt64{Int64: int64(it.page), Valid: it.page > 0}
		var at int64
		err := tx.QueryRowContext(ctx, "INSERT INTO items (file, page, start, end) VALUES (?, ?, ?, ?) RETURNING id",
			id, page, it.start, it.end).Scan(&at)
		if err != nil {
			return err
		}
		if _, err := tx.ExecContext(ctx, "INSERT INTO words (rowid, name, text) VALUES (?, ?, ?)", at, name, spread(it.text)); err != nil {
			return err
		}
		if it.vector != nil {
			if err := w.putVector(ctx, tx, at, it.vector); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *writer) putVector(ctx context.Context, tx *sql.Tx, item int64, vector []float32) error {
	if dim := w.s.Model().Dim; len(vector) != dim {
		return fmt.Errorf("a vector of %d numbers for a library of those of %d", len(vector), dim)
	}
	var slot int64
	err := tx.QueryRowContext(ctx, "INSERT INTO vectors (item, generation, vector) VALUES (?, ?, ?) RETURNING slot",
		item, w.generation, bytesOf(vector)).Scan(&slot)
	w.slots, w.rows = append(w.slots, slot), append(w.rows, vector)
	return err
}

// removeItems takes the items of a file away.
func (w *writer) removeItems(ctx context.Context, tx *sql.Tx, file int64) error {
	found, err := tx.QueryContext(ctx, "SELECT v.slot FROM vectors v JOIN items i ON i.id = v.item WHERE i.file = ?", file)
	if err != nil {
		return err
	}
	defer found.Close()
	for found.Next() {
		var slot int64
		if err := found.Scan(&slot); err != nil {
			return err
		}
		w.slots, w.rows = append(w.slots, slot), append(w.rows, nil)
	}
	if err := found.Err(); err != nil {
		return err
	}
	_, err = tx.ExecContext(ctx, "DELETE FROM items WHERE file = ?", file)
	return err
}

// removeFile takes a file away.
func (w *writer) removeFile(ctx context.Context, tx *sql.Tx, file int64) error {
	if err := w.removeItems(ctx, tx, file); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "DELETE FROM files WHERE id = ?", file)
	return err
}

// moveFile notes that a file lies elsewhere.
func (w *writer) moveFile(ctx context.Context, tx *sql.Tx, m move) error {
	if _, err := tx.ExecContext(ctx, "UPDATE files SET path = ? WHERE id = ?", m.to.Path, m.from.id); err != nil {
		return err
	}
	m.to.known = m.from
	if err := w.touch(ctx, tx, m.to); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "UPDATE words SET name = ? WHERE rowid IN (SELECT id FROM items WHERE file = ?)",
		nameWords(m.to.Path, m.to.root), m.from.id)
	return err
}

// touch notes that a file has another time and is otherwise the same.
func (w *writer) touch(ctx context.Context, tx *sql.Tx, t task) error {
	modified := t.Info.ModTime().UnixNano()
	_, err := tx.ExecContext(ctx, `UPDATE files SET size = ?, modified = ?,
		taken = CASE WHEN taken = modified THEN ? ELSE taken END WHERE id = ?`, t.Info.Size(), modified, modified, t.known.id)
	return err
}

// putWords sets the text of a picture.
func (w *writer) putWords(ctx context.Context, tx *sql.Tx, path, text string) error {
	if _, err := tx.ExecContext(ctx, `UPDATE words SET text = ? WHERE rowid IN
		(SELECT i.id FROM items i JOIN files f ON f.id = i.file WHERE f.path = ?)`, spread(text), path); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, "UPDATE files SET worded = 1 WHERE path = ?", path)
	return err
}

// bytesOf and floatsOf turn vectors into what the library keeps, and back.
func bytesOf(v []float32) []byte {
	b := make([]byte, 0, 4*len(v))
	for _, x := range v {
		b = binary.LittleEndian.AppendUint32(b, math.Float32bits(x))
	}
	return b
}

func floatsOf(b []byte) []float32 {
	v := make([]float32, len(b)/4)
	for i := range v {
		v[i] = math.Float32frombits(binary.LittleEndian.Uint32(b[4*i:]))
	}
	return v
}
