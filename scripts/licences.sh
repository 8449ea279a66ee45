#!/bin/sh
# Writes THIRD_PARTY.md's table: each module the packages are built of on any system that
# xpipe is built for, and the kind of licence by the words of its licence file. With
# --check it compares that with the file instead, and refuses a licence that it does not
# know.
set -eu
if [ "${1:-}" = --check ]; then
	made=$("$0")
	written=$(grep '^|' THIRD_PARTY.md)
	case $made in *UNKNOWN*) echo "licences: $made" | grep UNKNOWN >&2 && exit 1 ;; esac
	[ "$made" = "$written" ] && exit 0
	echo "licences: THIRD_PARTY.md is not what \`make licences\` writes" >&2
	exit 1
fi
echo "| module | version | licence |"
echo "|---|---|---|"
for os in linux windows darwin; do
	# With cgo, without which ONNX Runtime's module is left out.
	GOOS=$os CGO_ENABLED=1 go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./...
done | sort -u | while read -r path version dir; do
	file=$(ls "$dir" | grep -iE '^(licen[cs]e|copying|unlicense)' | head -1 || true)
	text=$(tr '\n' ' ' <"$dir/${file:-/nowhere}" 2>/dev/null || true)
	case $text in
	*"Apache License"*) kind=Apache-2.0 ;;
	*"free and unencumbered software released into the public domain"*) kind=Unlicense ;;
	*"Redistributions of source code"*"Neither the name"* | *"Redistributions of source code"*"names of"*) kind=BSD-3-Clause ;;
	*"Redistributions of source code"*) kind=BSD-2-Clause ;;
	*"Permission is hereby granted, free of charge"*) kind=MIT ;;
	*"Permission to use, copy, modify"*) kind=ISC ;;
	*) kind="UNKNOWN: read $file" ;;
	esac
	echo "| $path | $version | $kind |"
done
