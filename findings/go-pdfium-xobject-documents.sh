#!/usr/bin/env bash
# go-pdfium's FPDF_NewXObjectFromPage takes the page from the document that is called the destination.
#
# Expected: FPDF_NewXObjectFromPage{Source: a, Destination: b, SourcePageIndex: 1} makes a form object
# for document b of the second page of document a.
# What happens: the two documents reach PDFium the wrong way round. Where b has no second page the call
# fails; with the names exchanged it gives the object. Where both documents have the page, nothing fails
# and the wrong page is drawn in the wrong document.
# Versions: github.com/klippa-app/go-pdfium v1.21.4 (WebAssembly, wazero), Go 1.26.
# Output seen:
#   as named: refused; exchanged: given
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
	"fmt"
	"os"

	"github.com/klippa-app/go-pdfium"
	"github.com/klippa-app/go-pdfium/references"
	"github.com/klippa-app/go-pdfium/requests"
	"github.com/klippa-app/go-pdfium/webassembly"
)

func check(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
}

// document makes a document of so many empty pages.
func document(in pdfium.Pdfium, pages int) references.FPDF_DOCUMENT {
	made, err := in.FPDF_CreateNewDocument(&requests.FPDF_CreateNewDocument{})
	check(err)
	for i := range pages {
		_, err := in.FPDFPage_New(&requests.FPDFPage_New{Document: made.Document, PageIndex: i, Width: 100, Height: 100})
		check(err)
	}
	return made.Document
}

// object says whether PDFium gives an object for a document, of another's second page.
func object(in pdfium.Pdfium, source, destination references.FPDF_DOCUMENT) string {
	_, err := in.FPDF_NewXObjectFromPage(&requests.FPDF_NewXObjectFromPage{
		Source: source, Destination: destination, SourcePageIndex: 1,
	})
	if err != nil {
		return "refused"
	}
	return "given"
}

func main() {
	pool, err := webassembly.Init(webassembly.Config{MinIdle: 1, MaxIdle: 1, MaxTotal: 1})
	check(err)
	defer pool.Close()
	in, err := pool.GetInstance(0)
	check(err)
	a, b := document(in, 2), document(in, 1)
	line := fmt.Sprintf("as named: %s; exchanged: %s", object(in, a, b), object(in, b, a))
	fmt.Println(line)
	if line != "as named: refused; exchanged: given" {
		fmt.Println("the behaviour has changed")
		os.Exit(1)
	}
}
EOF
go get github.com/klippa-app/go-pdfium@v1.21.4 2>"$dir/log" || { cat "$dir/log"; exit 1; }
go run .
