package family

import (
	"strings"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/document/donut"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/pipeline/reading"
)

// written is what a model of encdec writes down; the zero value describes pictures.
type written int

const (
	writesLine   written = iota + 1 // TrOCR: one line of text
	writesFields                    // Donut: a page, in its markup
	writesPage                      // Pix2Struct: a page, as text
)

// openWritten sets what the model writes down. A model of Donut that has no prompt but a question's, or
// starts from that task, writes nothing unasked.
func (m *encdec) openWritten(o *graph.Opener) error {
	var config struct {
		ModelType string `json:"model_type"`
		Decoder   struct {
			ModelType string `json:"model_type"`
		} `json:"decoder"`
	}
	if err := o.Bundle.JSON("config.json", &config); ignoreMissing(err) != nil {
		return err
	}
	_, unasked := o.Bundle.Prompts["caption"]
	asked, answers := m.texts.TokenToID(donutQuestion)
	switch {
	case !unasked || m.replaces && answers && m.startGiven && m.start == asked:
	case m.replaces:
		m.writes = writesFields
	case config.ModelType == "pix2struct":
		m.writes = writesPage
	case config.Decoder.ModelType == "trocr":
		m.writes = writesLine
	}
	return nil
}

// WritesLines says that TrOCR writes down lines.
func (m *encdec) WritesLines() bool { return m.writes == writesLine }

// PageQuestion says that Donut and Pix2Struct write pages down unasked.
func (m *encdec) PageQuestion() (string, bool) {
	return "", m.writes == writesFields || m.writes == writesPage
}

// PageOf makes a page of text without places: it has blocks, and no lines. What a prompt of Donut has
// behind its task, such as a question, belongs to the text.
func (m *encdec) PageOf(prompt, written string, width, height int) *reading.Page {
	p := &reading.Page{Width: width, Height: height}
	if m.writes != writesFields {
		if text := strings.TrimSpace(written); text != "" {
			p.Blocks = []document.Block{{Kind: document.Paragraph, Text: text}}
		}
		return p
	}
	known := func(token string) bool { _, ok := m.texts.TokenToID(token); return ok }
	written = donut.WithoutTask(prompt) + written
	if text := donut.Text(written, known); text != "" {
		p.Blocks = []document.Block{{Kind: document.Paragraph, Text: text}}
		p.Fields = donut.Fields(written, known)
	}
	return p
}
