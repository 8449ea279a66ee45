// Package flamingomini embeds the model flamingo-mini, of OpenFlamingo's family, in a program: learning from examples in the prompt.
// The model's card is ../flamingo-mini.md; package mini has all five models by name.
package flamingomini

import (
	"embed"
	"io/fs"
)

// Name is the model's name.
const Name = "flamingo-mini"

//go:embed *.json onnx
var files embed.FS

// FS returns the model's files, with xpipe.json at the root, for pipeline.OpenFS.
func FS() fs.FS { return files }
