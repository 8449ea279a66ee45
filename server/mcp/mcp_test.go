package mcp_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/api/pagefiles"
	_ "github.com/crossattn/xpipe/audio/codecs"
	"github.com/crossattn/xpipe/server"
	"github.com/crossattn/xpipe/server/mcp"
	"github.com/crossattn/xpipe/server/serving"
	"github.com/crossattn/xpipe/server/web"
)

const testdata = "../../testdata/"

// tools opens tools over folders.
func tools(t *testing.T, folders ...string) *mcp.Tools {
	t.Helper()
	files, err := mcp.OpenFiles(1<<20, folders...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { files.Close() })
	service := serving.New(serving.Config{Catalog: &serving.Catalog{Named: []string{testdata + "layouts/whisper-transformersjs"}}, OpenDocument: pagefiles.Data})
	t.Cleanup(service.Close)
	return &mcp.Tools{Service: service, Files: files, Version: "v1.2.3"}
}

// connect connects a client to a server in this process.
func connect(t *testing.T, s *sdk.Server) *sdk.ClientSession {
	t.Helper()
	mine, its := sdk.NewInMemoryTransports()
	if _, err := s.Connect(t.Context(), its, nil); err != nil {
		t.Fatal(err)
	}
	return client(t, mine)
}

func client(t *testing.T, over sdk.Transport) *sdk.ClientSession {
	t.Helper()
	c, err := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, nil).Connect(t.Context(), over, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// call calls a tool; what are the names and values of its arguments.
func call(t *testing.T, c *sdk.ClientSession, tool string, arguments map[string]any) (text string, value map[string]any, failed bool) {
	t.Helper()
	r, err := c.CallTool(t.Context(), &sdk.CallToolParams{Name: tool, Arguments: arguments})
	if err != nil {
		t.Fatalf("%s %v: %v", tool, arguments, err)
	}
	for _, part := range r.Content {
		text += part.(*sdk.TextContent).Text
	}
	data, err := json.Marshal(r.StructuredContent)
	if err != nil {
		t.Fatal(err)
	}
	json.Unmarshal(data, &value)
	return text, value, r.IsError
}

type arguments = map[string]any

// Each tool gives a text and the command's line beside it.
func TestTools(t *testing.T) {
	t.Parallel()
	c := connect(t, tools(t, testdata+"images", testdata+"speech", testdata+"ocr/golden", testdata+"document/questions").Server())
	list, err := c.ListTools(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, tool := range list.Tools {
		names = append(names, tool.Name)
		if tool.InputSchema == nil || tool.Description == "" || !tool.Annotations.ReadOnlyHint {
			t.Errorf("%+v", tool)
		}
	}
	slices.Sort(names)
	if want := []string{"ask", "caption", "classify", "files", "match", "read", "transcribe"}; !slices.Equal(names, want) {
		t.Errorf("%v", names)
	}
	text, value, failed := call(t, c, "files", nil)
	if files, _ := value["files"].([]any); failed || len(files) < 5 || !strings.Contains(text, "apple.png") || !strings.Contains(text, "jfk.flac") {
		t.Errorf("%s, %v", text, value)
	}
	text, value, _ = call(t, c, "caption", arguments{"image": "apple.png"})
	if text != "red apple" || value["caption"] != "red apple" || value["model"] != "blip2-mini" || value["version"] != "v1.2.3" {
		t.Errorf("%s, %v", text, value)
	}
	text, value, _ = call(t, c, "read", arguments{"image": "note.png", "words": true})
	if !strings.HasPrefix(text, "Frühstück für Größe 38, weiß") || value["text"] != text || value["model"] != "ocr" {
		t.Errorf("%s, %v", text, value)
	}
	text, value, _ = call(t, c, "ask", arguments{"image": "red-circle.png", "question": "what color is it?"})
	if text != "red" || value["question"] != "what color is it?" {
		t.Errorf("%s, %v", text, value)
	}
	text, value, _ = call(t, c, "ask", arguments{"image": "tune-form-3.pdf", "question": "When was the patient born?"})
	if text != "12 May 2002 (page 1)" || value["page"] != 1.0 || value["line"] != "12 May 2002" {
		t.Errorf("%s, %v", text, value)
	}
	text, value, _ = call(t, c, "ask", arguments{"image": "note.png", "question": "what is the name?", "read": true})
	if text != "Zoë Brontë (page 1)" || value["from"] != "line" {
		t.Errorf("%s, %v", text, value)
	}
	text, _, failed = call(t, c, "ask", arguments{"image": "tune-form-3.pdf", "question": "who?", "page": 7})
	if !failed || !strings.Contains(text, "no page 7") {
		t.Errorf("%s", text)
	}
	text, value, _ = call(t, c, "ask", arguments{"image": "red-circle.png", "question": "is it red?", "choices": []string{"yes", "no"}})
	if !strings.HasPrefix(text, "yes\n0.") || len(value["choices"].([]any)) != 2 {
		t.Errorf("%s, %v", text, value)
	}
	text, value, _ = call(t, c, "match", arguments{"image": "apple.png", "texts": []string{"an apple", "a rocket"}})
	if strings.Count(text, "\n") != 2 || len(value["matches"].([]any)) != 2 {
		t.Errorf("%s, %v", text, value)
	}
	text, value, _ = call(t, c, "classify", arguments{"image": "apple.png", "labels": []string{"rocket", "apple"}})
	if !strings.HasSuffix(strings.SplitN(text, "\n", 2)[0], " apple") || len(value["labels"].([]any)) != 2 {
		t.Errorf("%s, %v", text, value)
	}
	_, value, failed = call(t, c, "transcribe", arguments{"audio": "jfk.flac", "model": "whisper-transformersjs"})
	if failed || value["audio"] != "jfk.flac" || value["segments"] == nil {
		t.Errorf("%v", value)
	}
}

// What is wrong is told to the assistant's model, and tells nothing of the machine.
func TestErrors(t *testing.T) {
	t.Parallel()
	c := connect(t, tools(t, testdata+"images").Server())
	for _, test := range []struct {
		tool string
		with arguments
		says string
	}{
		{"caption", arguments{"image": "none.png"}, `no file "none.png"`},
		{"caption", arguments{"image": "ATTRIBUTION.md"}, "image"},
		{"caption", arguments{"image": "apple.png", "model": "none"}, "no model"},
		{"ask", arguments{"image": "apple.png", "question": ""}, "empty"},
		{"ask", arguments{"image": "apple.png", "question": "what?", "choices": []string{"yes"}}, "fewer than two"},
		{"match", arguments{"image": "apple.png", "texts": []string{}}, "text"},
		{"classify", arguments{"image": "apple.png"}, "label"},
		{"transcribe", arguments{"audio": "apple.png"}, "sound"},
	} {
		text, _, failed := call(t, c, test.tool, test.with)
		if !failed || !strings.Contains(text, test.says) {
			t.Errorf("%s %v: %v, %s", test.tool, test.with, failed, text)
		}
	}
	if _, err := c.CallTool(t.Context(), &sdk.CallToolParams{Name: "caption", Arguments: arguments{}}); err == nil {
		if text, _, failed := call(t, c, "caption", arguments{}); !failed {
			t.Errorf("without an image: %s", text)
		}
	}
	none := connect(t, tools(t).Server())
	if text, _, failed := call(t, none, "caption", arguments{"image": "/etc/passwd"}); !failed || !strings.Contains(text, "--allow") {
		t.Error(text)
	}
}

// Nothing outside the folders is read, by whatever path, and nothing that is no regular file.
func TestFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	allowed, secret := filepath.Join(dir, "allowed"), filepath.Join(dir, "secret.png")
	if err := os.MkdirAll(filepath.Join(allowed, "sub"), 0o777); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		secret: "secret", filepath.Join(allowed, "a.png"): "a", filepath.Join(allowed, "sub", "b.png"): "b",
		filepath.Join(allowed, "long.png"): "0123456789", filepath.Join(allowed, "notes.txt"): "n",
	} {
		if err := os.WriteFile(name, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	for name, to := range map[string]string{
		"out.png": secret, "rel.png": "../secret.png", "up": "..", "in.png": "sub/b.png", "there": allowed,
	} {
		if err := os.Symlink(to, filepath.Join(allowed, name)); err != nil {
			t.Skip(err)
		}
	}
	if err := os.Symlink(allowed, filepath.Join(dir, "link")); err != nil {
		t.Fatal(err)
	}
	f, err := mcp.OpenFiles(8, filepath.Join(dir, "link"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, want := range map[string]string{
		"a.png": "a", "sub/b.png": "b", "./sub/../a.png": "a", "in.png": "b", filepath.Join(allowed, "a.png"): "a",
		filepath.Join(dir, "link", "sub", "b.png"): "b", "file://" + allowed + "/a.png": "a", "notes.txt": "n",
	} {
		if got, err := f.Read(name); err != nil || string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	for _, name := range []string{
		secret, "../secret.png", "out.png", "rel.png", "up/secret.png", "sub/../../secret.png", "none.png", "sub", "", ".",
		"there/../../secret.png", "file://" + secret, "file://elsewhere" + allowed + "/a.png", allowed + "/../secret.png", "/dev/zero",
	} {
		got, err := f.Read(name)
		if err == nil || !strings.Contains(err.Error(), "no file") {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if _, err := f.Read("long.png"); err == nil || !strings.Contains(err.Error(), "longer") {
		t.Error(err)
	}
	list, more := f.List(".")
	if len(list) != 3 || more {
		t.Errorf("%v, %v", list, more)
	}
	for _, below := range []string{"sub", filepath.Join(allowed, "sub")} {
		if list, _ := f.List(below); len(list) != 1 || filepath.Base(list[0]) != "b.png" {
			t.Errorf("%s: %v", below, list)
		}
	}
	for _, below := range []string{"..", "up", dir, "none"} {
		if list, _ := f.List(below); len(list) != 0 {
			t.Errorf("%s: %v", below, list)
		}
	}
	if _, err := mcp.OpenFiles(1, filepath.Join(dir, "none")); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
}

// Over HTTP the tools stand behind what guards the server.
func TestHTTP(t *testing.T) {
	t.Parallel()
	tokens, err := server.ReadTokens(strings.NewReader("let-me-in-please\n"))
	if err != nil {
		t.Fatal(err)
	}
	it := tools(t, testdata+"images")
	s, err := server.New(server.Config{Tokens: tokens, Routes: func(service *serving.Service) []web.Route {
		it.Service = service
		return it.Routes()
	}})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Service.Close()
	h := httptest.NewServer(s.Handler())
	defer h.Close()
	r, err := http.Post(h.URL+mcp.Path, "application/json", strings.NewReader("{}"))
	if err != nil {
		t.Fatal(err)
	}
	if r.Body.Close(); r.StatusCode != http.StatusUnauthorized {
		t.Errorf("without a token: status %d", r.StatusCode)
	}
	c := client(t, &sdk.StreamableClientTransport{
		Endpoint: h.URL + mcp.Path, HTTPClient: &http.Client{Transport: withToken{}}, DisableStandaloneSSE: true,
	})
	if text, _, failed := call(t, c, "caption", arguments{"image": "apple.png"}); failed || text != "red apple" {
		t.Error(text)
	}
	r, err = http.Get(h.URL + "/healthz")
	if err != nil || r.StatusCode != http.StatusOK {
		t.Errorf("%v, %v", r, err)
	}
	r.Body.Close()
}

type withToken struct{}

func (withToken) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer let-me-in-please")
	return http.DefaultTransport.RoundTrip(r)
}

// library has the paths that it is given, and keeps to the folders of a question.
type library struct{ paths []string }

func (library) Model() (name, hash string) { return "", "" }

func (l library) Find(_ context.Context, sought api.Sought, _, _ []float32) (hits []api.Hit, err error) {
	for _, path := range l.paths {
		if slices.ContainsFunc(sought.Folders, func(f string) bool { return strings.HasPrefix(path, f+string(filepath.Separator)) }) {
			hits = append(hits, api.Hit{Path: api.Name(path), Kind: api.KindPage, Page: 2, Text: sought.Text})
		}
	}
	return hits, nil
}

// find is there where there is a library, and gives what may be read alone.
func TestFind(t *testing.T) {
	t.Parallel()
	allowed, err := filepath.Abs(testdata + "images")
	if err != nil {
		t.Fatal(err)
	}
	of := tools(t, testdata+"images")
	of.Service = serving.New(serving.Config{Library: library{[]string{filepath.Join(allowed, "a.pdf"), "/elsewhere/b.pdf"}}})
	t.Cleanup(of.Service.Close)
	c := connect(t, of.Server())
	text, value, failed := call(t, c, "find", arguments{"text": "a dog"})
	if hits, _ := value["hits"].([]any); failed || len(hits) != 1 || text != filepath.Join(allowed, "a.pdf")+", page 2: a dog\n" {
		t.Errorf("%q, %v", text, value)
	}
	for says, with := range map[string]arguments{
		"needs a text": {}, "from 1 to": {"text": "x", "limit": -1}, "no file": {"like": "/etc/passwd"},
	} {
		if text, _, failed := call(t, c, "find", with); !failed || !strings.Contains(text, says) {
			t.Errorf("%v: %s", with, text)
		}
	}
	nothing := tools(t)
	nothing.Service = of.Service
	if text, _, failed := call(t, connect(t, nothing.Server()), "find", arguments{"text": "x"}); !failed || !strings.Contains(text, "--allow") {
		t.Errorf("nothing allowed: %s", text)
	}
}
