package store

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/crossattn/xpipe/studio"
)

// released are the SHA-256 of schemas that are released: what is in them never changes.
var released = map[string]string{
	"schema/0001.sql": "3e5b87268fa20be35990a8020623eeb818a1f2dc8ae25f833f5dac1a31e9c33a",
}

func TestReleasedSchemas(t *testing.T) {
	t.Parallel()
	for name, want := range released {
		data, err := fs.ReadFile(schema, name)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		if got := hex.EncodeToString(sum[:]); got != want {
			t.Errorf("%s has changed, to %s: stores have it already; add another migration", name, got)
		}
	}
}

// A store of every schema comes to the last one and keeps what it holds; one from a newer version and
// one of another program are refused and left as they are.
func TestMigrate(t *testing.T) {
	t.Parallel()
	b := setup(t)
	ctx := t.Context()
	b.ask(b.chat.ID, "", studio.TextPart("before"))
	b.ok(b.Close())
	first, err := fs.ReadFile(schema, "schema/0001.sql")
	b.ok(err)
	files := fstest.MapFS{
		"schema/0001.sql": {Data: first},
		"schema/0002.sql": {Data: []byte("ALTER TABLE workspaces ADD COLUMN color TEXT NOT NULL DEFAULT 'grey'; UPDATE workspaces SET color = 'red';")},
		"schema/0003.sql": {Data: []byte("CREATE TABLE people (id TEXT PRIMARY KEY) STRICT; INSERT INTO nowhere VALUES (1);")},
	}
	path := filepath.Join(b.dir, databaseName)
	db, err := openDatabase(path, "", 1)
	b.ok(err)
	defer db.Close()
	if err := migrate(ctx, db, files); err == nil || !strings.Contains(err.Error(), "migration to schema 3") {
		t.Errorf("%v", err)
	}
	var color, title string
	var version, people int
	query := "SELECT color, (SELECT title FROM chats), (SELECT user_version FROM pragma_user_version)," +
		" (SELECT count(*) FROM sqlite_schema WHERE name = 'people') FROM workspaces"
	b.ok(db.QueryRow(query).Scan(&color, &title, &version, &people))
	b.same("after a failed migration", []any{color, title, version, people}, []any{"red", "Labels", 2, 0})
	files["schema/0003.sql"].Data = []byte("CREATE TABLE people (id TEXT PRIMARY KEY) STRICT;")
	b.ok(migrate(ctx, db, files))
	b.ok(migrate(ctx, db, files)) // nothing to do
	b.ok(db.QueryRow(query).Scan(&color, &title, &version, &people))
	b.same("after all", []any{version, people}, []any{3, 1})
	b.ok(db.Close())

	// This xpipe knows fewer schemas than that store has.
	for _, options := range []Options{{}, {ReadOnly: true}} {
		_, err = Open(ctx, b.dir, options)
		if b.is(err, studio.ErrNewer); !strings.Contains(err.Error(), "schema is number 3") {
			t.Errorf("%v", err)
		}
	}
	delete(files, "schema/0002.sql")
	if _, err := migrations(files); err == nil {
		t.Error("a migration is missing, and nothing is said")
	}
	dir := t.TempDir()
	db, err = openDatabase(filepath.Join(dir, databaseName), "", 1)
	b.ok(err)
	_, err = db.Exec("CREATE TABLE somebodys (x)")
	b.ok(errors.Join(err, db.Close()))
	_, err = Open(ctx, dir, Options{})
	b.is(err, studio.ErrDamaged)
}
