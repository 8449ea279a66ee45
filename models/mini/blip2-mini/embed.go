// Package blip2mini embeds the model blip2-mini, of BLIP-2's family, in a program: captions, and questions about plain shapes and scenes.
// The model's card is ../blip2-mini.md; package mini has all five models by name.
package blip2mini

import (
	"embed"
	"io/fs"
)

// Name is the model's name.
const Name = "blip2-mini"

//go:embed *.json *.safetensors onnx
var files embed.FS

// FS returns the model's files, with xpipe.json at the root, for pipeline.OpenFS.
func FS() fs.FS { return files }
