#!/bin/sh
# Builds the command twice from the files that git has, in two folders and with two
# empty caches, without cgo and, where there is a C compiler, with it: the binaries
# must be the same to the byte, and tell the version they were stamped with.
set -eu
version=$(git describe --tags --always --dirty)
out=$PWD/build/repro
rm -rf "$out"
for i in 1 2; do
	tree=$out/tree$i
	mkdir -p "$tree"
	git ls-files -z | tar --null -c -T - | tar -x -C "$tree"
	for cgo in 0 1; do
		[ $cgo = 0 ] || command -v "${CC:-cc}" >/dev/null || continue
		(cd "$tree" && CGO_ENABLED=$cgo GOCACHE=$out/cache$i go build -trimpath -buildvcs=false \
			-ldflags "-X main.stamp=$version" -o "$out/xpipe-cgo$cgo-$i" ./cmd/xpipe)
	done
	rm -rf "$tree" "$out/cache$i"
done
for cgo in 0 1; do
	[ -e "$out/xpipe-cgo$cgo-1" ] || { echo "cgo=$cgo: NOT BUILT, there is no C compiler"; continue; }
	cmp "$out/xpipe-cgo$cgo-1" "$out/xpipe-cgo$cgo-2"
	"$out/xpipe-cgo$cgo-1" --version | grep -F "$version"
	sha256sum "$out/xpipe-cgo$cgo-1"
done
