// Package studio says what a studio holds and by which rules: workspaces with folders, chats whose
// messages are a tree, personas, saved prompts, jobs, upstreams, and the search over them. It knows
// no database and no HTTP. Package store keeps it in SQLite, package web shows it; both meet in the
// interface [Store].
package studio

import (
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// What is wrong, to be asked with errors.Is.
var (
	// ErrNotFound says that there is no such thing, or no longer.
	ErrNotFound = errors.New("not found")
	// ErrInvalid says that a value breaks a rule of this package; the message says which.
	ErrInvalid = errors.New("invalid")
	// ErrFull says that the disk has no room. Nothing that was acknowledged is lost.
	ErrFull = errors.New("the disk is full")
	// ErrNewer says that a newer xpipe wrote the store.
	ErrNewer = errors.New("the store is from a newer version of xpipe")
	// ErrLocked says that another process has the data folder open.
	ErrLocked = errors.New("the data folder is in use by another xpipe")
	// ErrDamaged says that files of the store are not as they were written.
	ErrDamaged = errors.New("the store is damaged")
	// ErrKey says that a key of an upstream cannot be decrypted: the key file is missing or another.
	ErrKey = errors.New("the key cannot be decrypted")
)

func invalid(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrInvalid, fmt.Sprintf(format, args...))
}

// ID names a thing: 26 characters a-z and 2-7, of which the first ten are the time, so that IDs
// sort by age. The rest is random: nobody guesses one. "" is no thing.
type ID string

var idCoding = base32.NewEncoding("234567abcdefghijklmnopqrstuvwxyz").WithPadding(base32.NoPadding)

// NewID returns a new ID.
func NewID() ID {
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], uint64(time.Now().UnixMilli())<<16)
	rand.Read(b[6:])
	return ID(idCoding.EncodeToString(b[:]))
}

// Valid reports whether id may name a thing.
func (id ID) Valid() bool {
	b, err := idCoding.DecodeString(string(id))
	return err == nil && len(b) == 16
}

// Stamp has the times of a thing. The store sets them.
type Stamp struct {
	Created time.Time `json:"created"`
	Updated time.Time `json:"updated"`
	// Trashed is when it was put in the trash; nil where it was not. What lies in a trashed folder
	// has the folder's time, so that it comes back with it.
	Trashed *time.Time `json:"trashed,omitempty"`
}

// Workspace holds everything of one project. All else belongs to one, directly or through its chat.
type Workspace struct {
	ID   ID     `json:"id"`
	Name string `json:"name"`
	Stamp
}

// Check reports what breaks a rule.
func (w *Workspace) Check() error { return checkName("workspace", w.Name) }

// Folder holds chats and folders.
type Folder struct {
	ID        ID     `json:"id"`
	Workspace ID     `json:"workspace"`
	Parent    ID     `json:"parent,omitempty"` // "": it lies in the workspace itself
	Name      string `json:"name"`
	Stamp
}

// Check reports what breaks a rule. The store also checks that no folder lies in itself.
func (f *Folder) Check() error { return checkName("folder", f.Name) }

// Chat is a tree of messages.
type Chat struct {
	ID        ID     `json:"id"`
	Workspace ID     `json:"workspace"`
	Folder    ID     `json:"folder,omitempty"` // "": it lies in the workspace itself
	Title     string `json:"title"`
	// Leaf is the last message of the branch that is shown; "" is the newest.
	Leaf     ID       `json:"leaf,omitempty"`
	Persona  ID       `json:"persona,omitempty"` // that answers by default
	Models   []string `json:"models,omitempty"`  // that answer by default; several answer side by side
	Tags     []string `json:"tags,omitempty"`    // sorted
	Pinned   bool     `json:"pinned,omitempty"`
	Archived bool     `json:"archived,omitempty"`
	Author   ID       `json:"author,omitempty"` // the person; "" where there is only one
	Stamp
}

// MostModels is how many models answer side by side at most.
const MostModels = 4

// Check reports what breaks a rule, and puts tags in order.
func (c *Chat) Check() error {
	if len(c.Models) > MostModels {
		return invalid("%d models are more than the %d that answer side by side", len(c.Models), MostModels)
	}
	var err error
	if c.Tags, err = checkTags(c.Tags); err != nil {
		return err
	}
	if c.Title == "" { // it gets one when the first message is there
		return nil
	}
	return checkName("title", c.Title)
}

// longest is how many characters names have at most.
const longest = 200

func checkName(what, name string) error {
	n := utf8.RuneCountInString(name)
	switch {
	case !utf8.ValidString(name):
		return invalid("the %s is not UTF-8", what)
	case strings.TrimSpace(name) == "":
		return invalid("the %s needs a name", what)
	case n > longest:
		return invalid("the %s has %d characters, more than %d", what, n, longest)
	case strings.ContainsFunc(name, unicode.IsControl):
		return invalid("the %s has control characters", what)
	}
	return nil
}

// Title is what a chat is called after its first message: the beginning of its text, cut at a word.
func Title(parts []Part) string {
	text := strings.Join(strings.FieldsFunc(Text(parts), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	}), " ")
	if text == "" {
		for _, p := range parts {
			if p.Kind != KindText {
				text = p.Name
				break
			}
		}
	}
	const most = 60
	runes := []rune(text)
	if len(runes) <= most {
		return text
	}
	cut := string(runes[:most])
	if i := strings.LastIndexByte(cut, ' '); i > len(cut)/2 {
		cut = cut[:i]
	}
	return cut + "…"
}

// ThingKind is a kind of thing that can be put in the trash.
type ThingKind string

// The kinds of things.
const (
	ThingWorkspace ThingKind = "workspace" // with all in it
	ThingFolder    ThingKind = "folder"    // with folders and chats in it
	ThingChat      ThingKind = "chat"
	ThingMessage   ThingKind = "message" // with all that follows it
	ThingPersona   ThingKind = "persona"
	ThingPrompt    ThingKind = "prompt"
	ThingJob       ThingKind = "job"
)

// Thing names one thing.
type Thing struct {
	Kind ThingKind `json:"kind"`
	ID   ID        `json:"id"`
}

// Trashed is a thing in the trash that was put there itself, not with what it lies in.
type Trashed struct {
	Thing
	Workspace ID        `json:"workspace"`
	Name      string    `json:"name"`
	At        time.Time `json:"at"`
}
