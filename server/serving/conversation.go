package serving

import (
	"slices"
	"strings"

	"github.com/crossattn/xpipe/pipeline"
)

// Conversation makes a request of what was said, the last message being the user's.
//
// A model with a chat template reads all of it. Others describe a picture or answer one question about
// it: the last text of the user is the question, and the pictures are those of the last message with
// some. A text that asks to describe the picture, in the words of AsksForCaption, has it described,
// by a model that was made to. What a system or earlier turns say is not for them.
func (m *Model) Conversation(messages []pipeline.Message) pipeline.Request {
	if m.Can.Chat {
		return pipeline.Request{Messages: messages}
	}
	var r pipeline.Request
	for _, said := range slices.Backward(messages) {
		if said.Role == pipeline.RoleUser {
			r.Question = said.Text
			break
		}
	}
	var parts []pipeline.Part
	for _, said := range slices.Backward(messages) {
		for _, item := range said.Items {
			parts = append(parts, pipeline.Part{Item: item})
		}
		if len(parts) > 0 {
			break
		}
	}
	switch {
	case len(parts) == 1:
		r.Item = parts[0].Item
	case len(parts) > 1:
		return pipeline.Request{Parts: append(parts, pipeline.Part{Text: r.Question})}
	case len(m.Can.Media) == 0: // it goes on from a text
		return pipeline.Request{Prompt: r.Question}
	}
	if AsksForCaption(r.Question) && slices.Contains(m.P.Tasks(), "caption") {
		r.Question = ""
	}
	return r
}

// captionWords are words of texts that have a picture described. All are lower case.
var captionWords = []string{"describe", "describes", "caption", "captions", "description", "descriptions", "alt text"}

// AsksForCaption reports whether a text has a picture described as a whole, and asks nothing: it is
// empty, or holds a word such as "describe" or "caption" and no question mark. People's programs send
// such texts, often long ones about style, to models that follow instructions.
func AsksForCaption(text string) bool {
	text = strings.ToLower(strings.TrimSpace(text))
	if text == "" {
		return true
	}
	if strings.Contains(text, "?") {
		return false
	}
	words := strings.FieldsFunc(text, func(r rune) bool { return r < 'a' || r > 'z' })
	spaced := " " + strings.Join(words, " ") + " "
	return slices.ContainsFunc(captionWords, func(w string) bool { return strings.Contains(spaced, " "+w+" ") })
}
