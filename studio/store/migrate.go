package store

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/internal/sqlitefile"
)

// steps has the migrations: 0001.sql makes the first schema, and each later file makes its number of
// the one before.
//
//go:embed schema
var steps embed.FS

// schemaOf describes the database whose migrations lie in a folder. Every commit is written through
// to the disk, what is deleted is overwritten, and a connection's cache has 4,000 KiB at most.
func schemaOf(files fs.FS) (sqlitefile.Schema, error) {
	schema := sqlitefile.Schema{
		ID: 0x78705374, What: "studio", Durable: true, // "xpSt"
		Pragmas: []string{"secure_delete(on)", "cache_size(-4000)"},
	}
	names, err := fs.Glob(files, "schema/*.sql")
	if err != nil {
		return schema, err
	}
	for i, name := range names { // Glob sorts
		n, err := strconv.Atoi(strings.TrimSuffix(path.Base(name), ".sql"))
		if err != nil || n != i+1 {
			return schema, fmt.Errorf("%s is no migration number %d", name, i+1)
		}
		text, err := fs.ReadFile(files, name)
		if err != nil {
			return schema, err
		}
		schema.Steps = append(schema.Steps, string(text))
	}
	return schema, nil
}
