package sqlitefile

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var things = Schema{
	ID: 0x74657374, What: "collection", PageSize: 8192,
	Steps: []string{"CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT)"},
}

func setup(t *testing.T) (path string, exec func(schema Schema, query string)) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "a #file? with 100% of it.db")
	return path, func(schema Schema, query string) {
		t.Helper()
		db, err := Open(t.Context(), path, schema, Create)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := db.Exec(query); err != nil {
			t.Fatal(err)
		}
	}
}

// A file is made, read, and brought from version to version with what it holds.
func TestVersions(t *testing.T) {
	t.Parallel()
	path, exec := setup(t)
	exec(things, "INSERT INTO things VALUES (1, 'one')")
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	newer := things
	newer.Steps = append(newer.Steps[:1:1], "ALTER TABLE things ADD COLUMN size INTEGER NOT NULL DEFAULT 7")
	if _, err := Open(t.Context(), path, newer, ReadOnly); !errors.Is(err, ErrOlder) {
		t.Errorf("an older file for a reader: %v", err)
	}
	exec(newer, "INSERT INTO things VALUES (2, 'two', 9)")
	if _, err := Open(t.Context(), path, things, Create); !errors.Is(err, ErrNewer) ||
		!strings.Contains(err.Error(), "newer xpipe") {
		t.Errorf("a newer file: %v", err)
	}
	db, err := Open(t.Context(), path, newer, ReadOnly)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var sum int
	if err := db.QueryRow("SELECT sum(size) FROM things").Scan(&sum); err != nil || sum != 16 {
		t.Errorf("%d, %v", sum, err)
	}
	var size int
	if err := db.QueryRow("PRAGMA page_size").Scan(&size); err != nil || size != things.PageSize {
		t.Errorf("pages of %d bytes, %v", size, err)
	}
	if _, err := db.Exec("DELETE FROM things"); err == nil {
		t.Error("a reader may write")
	}
}

// What is no such file is an error that names it and says so.
func TestOthers(t *testing.T) {
	t.Parallel()
	path, exec := setup(t)
	other := things
	other.ID++
	exec(other, "SELECT 1")
	noise, dir := filepath.Join(filepath.Dir(path), "noise"), filepath.Dir(path)
	if err := os.WriteFile(noise, []byte(strings.Repeat("no database ", 1000)), 0o666); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		path string
		mode Mode
		want error
	}{
		{path, Create, ErrForeign}, {path, ReadOnly, ErrForeign}, {noise, Create, ErrForeign},
		{noise, ReadOnly, ErrForeign}, {dir, Create, ErrForeign},
		{filepath.Join(dir, "none"), ReadOnly, fs.ErrNotExist}, {filepath.Join(dir, "none"), ReadWrite, fs.ErrNotExist},
		{filepath.Join(dir, "none", "file"), Create, fs.ErrPermission},
	} {
		db, err := Open(t.Context(), c.path, things, c.mode)
		if err == nil {
			db.Close()
		}
		if !errors.Is(err, c.want) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s, mode %d: %v", c.path, c.mode, err)
		}
	}
	if data, err := os.ReadFile(noise); err != nil || !strings.HasPrefix(string(data), "no database no") {
		t.Errorf("the other file was changed: %v", err)
	}
	// A full disk, as SQLite tells of it, and what was stored before.
	full := filepath.Join(dir, "full")
	db, err := Open(t.Context(), full, things, Create)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("INSERT INTO things VALUES (1, 'one'); PRAGMA max_page_count = 1"); err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec("INSERT INTO things VALUES (2, ?)", strings.Repeat("x", 100_000))
	if err = Explain(full, things.What, err); !errors.Is(err, ErrFull) || !strings.Contains(err.Error(), "make room") {
		t.Errorf("a full disk: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, full, things, ReadOnly); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
