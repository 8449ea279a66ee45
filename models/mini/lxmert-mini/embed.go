// Package lxmertmini embeds the model lxmert-mini, of LXMERT's family, in a program: questions about positions of objects, from regions.
// The model's card is ../lxmert-mini.md; package mini has all five models by name.
package lxmertmini

import (
	"embed"
	"io/fs"

	"github.com/crossattn/xpipe/models/mini/internal/inplace"
)

// Name is the model's name.
const Name = "lxmert-mini"

//go:embed *.json onnx
var files embed.FS

// The graphs, which are used where they lie.
var (
	//go:embed onnx/model.onnx
	whole string
	//go:embed onnx/region_encoder.onnx
	regionEncoder string
)

// FS returns the model's files, with xpipe.json at the root, for pipeline.OpenFS.
func FS() fs.FS {
	return inplace.FS{FS: files, Files: map[string]string{
		"onnx/model.onnx":          whole,
		"onnx/region_encoder.onnx": regionEncoder,
	}}
}
