package pipeline

import (
	"slices"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/family"
)

// Abilities say which methods of a Pipeline its model supports; the others give ErrUnsupported. Tasks
// lists what the model was made for, which may be less.
type Abilities struct {
	Media      []media.Kind // the kinds of items that a request may hold
	Write      bool         // Caption, Answer, Generate, Stream, Choose, Encode: free text
	Examples   bool         // Request.Shots, and Parts with several items
	Chat       bool         // Chat, Request.Messages, Parts with roles
	Tools      bool         // Request.Variables with "tools": the chat template lays them out
	Pick       bool         // Answer and Generate, from a fixed list of answers
	Match      bool         // Match, Classify
	Embed      bool         // EmbedImages, EmbedTexts
	Classify   bool         // Classify without labels, by the model's own
	Attend     bool         // Attend
	Transcribe bool         // Transcribe and its like
	Regions    bool         // Regions
	Find       bool         // Find
	Read       bool         // Read
	Placeless  bool         // what Read gives has no places: Page.Lines is empty
	ReadLines  bool         // WithLinesBy: Read of another, which finds the lines
}

// Takes reports whether a request may hold an item of the kind.
func (a Abilities) Takes(kind media.Kind) bool { return slices.Contains(a.Media, kind) }

// HearsAlone reports whether a request may hold sounds and no pictures.
func (a Abilities) HearsAlone() bool { return a.Takes(media.Sounds) && !a.Takes(media.Pictures) }

// Tasks lists what the model was made for, as xpipe.json says: "caption", "answer", "converse" (learn
// from examples), "match", "classify", "embed", "read". Where the bundle does not say, it is what the model
// can do.
func (p *Pipeline) Tasks() []string {
	if len(p.bundle.Tasks) > 0 {
		return slices.Clone(p.bundle.Tasks)
	}
	a := p.Abilities()
	var tasks []string
	add := func(can bool, names ...string) {
		if can {
			tasks = append(tasks, names...)
		}
	}
	_, captions := p.bundle.Prompts["caption"]
	_, answers := p.bundle.Prompts["answer"]
	add(a.Write && captions, "caption")
	add(a.Write && answers || a.Pick, "answer")
	add(a.Examples, "converse")
	add(a.Match, "match")
	add(a.Match || a.Classify, "classify")
	add(a.Embed, "embed")
	add(a.Transcribe, "transcribe")
	add(a.Read, "read")
	return tasks
}

// Abilities returns those of the opened model.
func (p *Pipeline) Abilities() Abilities {
	a := Abilities{Media: p.model.Media()}
	_, a.Write = p.model.(family.Writer)
	_, a.Examples = p.model.(family.Converser)
	if m, ok := p.model.(family.Chatter); ok {
		a.Chat, a.Tools = m.Chats(), m.TakesTools()
	}
	a.Pick = p.picks()
	_, a.Match = p.model.(family.Matcher)
	_, a.Embed = p.model.(family.Embedder)
	if m, ok := p.model.(family.Classifier); ok {
		_, err := m.Classes()
		a.Classify = err == nil
		a.Embed = a.Embed && m.Embeds()
	}
	if m, ok := p.model.(family.Hearer); ok && p.sounds != nil {
		_, err := m.Speech()
		a.Transcribe = err == nil
	}
	if _, ok := p.model.(family.PieceHearer); ok && p.waves != nil {
		a.Transcribe = true
	}
	_, a.Find = p.model.(family.Locator)
	_, a.Read = p.model.(family.PageReader)
	if m, ok := p.model.(family.PageScribe); ok {
		_, a.Read = m.PageQuestion()
	}
	if m, ok := p.model.(family.LineScribe); ok {
		a.ReadLines, a.Placeless = m.WritesLines(), a.Read
	}
	_, a.Attend = p.model.(family.Attender)
	if m, ok := p.model.(family.RegionEncoder); ok {
		a.Regions = m.FindsRegions()
	}
	return a
}
