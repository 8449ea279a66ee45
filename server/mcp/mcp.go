// Package mcp offers what xpipe does as tools of the Model Context Protocol, over files that the user
// allows. The protocol is that of the official SDK, github.com/modelcontextprotocol/go-sdk, which nothing
// else here imports.
package mcp

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/server/own"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// Tools are what a client of the protocol may call.
type Tools struct {
	Service *serving.Service
	Files   *Files
	Version string // of the program
}

// instructions say to a client's model what is there.
const instructions = "Describes and compares pictures, answers questions about them, and writes down what is said in " +
	"sounds and written on pages, with small models on this machine. Files are named by their paths; the tool " +
	"files lists those that may be read."

// Server returns a server with the tools.
func (t *Tools) Server() *sdk.Server {
	s := sdk.NewServer(&sdk.Implementation{Name: "xpipe", Title: "xpipe", Version: t.Version},
		&sdk.ServerOptions{Instructions: instructions})
	add(s, "files", "List pictures, documents and sounds", "Lists the pictures, documents and sounds that the other tools may read.", t.files)
	add(s, "caption", "Describe a picture", "Describes a picture in a few words.", t.caption)
	add(s, "ask", "Ask about a picture or document", "Answers a question about a picture; with choices it picks one of them and "+
		"gives each a probability. Of a PDF file, and with read of any picture of a page, it finds the line that answers, and its page.", t.ask)
	add(s, "match", "Compare a picture with texts", "Says how well each text fits a picture: a probability and a similarity.", t.match)
	add(s, "classify", "Sort a picture", "Gives each label a probability for a picture, the best first.", t.classify)
	add(s, "read", "Read a page", "Writes down what is written on the picture of a page, in reading order, with its places.", t.read)
	add(s, "transcribe", "Write down a sound", "Writes down what is said in a sound, with the time of each piece.", t.transcribe)
	if t.Service.Library() != nil {
		add(s, "find", "Search the library", "Finds pictures by what they show, and pages and sounds by their words, "+
			"among those that may be read. Give a text, or a picture that hits look like.", t.find)
	}
	return s
}

// Path is where Routes serve the protocol.
const Path = "/mcp"

// Routes lists the routes that serve the protocol over HTTP, as its transport "streamable HTTP" has it.
// A request stands for itself; there are no sessions.
func (t *Tools) Routes() []web.Route {
	s := t.Server()
	handler := sdk.NewStreamableHTTPHandler(func(*http.Request) *sdk.Server { return s },
		&sdk.StreamableHTTPOptions{Stateless: true, JSONResponse: true})
	return []web.Route{{Pattern: Path, Handler: handler}}
}

// add adds a tool that reads files and changes nothing. Its result is the text for people, and the
// value beside it.
func add[In any](s *sdk.Server, name, title, what string, do func(context.Context, In) (string, any, error)) {
	closed := false
	tool := &sdk.Tool{
		Name: name, Title: title, Description: what,
		Annotations: &sdk.ToolAnnotations{ReadOnlyHint: true, OpenWorldHint: &closed},
	}
	sdk.AddTool(s, tool, func(ctx context.Context, _ *sdk.CallToolRequest, in In) (*sdk.CallToolResult, any, error) {
		text, value, err := do(ctx, in)
		if err != nil {
			_, _, message := web.Describe(err)
			return nil, nil, errors.New(message)
		}
		return &sdk.CallToolResult{Content: []sdk.Content{&sdk.TextContent{Text: text}}}, value, nil
	})
}

type filesInput struct {
	Folder string `json:"folder,omitempty" jsonschema:"a folder below those that may be read; without it all of them"`
}

func (t *Tools) files(_ context.Context, in filesInput) (string, any, error) {
	list, more := t.Files.List(cmp.Or(in.Folder, "."))
	if len(list) == 0 {
		return "", nil, web.Badf("there are no pictures or sounds in the folders that may be read; xpipe mcp --allow FOLDER allows one")
	}
	text := strings.Join(list, "\n")
	if more {
		text += "\n... and more: name a folder"
	}
	return text, map[string]any{"files": list, "more": more}, nil
}

// run does what a verb does with a file and fields.
func (t *Tools) run(ctx context.Context, verb, field, path, model string, values map[string][]string) ([]any, error) {
	data, err := t.Files.Read(path)
	if err != nil {
		return nil, err
	}
	form := &web.Form{Values: values, Files: map[string][]web.File{field: {{Name: filepath.Base(path), Data: data}}}}
	if form.Values == nil {
		form.Values = map[string][]string{}
	}
	if model != "" {
		form.Values["model"] = []string{model}
	}
	return own.Do(ctx, t.Service, t.Version, verb, form)
}

type captionInput struct {
	Image string `json:"image" jsonschema:"path of the picture"`
	Model string `json:"model,omitempty" jsonschema:"name of the model; without it a small one that is built in"`
}

func (t *Tools) caption(ctx context.Context, in captionInput) (string, any, error) {
	lines, err := t.run(ctx, "caption", "image", in.Image, in.Model, nil)
	if err != nil {
		return "", nil, err
	}
	line := lines[0].(api.Caption)
	text := line.Caption
	if c := line.Confidence; c != nil && c.Unsure {
		text += " (unsure)"
	}
	return text, line, nil
}

type askInput struct {
	Image    string   `json:"image" jsonschema:"path of the picture or PDF file"`
	Question string   `json:"question" jsonschema:"the question about it"`
	Choices  []string `json:"choices,omitempty" jsonschema:"answers to pick among, two or more; not for documents"`
	Read     bool     `json:"read,omitempty" jsonschema:"take the picture for a page, and answer from what is written on it"`
	Page     int      `json:"page,omitempty" jsonschema:"the page of a document to ask about, from 1; without it the one that fits the question"`
	Model    string   `json:"model,omitempty" jsonschema:"name of the model; without it a small one that is built in"`
}

func (t *Tools) ask(ctx context.Context, in askInput) (string, any, error) {
	values := map[string][]string{"question": {in.Question}, "choice": in.Choices}
	if in.Read {
		values["read"] = []string{"true"}
	}
	if in.Page != 0 {
		values["page"] = []string{strconv.Itoa(in.Page)}
	}
	lines, err := t.run(ctx, "ask", "image", in.Image, in.Model, values)
	if err != nil {
		return "", nil, err
	}
	if found, ok := lines[0].(*api.DocumentAnswer); ok {
		return found.String(), found, nil
	}
	line := lines[0].(api.Answer)
	text := line.Answer
	for _, c := range line.Choices {
		text += fmt.Sprintf("\n%.4f %s", c.Probability, c.Text)
	}
	return text, line, nil
}

type matchInput struct {
	Image string   `json:"image" jsonschema:"path of the picture"`
	Texts []string `json:"texts" jsonschema:"texts to compare the picture with"`
	Model string   `json:"model,omitempty" jsonschema:"name of the model; without it a small one that is built in"`
}

func (t *Tools) match(ctx context.Context, in matchInput) (string, any, error) {
	lines, err := t.run(ctx, "match", "image", in.Image, in.Model, map[string][]string{"text": in.Texts})
	var b strings.Builder
	for _, line := range lines {
		m := line.(api.Match)
		probability := "-" // the model's scores have no scale
		if m.Probability != nil {
			probability = fmt.Sprintf("%.4f", *m.Probability)
		}
		fmt.Fprintf(&b, "%s (similarity %.4f) %s\n", probability, m.Similarity, m.Text)
	}
	return b.String(), map[string]any{"matches": lines}, err
}

type classifyInput struct {
	Image  string   `json:"image" jsonschema:"path of the picture"`
	Labels []string `json:"labels,omitempty" jsonschema:"labels to choose from; a model with classes of its own takes none"`
	Model  string   `json:"model,omitempty" jsonschema:"name of the model; without it a small one that is built in"`
}

func (t *Tools) classify(ctx context.Context, in classifyInput) (string, any, error) {
	lines, err := t.run(ctx, "classify", "image", in.Image, in.Model, map[string][]string{"label": in.Labels})
	var b strings.Builder
	for _, line := range lines {
		l := line.(api.Label)
		if l.Probability != nil {
			fmt.Fprintf(&b, "%.4f %s\n", *l.Probability, l.Label)
		} else {
			fmt.Fprintf(&b, "- %s\n", l.Label)
		}
	}
	return b.String(), map[string]any{"labels": lines}, err
}

type readInput struct {
	Image string `json:"image" jsonschema:"path of the picture of a page"`
	Words bool   `json:"words,omitempty" jsonschema:"give each word its place"`
	Model string `json:"model,omitempty" jsonschema:"name of the model; without it the one that is built in"`
}

func (t *Tools) read(ctx context.Context, in readInput) (string, any, error) {
	values := map[string][]string{}
	if in.Words {
		values["words"] = []string{"true"}
	}
	lines, err := t.run(ctx, "read", "image", in.Image, in.Model, values)
	if err != nil {
		return "", nil, err
	}
	page := lines[0].(api.Page)
	return page.Text, page, nil
}

type transcribeInput struct {
	Audio     string `json:"audio" jsonschema:"path of the sound: WAV, FLAC, MP3, Ogg Vorbis or Ogg Opus"`
	Language  string `json:"language,omitempty" jsonschema:"what is spoken, such as fr; without it what is heard"`
	Translate bool   `json:"translate,omitempty" jsonschema:"write English, whatever is spoken"`
	Words     bool   `json:"words,omitempty" jsonschema:"give each word its time"`
	Model     string `json:"model,omitempty" jsonschema:"name of the model; without it a small one that is built in, of English"`
}

func (t *Tools) transcribe(ctx context.Context, in transcribeInput) (string, any, error) {
	values := map[string][]string{}
	if in.Language != "" {
		values["language"] = []string{in.Language}
	}
	if in.Translate {
		values["task"] = []string{"translate"}
	}
	if in.Words {
		values["words"] = []string{"true"}
	}
	lines, err := t.run(ctx, "transcribe", "audio", in.Audio, in.Model, values)
	if err != nil {
		return "", nil, err
	}
	line := lines[0].(api.AudioTranscript)
	return line.Text, line, nil
}

type findInput struct {
	Text  string   `json:"text,omitempty" jsonschema:"what is sought, in words"`
	Like  string   `json:"like,omitempty" jsonschema:"path of a picture that hits look like"`
	In    []string `json:"in,omitempty" jsonschema:"photos, pages or sounds; without it all"`
	After string   `json:"after,omitempty" jsonschema:"only what was taken, or changed, at a date or later, such as 2024-05-31 or 2024"`
	Limit int      `json:"limit,omitempty" jsonschema:"the best so many hits; without it 10"`
}

// find searches the library, as far as its files may be read.
func (t *Tools) find(ctx context.Context, in findInput) (string, any, error) {
	sought := api.Sought{
		Text: strings.TrimSpace(in.Text), In: in.In, After: in.After, Limit: cmp.Or(in.Limit, 10), Folders: t.Files.Paths(),
	}
	switch {
	case sought.Text == "" && in.Like == "":
		return "", nil, web.Badf("find needs a text, or like, a picture's path")
	case sought.Limit < 1 || sought.Limit > mostListed:
		return "", nil, web.Badf("limit is %d, not a number from 1 to %d", sought.Limit, mostListed)
	case len(sought.Folders) == 0:
		return "", nil, t.Files.errNone("")
	}
	var like []byte
	if in.Like != "" {
		var err error
		if like, err = t.Files.Read(in.Like); err != nil {
			return "", nil, err
		}
	}
	hits, err := own.Find(ctx, t.Service, sought, like, "")
	if err != nil {
		return "", nil, err
	}
	var b strings.Builder
	for _, h := range hits {
		fmt.Fprintf(&b, "%s", api.Visible(string(h.Path)))
		if h.Page > 0 {
			fmt.Fprintf(&b, ", page %d", h.Page)
		}
		if h.Start != nil && h.End != nil {
			fmt.Fprintf(&b, ", %s to %s", api.Clock(*h.Start), api.Clock(*h.End))
		}
		if h.Text != "" {
			fmt.Fprintf(&b, ": %s", h.Text)
		}
		b.WriteByte('\n')
	}
	if len(hits) == 0 {
		b.WriteString("nothing is found")
	}
	return b.String(), map[string]any{"hits": hits}, nil
}
