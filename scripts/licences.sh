#!/bin/sh
# Writes THIRD_PARTY.md's table: each module the command is built of, and the kind of
# licence by the words of its licence file.
set -eu
echo "| module | version | licence |"
echo "|---|---|---|"
go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./... | sort -u | while read -r path version dir; do
	file=$(ls "$dir" | grep -iE '^(licen[cs]e|copying)' | head -1 || true)
	text=$(tr '\n' ' ' <"$dir/${file:-/nowhere}" 2>/dev/null || true)
	case $text in
	*"Apache License"*) kind=Apache-2.0 ;;
	*"Redistributions of source code"*"Neither the name"* | *"Redistributions of source code"*"names of"*) kind=BSD-3-Clause ;;
	*"Redistributions of source code"*) kind=BSD-2-Clause ;;
	*"Permission is hereby granted, free of charge"*) kind=MIT ;;
	*"Permission to use, copy, modify"*) kind=ISC ;;
	*) kind="UNKNOWN: read $file" ;;
	esac
	echo "| $path | $version | $kind |"
done
