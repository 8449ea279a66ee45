#!/bin/sh
# Looks for known vulnerabilities in what the module's packages call, as built with the
# newest patch of the Go version in use: the standard library's own are mended by
# updating Go, and a line says so where the Go installed is older.
#
# The database is the one behind vuln.go.dev, as its repository has it, and comes as a
# module from the proxy the dependencies come from; VULNDB names another, such as
# https://vuln.go.dev or file:///folder.
set -eu
if [ -z "${VULNDB:-}" ]; then
	if ! found=$(cd / && go mod download -json golang.org/x/vulndb@latest); then
		echo "vuln: the vulnerability database (module golang.org/x/vulndb) cannot be fetched: NOTHING WAS CHECKED" >&2
		echo "$found" >&2
		exit 1
	fi
	dir=$(echo "$found" | sed -n 's/^\t"Dir": "\(.*\)",*$/\1/p')
	echo "database: $(echo "$found" | sed -n 's/^\t"Version": "\(.*\)",*$/\1/p'), $(ls "$dir/data/osv" | wc -l) entries"
	VULNDB=file://$dir/data/osv
fi
GOBIN=$PWD/build/tools go install golang.org/x/vuln/cmd/govulncheck@v1.9.0
installed=$(go env GOVERSION)
minor=$(echo "$installed" | cut -d. -f1,2)
newest=$(cd / && go list -m -versions golang.org/toolchain | tr ' ' '\n' |
	sed -n "s/^v0\.0\.1-\($minor\.[0-9]*\)\.$(go env GOHOSTOS)-$(go env GOHOSTARCH)\$/\1/p" | sort -V | tail -n 1)
if [ -n "$newest" ] && [ "$newest" != "$installed" ]; then
	echo "checked as built with $newest; $installed is installed: update Go"
	export GOTOOLCHAIN=$newest
fi
code=0
build/tools/govulncheck -db "$VULNDB" "${@:-./...}" || code=$?
# 3 is its word for what it found; with another it could not look.
[ $code -eq 0 ] || [ $code -eq 3 ] || echo "vuln: govulncheck failed: NOTHING WAS CHECKED, or not all" >&2
exit $code
