package studio

import (
	"encoding/hex"
	"mime"
	"path"
	"strings"
	"time"
	"unicode/utf8"
)

// Role says who speaks.
type Role string

// The roles.
const (
	RoleUser      Role = "user"
	RoleAssistant Role = "assistant"
	RoleSystem    Role = "system"
)

// State is how far an answer, or a row of a job, has come.
type State string

// The states. A store that is opened makes what was being written when the program ended stopped.
const (
	Waiting State = "waiting"
	Writing State = "writing"
	Done    State = "done"
	Stopped State = "stopped" // by the user, or the end of the program: what there is stays
	Failed  State = "failed"  // Message.Error says why
)

// Final reports whether nothing more comes.
func (s State) Final() bool { return s == Done || s == Stopped || s == Failed }

// Message is one turn. Messages of a chat are a tree: several with one parent are versions of a
// turn, such as the question before and after an edit, or the answers of several models.
type Message struct {
	ID     ID     `json:"id"`
	Chat   ID     `json:"chat"`
	Parent ID     `json:"parent,omitempty"` // "" for the first
	Role   Role   `json:"role"`
	Parts  []Part `json:"parts"`
	State  State  `json:"state"`
	Error  string `json:"error,omitempty"` // of a failed answer, for people
	// Run is the same in answers that were asked for at once, side by side; else "".
	Run ID `json:"run,omitempty"`
	// Answer says how an answer came to be; nil for what people wrote.
	Answer *Answer `json:"answer,omitempty"`
	Author ID      `json:"author,omitempty"` // the person; "" where there is only one
	Stamp
}

// Text is what the message says.
func (m *Message) Text() string { return Text(m.Parts) }

// Text joins the texts of parts, without those of attachments.
func Text(parts []Part) string {
	var texts []string
	for _, p := range parts {
		if p.Kind == KindText && p.Text != "" {
			texts = append(texts, p.Text)
		}
	}
	return strings.Join(texts, "\n\n")
}

// Check reports what breaks a rule.
func (m *Message) Check() error {
	switch m.Role {
	case RoleUser, RoleAssistant, RoleSystem:
	default:
		return invalid("there is no role %q", m.Role)
	}
	switch m.State {
	case Waiting, Writing, Done, Stopped, Failed:
	default:
		return invalid("there is no state %q", m.State)
	}
	if m.Role == RoleUser && len(m.Parts) == 0 {
		return invalid("the message is empty")
	}
	for i := range m.Parts {
		if err := m.Parts[i].Check(); err != nil {
			return err
		}
	}
	if m.Answer == nil {
		return nil
	}
	return m.Answer.check(len(m.Text()))
}

// CheckChange reports whether a message may become another: what is said stays. An edit is a new
// message with the same parent.
func (m *Message) CheckChange(to *Message) error {
	switch {
	case m.ID != to.ID || m.Chat != to.Chat || m.Parent != to.Parent || m.Role != to.Role:
		return invalid("a message keeps its place and role")
	case m.State.Final() && m.Text() != to.Text():
		return invalid("what is said stays: an edit is a new message with the same parent")
	}
	return nil
}

// Kind is a kind of part. Pictures, pages, sounds and films are called as in package media.
type Kind string

// The kinds of parts. Pages are documents that are shown page by page, such as PDF files; files are
// all that no model looks at.
const (
	KindText    Kind = "text"
	KindPicture Kind = "picture"
	KindPage    Kind = "page"
	KindSound   Kind = "sound"
	KindFilm    Kind = "film"
	KindFile    Kind = "file"
)

// Part is a text or an attachment.
type Part struct {
	Kind Kind `json:"kind"`
	// Text is a text part's, or what was read or heard in an attachment; that is searched, too.
	Text string `json:"text,omitempty"`
	Blob Hash   `json:"blob,omitempty"`       // of an attachment
	Name string `json:"name,omitempty"`       // of its file
	Type string `json:"media_type,omitempty"` // such as image/png
	Size int64  `json:"size,omitempty"`       // in bytes
}

// TextPart makes a part of a text.
func TextPart(text string) Part { return Part{Kind: KindText, Text: text} }

// Check reports what breaks a rule, and makes the name that of a file alone, without its folders.
func (p *Part) Check() error {
	switch p.Kind {
	case KindText:
		if p.Blob != "" {
			return invalid("a text has no file")
		}
	case KindPicture, KindPage, KindSound, KindFilm, KindFile:
		if !p.Blob.Valid() {
			return invalid("the attachment %q has no hash of its content", p.Name)
		}
		p.Name = FileName(p.Name)
	default:
		return invalid("there is no kind of part %q", p.Kind)
	}
	if !utf8.ValidString(p.Text) {
		return invalid("a text is not UTF-8")
	}
	return nil
}

// FileName is the name of a file as given by whoever sent it, without folders and characters that a
// file system or a terminal takes for more than a name.
func FileName(name string) string {
	name = path.Base(strings.ReplaceAll(strings.ToValidUTF8(name, ""), `\`, "/"))
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || strings.ContainsRune(`/\:*?"<>|`, r) ||
			r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 { // that turn text around
			return -1
		}
		return r
	}, name)
	name = strings.TrimRight(strings.TrimSpace(name), ".")
	if name == "" {
		return "file"
	}
	for len(name) > longest {
		_, n := utf8.DecodeRuneInString(name)
		name = name[n:] // the end is kept: it has the suffix
	}
	return name
}

// Hash is the SHA-256 of a file's content: 64 digits 0-9a-f.
type Hash string

// Valid reports whether h may be one.
func (h Hash) Valid() bool {
	b, err := hex.DecodeString(string(h))
	return err == nil && len(b) == 32 && hex.EncodeToString(b) == string(h)
}

// Blob is a content that is held.
type Blob struct {
	Hash    Hash      `json:"hash"`
	Size    int64     `json:"size"`
	Created time.Time `json:"created"`
}

// pages are the media types of documents.
var pages = map[string]bool{
	"application/pdf": true, "image/tiff": true, "application/dicom": true,
	"application/vnd.openxmlformats-officedocument.wordprocessingml.document":   true,
	"application/vnd.openxmlformats-officedocument.presentationml.presentation": true,
	"application/vnd.openxmlformats-officedocument.spreadsheetml.sheet":         true,
	"text/markdown": true, "text/csv": true,
}

// KindOf says what kind of part a file of a media type is. SVG and HTML are files: they are no
// picture to a model, and programs to a browser.
func KindOf(mediaType string) Kind {
	t, _, err := mime.ParseMediaType(mediaType)
	if err != nil {
		return KindFile
	}
	major, _, _ := strings.Cut(t, "/")
	switch {
	case pages[t]:
		return KindPage
	case major == "image" && t != "image/svg+xml":
		return KindPicture
	case major == "audio":
		return KindSound
	case major == "video":
		return KindFilm
	}
	return KindFile
}

// Answer says how an answer came to be.
type Answer struct {
	Model       string         `json:"model"`
	Upstream    ID             `json:"upstream,omitempty"` // "": the model ran here
	Persona     ID             `json:"persona,omitempty"`
	PersonaName string         `json:"persona_name,omitempty"` // as it was called then
	Settings    map[string]any `json:"settings,omitempty"`     // api.Settings: what differs from the model's own
	Confidence  *float64       `json:"confidence,omitempty"`   // 0 to 1; nil where the model gives none
	Unsure      bool           `json:"unsure,omitempty"`
	Seconds     float64        `json:"seconds"`                 // the whole answer took
	FirstToken  float64        `json:"first_token_seconds"`     // until its first word
	Tokens      int            `json:"tokens"`                  // written
	Prompt      int            `json:"prompt_tokens,omitempty"` // read
	Finish      string         `json:"finish,omitempty"`        // why it ended: stop, length ...
	// Words are where each word came from. Store.Messages leaves them out, Store.Message has them.
	Words []Word `json:"words,omitempty"`
	// HasWords says that there are Words.
	HasWords bool `json:"has_words,omitempty"`
}

// Word is a piece of an answer's text and where it came from.
type Word struct {
	From    int      `json:"from"` // first byte in Message.Text
	To      int      `json:"to"`   // byte after the last
	LogProb *float64 `json:"logprob,omitempty"`
	// Sources are what it came from, the most important first. Words share none of their memory.
	Sources []Source `json:"sources,omitempty"`
}

// Source is a place in an attachment of the conversation. Which of its fields are set says what it
// is: a picture has a Map or Boxes, a page its number and Boxes, a sound or film times.
type Source struct {
	Blob  Hash         `json:"blob"`            // of the attachment
	Page  int          `json:"page,omitempty"`  // from 1
	Boxes [][4]float64 `json:"boxes,omitempty"` // x1, y1, x2, y2 in parts of the width and height
	Map   *HeatMap     `json:"map,omitempty"`
	Start float64      `json:"start,omitempty"` // seconds
	End   float64      `json:"end,omitempty"`
	Label string       `json:"label,omitempty"` // what was read, heard or named there
	Share float64      `json:"share,omitempty"` // of the word's attention that it got, 0 to 1
}

// HeatMap is attention over a picture.
type HeatMap struct {
	Rows int        `json:"rows"`
	Cols int        `json:"cols"`
	Seen [4]float64 `json:"seen"` // what the map covers: x1, y1, x2, y2 in parts of the picture
	// Weights are rows*cols, row by row from the top left; 255 is the greatest of the answer's.
	Weights []byte `json:"weights"`
}

func (a *Answer) check(text int) error {
	for _, w := range a.Words {
		if w.From < 0 || w.To < w.From || w.To > text {
			return invalid("a word stands at bytes %d to %d of a text of %d", w.From, w.To, text)
		}
		for _, s := range w.Sources {
			if !s.Blob.Valid() {
				return invalid("a word came from %q, which is no hash", s.Blob)
			}
			if m := s.Map; m != nil && (m.Rows < 1 || m.Cols < 1 || len(m.Weights) != m.Rows*m.Cols) {
				return invalid("a map of %d by %d has %d weights", m.Rows, m.Cols, len(m.Weights))
			}
		}
	}
	return nil
}
