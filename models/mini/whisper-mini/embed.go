// Package whispermini embeds the model whisper-mini, OpenAI's Whisper tiny.en in 4 and 8 bits, in a program: it writes down what is said in English.
// The model's card is ../whisper-mini.md; package mini has all five models by name.
package whispermini

import (
	"embed"
	"io/fs"
)

// Name is the model's name.
const Name = "whisper-mini"

//go:embed *.json *.gz onnx
var packed embed.FS

// FS returns the model's files, with xpipe.json at the root, for pipeline.OpenFS. Large ones lie
// compressed in the program, and each reading expands them: 28 MB, a quarter of a second in all.
func FS() fs.FS { return program{files{packed}} }

// program is the files as they lie in the program.
type program struct{ files }

// Embedded is what onnx.Embedded asks for.
func (program) Embedded() embed.FS { return packed }
