package family

import (
	"fmt"
	"maps"
	"strings"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/document/doctags"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline/reading"
)

// idefics3Kinds are Idefics3 (Laurençon et al., 2408.12637), SmolVLM and the models for documents
// made of them: pictures in tiles.
var idefics3Kinds = []imageKind{
	{types: []string{"idefics3", "smolvlm"}, around: "%s", markup: tileMarkup},
}

// tileMarkup is that of Idefics3 and SmolVLM: each tile with its row and column, a row of tiles a
// line, and the whole picture at the end (processing_idefics3.py of transformers 4.57).
func tileMarkup(placeholder string, e Encoded) string {
	const whole = "<global-img>"
	tile := strings.Repeat(placeholder, e.States.Dim(1)/max(e.Tiles, 1))
	var b strings.Builder
	for row := range e.Grid.Y {
		for column := range e.Grid.X {
			fmt.Fprintf(&b, "%s<row_%d_col_%d>%s", framed, row+1, column+1, tile)
		}
		b.WriteByte('\n')
	}
	if e.Grid.Y > 0 {
		b.WriteByte('\n')
	}
	return b.String() + framed + whole + tile + framed
}

// docTags are tokens that tell a model for documents, SmolDocling or granite-docling, by its
// vocabulary: it writes a page in DocTags, which are special tokens.
var docTags = []string{"<doctag>", "<loc_0>"}

const doclingPrompt = "Convert this page to docling."

// chatMarks are special tokens that lay out a conversation, and are no part of an answer.
var chatMarks = []string{
	"<|im_start|>", "<|im_end|>", "<end_of_utterance>", "<|start_of_role|>", "<|end_of_role|>",
	"<|end_of_text|>", "<|endoftext|>", "<s>", "</s>", "<pad>",
}

// marked has a model for documents write its special tokens, and ask for them where no question is
// asked.
func (m *imageTokens) marked(bundle *models.Bundle) {
	for _, tag := range docTags {
		if _, ok := m.texts.TokenToID(tag); !ok {
			return
		}
	}
	m.docTags = true
	bundle.KeepSpecialTokens = true
	bundle.Prompts = maps.Clone(bundle.Prompts)
	bundle.Prompts["caption"] = doclingPrompt
	for _, mark := range chatMarks {
		if id, ok := m.texts.TokenToID(mark); ok {
			m.unwritten = append(m.unwritten, id)
		}
	}
}

// Unwritten lists the special tokens that a model for documents does not write.
func (m *imageTokens) Unwritten() []int64 { return m.unwritten }

// PageQuestion says that a model for documents writes pages down unasked; others do not.
func (m *imageTokens) PageQuestion() (string, bool) { return "", m.docTags }

// PageOf makes a page of DocTags. What stands in a block has no lines of its own: each block is one.
func (m *imageTokens) PageOf(_, written string, width, height int) *reading.Page {
	p := &reading.Page{Width: width, Height: height, Blocks: doctags.Parse(written)}
	for _, b := range p.Blocks {
		if b.Text != "" && b.Box != (document.Box{}) {
			p.Lines = append(p.Lines, reading.Line{Text: b.Text, Quad: b.Box.Quad(), Confidence: 1, Detected: 1})
		}
	}
	return p
}
