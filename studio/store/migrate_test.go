package store

import (
	"crypto/sha256"
	"database/sql"
	"encoding/hex"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/crossattn/xpipe/internal/sqlitefile"
	"github.com/crossattn/xpipe/studio"
)

// released are the SHA-256 of schemas that are released: what is in them never changes.
var released = map[string]string{
	"schema/0001.sql": "3e5b87268fa20be35990a8020623eeb818a1f2dc8ae25f833f5dac1a31e9c33a",
}

func TestReleasedSchemas(t *testing.T) {
	t.Parallel()
	for name, want := range released {
		data, err := fs.ReadFile(steps, name)
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
	first, err := fs.ReadFile(steps, "schema/0001.sql")
	b.ok(err)
	files := fstest.MapFS{
		"schema/0001.sql": {Data: first},
		"schema/0002.sql": {Data: []byte("ALTER TABLE workspaces ADD COLUMN color TEXT NOT NULL DEFAULT 'grey'; UPDATE workspaces SET color = 'red';")},
		"schema/0003.sql": {Data: []byte("CREATE TABLE people (id TEXT PRIMARY KEY) STRICT; INSERT INTO nowhere VALUES (1);")},
	}
	path := filepath.Join(b.dir, databaseName)
	open := func() (*sql.DB, error) {
		schema, err := schemaOf(files)
		b.ok(err)
		return sqlitefile.Open(ctx, path, schema, sqlitefile.ReadWrite)
	}
	if _, err := open(); err == nil || !strings.Contains(err.Error(), "nowhere") {
		t.Errorf("%v", err)
	}
	b.open() // as it was
	b.ok(b.Close())
	files["schema/0003.sql"].Data = []byte("CREATE TABLE people (id TEXT PRIMARY KEY) STRICT;")
	db, err := open()
	b.ok(err)
	var color, title string
	var version, people int
	b.ok(db.QueryRow("SELECT color, (SELECT title FROM chats), (SELECT user_version FROM pragma_user_version),"+
		" (SELECT count(*) FROM sqlite_schema WHERE name = 'people') FROM workspaces").Scan(&color, &title, &version, &people))
	b.same("after all", []any{color, title, version, people}, []any{"red", "Labels", 3, 1})
	b.ok(db.Close())

	// This xpipe knows fewer schemas than that store has.
	for _, options := range []Options{{}, {ReadOnly: true}} {
		_, err = Open(ctx, b.dir, options)
		if b.is(err, studio.ErrNewer); !strings.Contains(err.Error(), "newer xpipe") {
			t.Errorf("%v", err)
		}
	}
	delete(files, "schema/0002.sql")
	if _, err := schemaOf(files); err == nil {
		t.Error("a migration is missing, and nothing is said")
	}
	dir := t.TempDir()
	db, err = sqlitefile.Open(ctx, filepath.Join(dir, databaseName),
		sqlitefile.Schema{ID: 1, What: "thing", Steps: []string{"CREATE TABLE somebodys (x)"}}, sqlitefile.Create)
	b.ok(err)
	b.ok(db.Close())
	_, err = Open(ctx, dir, Options{})
	b.is(err, studio.ErrDamaged)
}
