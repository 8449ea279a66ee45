package openai

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image/png"
	"net/http"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

// foundHeader says where in a document the answer stands: an object {"document","page","box","line","unsure"} of JSON in
// ASCII.
const foundHeader = "Xpipe-Found"

// unnamedDocument is a document that the client gave no name.
const unnamedDocument = "document"

// newDocument makes a part of a file: PDF stays what it is, plain text is a text.
func newDocument(at, name string, data []byte) (part, error) {
	if name = strings.TrimSpace(name); name == "" {
		name = unnamedDocument
	}
	switch {
	case serving.IsPDF(data):
		return part{kind: media.Pages, data: data, name: name}, nil
	case serving.IsText(data):
		return part{text: name + ":\n" + string(data)}, nil
	}
	return part{}, badParam(at, unsupported, "%s is neither a PDF file nor plain text", web.Shortened(name))
}

// readFile reads a part of the type file or input_file.
func (h handlers) readFile(ctx context.Context, at string, f fileContent) (part, error) {
	switch {
	case f.FileID != "":
		return part{}, badParam(at+".file_id", unsupported, "this server keeps no files; send the file itself as file_data, a data: URL")
	case f.Data == "" && f.URL == "":
		return part{}, badParam(at+".file_data", missing, `%s needs file_data: "data:application/pdf;base64,..."`, at)
	case f.Data == "":
		data, err := h.media.Load(ctx, f.URL)
		if err != nil {
			return part{}, aboutParam(at+".file_url", err)
		}
		return newDocument(at, f.Name, data)
	}
	_, data, ok, err := web.DataURL(f.Data)
	if !ok {
		data, err = web.Base64(f.Data)
	}
	if err != nil {
		return part{}, aboutParam(at+".file_data", err)
	}
	return newDocument(at, f.Name, data)
}

// readDocument reads a block of Anthropic's type document: its parts.
func (h handlers) readDocument(ctx context.Context, at string, b block) ([]part, error) {
	switch b.Source.Type {
	case "text":
		one, err := newDocument(at, b.Title, []byte(b.Source.Data))
		return []part{one}, err
	case "content":
		blocks, err := readBlocks(at+".source.content", b.Source.Content)
		if err != nil {
			return nil, err
		}
		turns, err := h.readTurn(ctx, at+".source.content", pipeline.RoleUser, blocks)
		if err != nil {
			return nil, err
		}
		return turns[len(turns)-1].parts, nil
	}
	data, err := h.readSource(ctx, at, b)
	if err != nil {
		return nil, err
	}
	one, err := newDocument(at, b.Title, data)
	return []part{one}, err
}

// askDocuments puts what a model reads of documents in their place: for one with a chat template the text of them, or the
// passages that fit the last question of the user, and the page's picture where it sees any; for another one that sees
// pictures the picture of the page that fits. Embedded models are too small for either: a line of the document is the
// answer then, in j.found.
func (h handlers) askDocuments(ctx context.Context, m *serving.Model, j *job, header http.Header) error {
	question, pictures, documents := "", 0, 0
	for _, t := range j.turns {
		if t.role == pipeline.RoleUser {
			question = t.text()
		}
		for _, p := range t.parts {
			switch p.kind {
			case media.Pages:
				documents++
			case media.Pictures:
				pictures++
			}
		}
	}
	if documents == 0 {
		return nil
	}
	var last *api.DocumentAnswer
	for i := range j.turns {
		t := &j.turns[i]
		var parts []part
		for k, p := range t.parts {
			if p.kind != media.Pages {
				parts = append(parts, p)
				continue
			}
			documents--
			if !m.Can.Chat && documents > 0 { // such a model answers about one
				continue
			}
			made, found, err := h.askDocument(ctx, m, p, question, pictures == 0 && documents == 0)
			if err != nil {
				return aboutParam(fmt.Sprintf("messages[%d].content[%d]", i, k), err)
			}
			last = found
			parts = append(parts, made...)
		}
		t.parts = parts
	}
	if last == nil {
		return nil
	}
	if m.AnswersByLine() {
		j.found = last.String()
	}
	where := map[string]any{
		"document": last.Document, "page": last.Page, "box": last.Box, "line": last.Line, "unsure": last.Confidence != nil && last.Unsure,
	}
	data, err := json.Marshal(where)
	if err != nil {
		return err
	}
	var ascii strings.Builder
	for _, r := range string(data) {
		switch {
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&ascii, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		case r > 0x7e:
			fmt.Fprintf(&ascii, `\u%04x`, r)
		default:
			ascii.WriteRune(r)
		}
	}
	header.Set(foundHeader, ascii.String())
	return nil
}

// askDocument makes parts of a document, and says where in it the answer may stand.
func (h handlers) askDocument(
	ctx context.Context, m *serving.Model, p part, question string, show bool,
) (parts []part, found *api.DocumentAnswer, err error) {
	a, err := h.service.Document(ctx, serving.DocumentQuery{Name: p.name, Data: p.data})
	if err != nil {
		return nil, nil, err
	}
	defer a.Document.Close()
	if m.AnswersByLine() {
		found, err := a.Ask(ctx, question)
		return nil, found, err
	}
	sees := m.Can.Takes(media.Pictures)
	if !m.Can.Chat && !sees {
		return nil, nil, fmt.Errorf("%w: model %s neither converses nor sees pages", pipeline.ErrUnsupported, m.Name)
	}
	found = &api.DocumentAnswer{Document: api.Name(p.name)}
	found.Question = question
	if m.Can.Chat {
		text, err := a.Context(ctx, question, 0)
		if err != nil {
			return nil, nil, err
		}
		switch {
		case text != "":
			parts = append(parts, part{text: text})
		case !sees:
			return nil, nil, api.Inputf("%s: there is no text in it, and model %s sees no pages", p.name, m.Name)
		}
	}
	if !sees || m.Can.Chat && !show {
		if strings.TrimSpace(question) != "" {
			found, err = a.Ask(ctx, question) // for where it may stand
		}
		return parts, found, err
	}
	shown, err := a.Show(ctx, found)
	if err != nil {
		return nil, nil, err
	}
	var picture bytes.Buffer
	if err := png.Encode(&picture, shown); err != nil {
		return nil, nil, err
	}
	return append(parts, part{kind: media.Pictures, data: picture.Bytes()}), found, nil
}

// giveFound answers with what was found.
func (j *job) giveFound(emit func(int, piece) error) (*outcome, error) {
	if err := emit(0, piece{text: j.found}); err != nil {
		return nil, err
	}
	return &outcome{texts: []written{{text: j.found, finish: finishStop}}}, nil
}
