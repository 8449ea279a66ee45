#!/bin/sh
# Runs every fuzz target of the module for FUZZTIME (60s) each. What one finds lies in
# testdata/fuzz of its package, from where `go test` runs it again: keep it there.
set -eu
failed=0
for package in $(go list ./...); do
	for target in $(go test -list '^Fuzz' "$package" | grep '^Fuzz' || true); do
		echo "== $package $target"
		go test -run '^$' -fuzz "^$target\$" -fuzztime "${FUZZTIME:-60s}" "$package" || failed=1
	done
done
exit $failed
