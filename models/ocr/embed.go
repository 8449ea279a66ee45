// Package ocr embeds the model ocr in a program: PP-OCRv6's small detector and recognizer, and
// PP-OCR's classifier of directions, which read pages in Latin script with accents, Chinese and
// Japanese. README.md is the model's card; package mini has it by name beside the others.
package ocr

import (
	"embed"
	"io/fs"
)

// Name is the model's name.
const Name = "ocr"

//go:embed xpipe.json characters.txt LICENSE.txt onnx
var files embed.FS

// FS returns the model's files, with xpipe.json at the root, for pipeline.OpenFS.
func FS() fs.FS { return files }
