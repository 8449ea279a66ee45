// Package mini has six small models, embedded in the program, by name: four that tools/train makes,
// OpenAI's Whisper tiny.en in 4 bits, and PP-OCR, of package models/ocr. They are 95 MB together; a
// program that needs one imports that model's own package instead, such as models/mini/blip2-mini,
// and carries no other. NAME.md in this folder is a model's card: its tasks, figures and failures.
package mini

import (
	"fmt"
	"io/fs"
	"strings"

	blip2mini "github.com/crossattn/xpipe/models/mini/blip2-mini"
	clipmini "github.com/crossattn/xpipe/models/mini/clip-mini"
	flamingomini "github.com/crossattn/xpipe/models/mini/flamingo-mini"
	lxmertmini "github.com/crossattn/xpipe/models/mini/lxmert-mini"
	whispermini "github.com/crossattn/xpipe/models/mini/whisper-mini"
	"github.com/crossattn/xpipe/models/ocr"
)

// The names of the models.
const (
	BLIP2    = blip2mini.Name    // captions, questions about pictures
	CLIP     = clipmini.Name     // matching and classifying without training, embeddings
	Flamingo = flamingomini.Name // learning from examples in the prompt
	LXMERT   = lxmertmini.Name   // questions about positions of objects, from regions
	Whisper  = whispermini.Name  // what is said, in English
	OCR      = ocr.Name          // what is written on a page, and where
)

// The names by task, as they were before.
const (
	// Deprecated: use BLIP2.
	Captions = BLIP2
	// Deprecated: use CLIP.
	Labels = CLIP
	// Deprecated: use Flamingo.
	Shots = Flamingo
	// Deprecated: use LXMERT.
	Regions = LXMERT
)

// Default is the model that commands use where the user names none.
const Default = BLIP2

// Names lists the embedded models, sorted.
func Names() []string { return []string{BLIP2, CLIP, Flamingo, LXMERT, OCR, Whisper} }

// FS returns the embedded model of a name, as a file system with xpipe.json at its root. An unknown
// name gives an error that lists the known ones.
func FS(name string) (fs.FS, error) {
	// No variable holds the models, so that a program that uses the names alone links none.
	switch name {
	case BLIP2:
		return blip2mini.FS(), nil
	case CLIP:
		return clipmini.FS(), nil
	case Flamingo:
		return flamingomini.FS(), nil
	case LXMERT:
		return lxmertmini.FS(), nil
	case Whisper:
		return whispermini.FS(), nil
	case OCR:
		return ocr.FS(), nil
	}
	return nil, fmt.Errorf("no embedded model %q; there are: %s", name, strings.Join(Names(), ", "))
}
