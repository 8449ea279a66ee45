package api

import (
	"fmt"
	"io"
	"strings"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/tokenize/chat"
)

// Reply is the line of chat for one answer. Its texts are the same under "answer" and "text".
type Reply struct {
	Message string `json:"message"` // what it answers
	Images  []Name `json:"images,omitempty"`
	Sounds  []Name `json:"sounds,omitempty"`
	Answer  string `json:"answer"`
	pipeline.TextJSON
	Stopped bool `json:"stopped"` // whether the user cut it short
	*Origin
}

// NewReply makes an answer's line.
func NewReply(said, answer TranscriptMessage, text *pipeline.Text, seconds float64) Reply {
	return Reply{
		Message: said.Content, Images: said.Images, Sounds: said.Sounds, Answer: text.Text,
		TextJSON: textOf(text, seconds), Stopped: answer.Stopped,
	}
}

// Transcript is a conversation as chat saves it.
type Transcript struct {
	*Origin
	Messages []TranscriptMessage `json:"messages"`
}

// TranscriptMessage is one turn of a Transcript.
type TranscriptMessage struct {
	Role    string  `json:"role"`
	Content string  `json:"content"`
	Images  []Name  `json:"images,omitempty"`
	Sounds  []Name  `json:"sounds,omitempty"`
	IDs     []int64 `json:"ids,omitempty"`     // of an answer: Text.IDs
	Stopped bool    `json:"stopped,omitempty"` // whether the user cut the answer short
}

// WriteJSON writes the transcript as one object.
func (t *Transcript) WriteJSON(w io.Writer) error { return WriteJSON(w, t) }

// WriteMarkdown writes the transcript to be read. Control characters are written as Printable shows
// them.
func (t *Transcript) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# A conversation with %s\n", Visible(t.Model))
	for _, m := range t.Messages {
		who := m.Role
		switch m.Role {
		case pipeline.RoleUser:
			who = "You"
		case pipeline.RoleAssistant:
			who = Visible(t.Model)
		case pipeline.RoleSystem:
			who = "System"
		}
		fmt.Fprintf(&b, "\n## %s\n\n", who)
		for _, name := range m.Images {
			fmt.Fprintf(&b, "![](<%s>)\n\n", strings.NewReplacer("<", `\<`, ">", `\>`).Replace(Visible(string(name))))
		}
		for _, name := range m.Sounds {
			fmt.Fprintf(&b, "[sound](<%s>)\n\n", strings.NewReplacer("<", `\<`, ">", `\>`).Replace(Visible(string(name))))
		}
		if m.Content != "" {
			fmt.Fprintln(&b, Printable(m.Content))
		}
		if m.Stopped {
			fmt.Fprintln(&b, "\n*(stopped)*")
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// ChatModels lists the models of the hub's cache that have a chat template, by names that Find takes.
func ChatModels() ([]string, error) {
	names, err := CachedModels()
	if err != nil {
		return nil, err
	}
	var able []string
	for _, name := range names {
		m, err := Find(name)
		if err == nil && m.chats() {
			able = append(able, name)
		}
	}
	return able, nil
}

// chats says whether the model's files have a chat template.
func (m Model) chats() bool {
	bundle, err := m.Bundle(models.WithoutVerification())
	if err != nil {
		return false
	}
	defer bundle.Close()
	template, err := chat.Load(bundle.File)
	return err == nil && template != nil
}
