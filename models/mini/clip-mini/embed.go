// Package clipmini embeds the model clip-mini, of CLIP's family, in a program: matching and classifying without training, and embeddings.
// The model's card is ../clip-mini.md; package mini has all five models by name.
package clipmini

import (
	"embed"
	"io/fs"

	"github.com/crossattn/xpipe/models/mini/internal/inplace"
)

// Name is the model's name.
const Name = "clip-mini"

//go:embed *.json *.safetensors onnx
var files embed.FS

// The graphs, which are used where they lie.
var (
	//go:embed onnx/text_model.onnx
	textModel string
	//go:embed onnx/vision_encoder.onnx
	visionEncoder string
)

// FS returns the model's files, with xpipe.json at the root, for pipeline.OpenFS.
func FS() fs.FS {
	return inplace.FS{FS: files, Files: map[string]string{
		"onnx/text_model.onnx":     textModel,
		"onnx/vision_encoder.onnx": visionEncoder,
	}}
}
