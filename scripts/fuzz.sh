#!/bin/sh
# Runs every fuzz target of the module, or of the packages given, for FUZZTIME (60s)
# each. What one finds lies in testdata/fuzz of its package, from where `go test` runs
# it again: keep it there.
set -eu
out=$PWD/build/fuzz
mkdir -p "$out"
failed=0
for package in $(go list "${@:-./...}"); do
	dir=$(go list -f '{{.Dir}}' "$package")
	targets=$(cat "$dir"/*_test.go 2>/dev/null | sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p')
	[ -n "$targets" ] || continue
	go test -c -fuzz . -o "$out/test" "$package"
	for target in $targets; do
		echo "== $package $target"
		(cd "$dir" && "$out/test" -test.run '^$' -test.fuzz "^$target\$" -test.fuzztime "${FUZZTIME:-60s}" -test.fuzzcachedir "$out/cache/$package") || failed=1
	done
done
exit $failed
