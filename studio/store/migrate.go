package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/studio"
)

// schema has the migrations: 0001.sql makes the first schema, and each later file makes its number
// of the one before.
//
//go:embed schema
var schema embed.FS

// application marks the database file as a studio's: "xpSt" (PRAGMA application_id).
const application = 0x78705374

// migrations lists the migrations of a folder; the first is number 1.
func migrations(files fs.FS) ([]string, error) {
	names, err := fs.Glob(files, "schema/*.sql")
	if err != nil {
		return nil, err
	}
	var list []string
	for i, name := range names { // Glob sorts
		n, err := strconv.Atoi(strings.TrimSuffix(path.Base(name), ".sql"))
		if err != nil || n != i+1 {
			return nil, fmt.Errorf("%s is no migration number %d", name, i+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, err
		}
		list = append(list, string(text))
	}
	return list, nil
}

// version reads the number of a database's schema; 0 is an empty file. A file of another program,
// and one of a later version, is an error.
func version(ctx context.Context, db *sql.DB, known int) (int, error) {
	var v, app, tables int
	err := db.QueryRowContext(ctx, "SELECT (SELECT user_version FROM pragma_user_version),"+
		" (SELECT application_id FROM pragma_application_id), (SELECT count(*) FROM sqlite_schema)").Scan(&v, &app, &tables)
	switch {
	case err != nil:
		return 0, err
	case app == 0 && v == 0 && tables == 0:
		return 0, nil
	case app != application:
		return 0, fmt.Errorf("%w: the file is another program's database", studio.ErrDamaged)
	case v > known:
		return 0, fmt.Errorf("%w: its schema is number %d, and this xpipe knows those up to %d; use that version",
			studio.ErrNewer, v, known)
	}
	return v, nil
}

// migrate brings a database to the last schema, one migration a transaction: whenever the process
// dies, there is one schema or the next.
func migrate(ctx context.Context, db *sql.DB, files fs.FS) error {
	list, err := migrations(files)
	if err != nil {
		return err
	}
	v, err := version(ctx, db, len(list))
	if err != nil {
		return err
	}
	for n := v + 1; n <= len(list); n++ {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, fmt.Sprintf("%s\n;PRAGMA application_id = %d; PRAGMA user_version = %d;",
			list[n-1], application, n))
		if err == nil {
			err = tx.Commit()
		} else {
			tx.Rollback()
		}
		if err != nil {
			return fmt.Errorf("migration to schema %d: %w", n, err)
		}
	}
	return nil
}
