#!/usr/bin/env bash
# modernc.org/sqlite runs the pragmas of a data source name in the order of the alphabet.
#
# Expected: "?_pragma=page_size(16384)&_pragma=journal_mode(wal)" sets the size of pages and then the
# write-ahead log, in the order given, as the same statements would; some pragmas only count before
# others, and a page size cannot be changed in WAL mode.
# What happens: the values are sorted, so journal_mode comes before page_size, which then does nothing,
# without an error: the pages have 4096 bytes. Alone, the same page_size counts.
# Versions: modernc.org/sqlite v1.62.0 (SQLite 3.54.1), Go 1.26.
# Output seen:
#   page_size alone 16384, before journal_mode 4096
set -euo pipefail
dir=$(mktemp -d)
trap 'chmod -R u+w "$dir"; rm -rf "$dir"' EXIT
cd "$dir"
export GOMODCACHE="$dir/modules" GOFLAGS=-mod=mod GOTOOLCHAIN=local
cat >go.mod <<'EOF'
module finding

go 1.26
EOF
cat >main.go <<'EOF'
package main

import (
	"database/sql"
	"fmt"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite"
)

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// pageSize makes a database and returns how many bytes its pages have.
func pageSize(name, query string) (size int) {
	db, err := sql.Open("sqlite", "file:"+name+query)
	check(err)
	defer db.Close()
	_, err = db.Exec("CREATE TABLE t (x)")
	check(err)
	check(db.QueryRow("PRAGMA page_size").Scan(&size))
	return size
}

func main() {
	dir := os.Args[1]
	line := fmt.Sprintf("page_size alone %d, before journal_mode %d",
		pageSize(filepath.Join(dir, "alone.db"), "?_pragma=page_size(16384)"),
		pageSize(filepath.Join(dir, "both.db"), "?_pragma=page_size(16384)&_pragma=journal_mode(wal)"))
	fmt.Println(line)
	if line != "page_size alone 16384, before journal_mode 4096" {
		fmt.Println("the behaviour has changed")
		os.Exit(1)
	}
}
EOF
go get modernc.org/sqlite@v1.62.0 2>"$dir/log" || { cat "$dir/log"; exit 1; }
go run . "$dir"
