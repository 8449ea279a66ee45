// Package clipmini embeds the model clip-mini, of CLIP's family, in a program: matching and classifying without training, and embeddings.
// The model's card is ../clip-mini.md; package mini has all five models by name.
package clipmini

import (
	"embed"
	"io/fs"
)

// Name is the model's name.
const Name = "clip-mini"

//go:embed *.json *.safetensors onnx
var files embed.FS

// FS returns the model's files, with xpipe.json at the root, for pipeline.OpenFS.
func FS() fs.FS { return files }
