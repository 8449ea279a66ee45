package answer

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	_ "github.com/crossattn/xpipe/audio/codecs"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/studio"
	"github.com/crossattn/xpipe/studio/upstream/upstreamtest"
)

// shelf is a Store in a folder.
type shelf struct {
	dir string
	up  studio.Upstream
}

func (s *shelf) path(h studio.Hash) string { return filepath.Join(s.dir, string(h)) }

func (s *shelf) OpenBlob(_ context.Context, h studio.Hash) (*os.File, error) {
	f, err := os.Open(s.path(h))
	if err != nil {
		err = studio.ErrNotFound
	}
	return f, err
}

func (s *shelf) PutBlob(_ context.Context, r io.Reader, _ int64) (*studio.Blob, error) {
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	h := studio.Hash(hex.EncodeToString(sum[:]))
	return &studio.Blob{Hash: h, Size: int64(len(data))}, os.WriteFile(s.path(h), data, 0o600)
}

func (s *shelf) Upstream(_ context.Context, id studio.ID) (*studio.Upstream, error) {
	if id != s.up.ID {
		return nil, studio.ErrNotFound
	}
	return &s.up, nil
}

func (s *shelf) Upstreams(context.Context, studio.ID) ([]studio.Upstream, error) {
	return []studio.Upstream{s.up}, nil
}

func (s *shelf) Key(context.Context, studio.ID) (studio.Secret, error) {
	return upstreamtest.Key, nil
}

// open returns a Desk over a folder, with an upstream that is a stub.
func open(t *testing.T) (*Desk, *shelf, *upstreamtest.Service) {
	t.Helper()
	stub := &upstreamtest.Service{}
	server := httptest.NewServer(stub)
	t.Cleanup(server.Close)
	s := &shelf{dir: t.TempDir(), up: studio.Upstream{ID: studio.NewID(), Name: "Stub", URL: server.URL + "/v1", Models: []string{"gpt-4o", "dall-e-3"}}}
	service := serving.New(serving.Config{})
	t.Cleanup(service.Close)
	return &Desk{Serving: service, Store: s}, s, stub
}

// attach makes a part of a file.
func attach(t *testing.T, s *shelf, path, mediaType string) studio.Part {
	t.Helper()
	data, err := os.ReadFile(filepath.FromSlash(path))
	if err != nil {
		t.Fatal(err)
	}
	blob, err := s.PutBlob(t.Context(), bytes.NewReader(data), 0)
	if err != nil {
		t.Fatal(err)
	}
	return studio.Part{Kind: studio.KindOf(mediaType), Blob: blob.Hash, Name: filepath.Base(path), Type: mediaType, Size: blob.Size}
}

// say makes a conversation of one message.
func say(text string, parts ...studio.Part) []*studio.Message {
	if text != "" {
		parts = append(parts, studio.TextPart(text))
	}
	return []*studio.Message{{ID: studio.NewID(), Role: studio.RoleUser, State: studio.Done, Parts: parts}}
}

const (
	picture = "../../testdata/images/red-circle.png"
	sound   = "../../testdata/speech/jfk.flac"
	paper   = "../../testdata/document/pages.pdf"
)

// Each embedded model answers in its way, and its words say where they came from.
func TestHere(t *testing.T) {
	t.Parallel()
	d, s, _ := open(t)
	seen, heard, page := attach(t, s, picture, "image/png"), attach(t, s, sound, "audio/flac"), attach(t, s, paper, "application/pdf")
	shows := func(w studio.Source) bool { return w.Map != nil && len(w.Map.Weights) == w.Map.Rows*w.Map.Cols }
	boxed := func(w studio.Source) bool { return len(w.Boxes) > 0 }
	timed := func(w studio.Source) bool { return w.End > w.Start }
	for _, test := range []struct {
		name, model string
		branch      []*studio.Message
		task, err   string
		source      func(studio.Source) bool
	}{
		{"a caption", "blip2-mini", say("", seen), TaskWrite, "", shows},
		{"two pictures", "blip2-mini", say("what color is it?", seen, attach(t, s, "../../testdata/images/cat.jpg", "image/jpeg")), TaskWrite, "", shows},
		{"a question", "blip2-mini", say("what color is it?", seen), TaskWrite, "", shows},
		{"another family's", "flamingo-mini", say("what is this?", seen), TaskWrite, "", shows},
		{"an answer that is picked", "lxmert-mini", say("what color is the shape?", seen), TaskWrite, "", boxed},
		{"labels", "clip-mini", say("a circle, a square", seen), TaskClassify, "", shows},
		{"a sound", "whisper-mini", say("", heard), TaskTranscribe, "", timed},
		{"a document", "ocr", say("", page), TaskRead, "", boxed},
		{"a page as a picture", "blip2-mini", say("", page), TaskWrite, "", nil},
		{"no picture", "blip2-mini", say("hello"), "", "attach one", nil},
		{"no sound", "whisper-mini", say("hello"), "", "attach one", nil},
		{"the wrong kind", "blip2-mini", say("what is said?", heard), "", "cannot take jfk.flac", nil},
		{"no labels", "clip-mini", say("a circle", seen), "", "two or more", nil},
		{"no such model", "no-such-model", say("hello"), "", "no model", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			q := Question{Model: ParseRef(test.model), Branch: test.branch}
			var pieces strings.Builder
			r, err := d.Answer(t.Context(), q, func(p string) { pieces.WriteString(p) })
			if test.err != "" {
				if err == nil || !strings.Contains(err.Error(), test.err) {
					t.Fatalf("the error is %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			text := studio.Text(r.Parts)
			if text == "" || text != pieces.String() || r.Answer.Settings["task"] != test.task || r.Answer.Seconds <= 0 {
				t.Fatalf("%q, %+v", text, r.Answer)
			}
			m := studio.Message{Role: studio.RoleAssistant, State: studio.Done, Parts: r.Parts, Answer: &r.Answer}
			if err := m.Check(); err != nil {
				t.Error(err)
			}
			if test.source == nil {
				return
			}
			words := r.Answer.Words
			if !slices.ContainsFunc(words, func(w studio.Word) bool { return w.Sources != nil }) {
				if words, err = d.Trace(t.Context(), q, &m); err != nil {
					t.Fatal(err)
				}
			}
			good := 0
			for _, w := range words {
				if len(w.Sources) > 0 && test.source(w.Sources[0]) && strings.TrimSpace(text[w.From:w.To]) != "" {
					good++
				}
			}
			if good == 0 || good < len(words)/2 {
				t.Errorf("%d of %d words of %q have sources", good, len(words), text)
			}
		})
	}
}

// An upstream gets the conversation with its files, and words of documents are found again.
func TestElsewhere(t *testing.T) {
	t.Parallel()
	d, s, stub := open(t)
	ref := Ref{s.up.ID, "gpt-4o"}
	if ParseRef(ref.String()) != ref || ParseRef("org/name") != (Ref{Name: "org/name"}) {
		t.Error("a name of a model is not read back")
	}
	page := attach(t, s, paper, "application/pdf")
	branch := say("read it out", page, attach(t, s, picture, "image/png"), attach(t, s, sound, "audio/flac"))
	q := Question{
		Model: ref, Branch: branch, Settings: map[string]any{"temperature": 0.5, "max_new_tokens": 40.0},
		Persona: &studio.Persona{ID: studio.NewID(), Name: "Reader", Instructions: "Be brief."},
	}
	r, err := d.Answer(t.Context(), q, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	if r.Answer.PersonaName != "Reader" || r.Answer.Settings["temperature"] != 0.5 || r.Answer.Finish != "stop" || r.Answer.Tokens == 0 {
		t.Errorf("%+v", r.Answer)
	}
	body := stub.Requests()[0]
	if messages := body["messages"].([]any); len(messages) != 2 || body["temperature"] != 0.5 || body["max_tokens"] != 40.0 {
		t.Errorf("%v", body)
	}
	words, err := d.Trace(t.Context(), q, &studio.Message{Parts: r.Parts, Answer: &r.Answer})
	if err != nil || !slices.ContainsFunc(words, func(w studio.Word) bool { return w.Sources != nil && w.Sources[0].Page == 1 }) {
		t.Errorf("the words of the document are not found in it: %v", err)
	}
	drawn, err := d.Answer(t.Context(), Question{Model: Ref{s.up.ID, "dall-e-3"}, Branch: say("a square")}, nil)
	if err != nil || len(drawn.Parts) != 1 || drawn.Parts[0].Kind != studio.KindPicture {
		t.Errorf("%+v, %v", drawn, err)
	}
	if _, err := d.Answer(t.Context(), Question{Model: Ref{studio.NewID(), "gpt-4o"}, Branch: branch}, nil); !errors.Is(err, studio.ErrNotFound) {
		t.Errorf("an upstream that is gone: %v", err)
	}
	stub.Break = "cut"
	r, err = d.Answer(t.Context(), q, nil)
	if err == nil || studio.Text(r.Parts) == "" {
		t.Errorf("what came before the end is lost: %v", err)
	}
}

// Looking at the list of models opens none.
func TestModels(t *testing.T) {
	t.Parallel()
	d, _, _ := open(t)
	list, err := d.Models(t.Context(), "")
	if err != nil || len(list) < 8 || list[len(list)-1].From != "Stub" || !list[len(list)-1].Draws {
		t.Errorf("%+v, %v", list, err)
	}
	if opened := d.Serving.Opened(); len(opened) != 0 {
		t.Errorf("%v are open", opened)
	}
}
