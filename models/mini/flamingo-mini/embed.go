// Package flamingomini embeds the model flamingo-mini, of OpenFlamingo's family, in a program: learning from examples in the prompt.
// The model's card is ../flamingo-mini.md; package mini has all five models by name.
package flamingomini

import (
	"embed"
	"io/fs"

	"github.com/crossattn/xpipe/models/mini/internal/inplace"
)

// Name is the model's name.
const Name = "flamingo-mini"

//go:embed *.json onnx
var files embed.FS

// The graphs, which are used where they lie.
var (
	//go:embed onnx/cross_kv.onnx
	crossKv string
	//go:embed onnx/decoder_model_merged.onnx
	decoderModel string
	//go:embed onnx/embed_tokens.onnx
	embedTokens string
	//go:embed onnx/resampler.onnx
	resampler string
	//go:embed onnx/vision_encoder.onnx
	visionEncoder string
)

// FS returns the model's files, with xpipe.json at the root, for pipeline.OpenFS.
func FS() fs.FS {
	return inplace.FS{FS: files, Files: map[string]string{
		"onnx/cross_kv.onnx":             crossKv,
		"onnx/decoder_model_merged.onnx": decoderModel,
		"onnx/embed_tokens.onnx":         embedTokens,
		"onnx/resampler.onnx":            resampler,
		"onnx/vision_encoder.onnx":       visionEncoder,
	}}
}
