// Package blip2mini embeds the model blip2-mini, of BLIP-2's family, in a program: captions, and questions about plain shapes and scenes.
// The model's card is ../blip2-mini.md; package mini has all five models by name.
package blip2mini

import (
	"embed"
	"io/fs"

	"github.com/crossattn/xpipe/models/mini/internal/inplace"
)

// Name is the model's name.
const Name = "blip2-mini"

//go:embed *.json *.safetensors onnx
var files embed.FS

// The graphs, which are used where they lie.
var (
	//go:embed onnx/decoder_model_merged.onnx
	decoderModel string
	//go:embed onnx/embed_tokens.onnx
	embedTokens string
	//go:embed onnx/qformer.onnx
	qformer string
	//go:embed onnx/vision_encoder.onnx
	visionEncoder string
)

// FS returns the model's files, with xpipe.json at the root, for pipeline.OpenFS.
func FS() fs.FS {
	return inplace.FS{FS: files, Files: map[string]string{
		"onnx/decoder_model_merged.onnx": decoderModel,
		"onnx/embed_tokens.onnx":         embedTokens,
		"onnx/qformer.onnx":              qformer,
		"onnx/vision_encoder.onnx":       visionEncoder,
	}}
}
