// Package house holds tests of the source itself: which package may import which.
package house

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
)

const module = "github.com/crossattn/xpipe/"

// order lists the packages from the ground up: a package imports only those before it. A folder
// stands for the packages below it that have no line of their own. CONTRIBUTING.md says what each
// is for.
var order = []string{
	"internal/cmem", "internal/bom", "internal/fakelib", "internal/filelock", "internal/jinja", "internal/references",
	"internal/sqlitefile", "internal/sweep", "internal/zlibsize",
	"tensor",
	"media",
	"docs",
	"internal/pb", "onnx/ir", "onnx",
	"engine",
	"engine/enginetest",
	"internal/enginebench",
	"internal/kernel", "fallback/attention", "fallback",
	"ort/ortfile", "ort", "ort/ortlib", "ort/orttest",
	"tokenize",
	"vision",
	"audio",
	"document",
	"models/hub/hubtest", "models/hub", "models", "models/ocr", "models/mini",
	"pipeline/grammar", "pipeline/graph", "pipeline/internal/graphtest", "pipeline/decode", "pipeline/attend", "pipeline/compare", "pipeline/reading", "pipeline/family", "pipeline/speech",
	"pipeline",
	"api",
	"index/vectors", "index",
	"server/serving", "server/web", "server",
	"studio", "studio/store", "studio/upstream", "studio/answer", "studio/web",
	"cmd",
	"examples",
	"tools/clients", "tools/benchserve", "tools/benchopenvino",
	"internal/house",
}

// rules are what the order does not say. from and to are folders of this module, or of others by
// their whole path; a rule without "to" forbids everything of this module but what except has.
var rules = []struct {
	from, to []string
	except   []string
	reason   string
}{
	{
		from:   []string{"tokenize", "vision", "audio", "document", "media", "tensor"},
		to:     []string{"models", "engine", "onnx", "fallback", "ort", "pipeline"},
		reason: "a front end turns files into items and named tensors; it knows no model and no engine",
	},
	{
		from:   []string{"fallback", "ort", "engine", "onnx"},
		to:     []string{"media", "tokenize", "vision", "audio", "document", "models", "pipeline"},
		except: []string{},
		reason: "an engine knows graphs and tensors; it knows no task, no family and no medium",
	},
	{
		from:   []string{"pipeline/grammar", "pipeline/graph", "pipeline/internal/graphtest", "pipeline/decode", "pipeline/attend", "pipeline/compare", "pipeline/reading", "pipeline/family", "pipeline/speech"},
		to:     []string{"fallback", "ort"},
		except: []string{"fallback/attention"},
		reason: "no task knows an engine: the caller chooses it, and what shows attention in its place; the kernels are arithmetic",
	},
	{
		from:   []string{"pipeline"},
		to:     []string{"ort", "models/mini"},
		reason: "a program that embeds the pipeline chooses its engine and brings its model; neither comes along unasked",
	},
	{
		from:   []string{"pipeline", "fallback", "ort", "engine", "onnx", "tokenize", "vision", "audio", "document", "models", "media", "tensor"},
		to:     []string{"api", "cmd", "examples", "server", "studio", "index"},
		reason: "libraries stand below the command, the server and the studio",
	},
	{
		from: []string{
			"pipeline", "fallback", "ort", "engine", "onnx", "vision", "audio", "document", "models", "media", "tensor", "tokenize", "api",
			"server", "index/vectors",
		},
		to:     []string{"github.com/spf13", "modernc.org", "github.com/mattn/go-sqlite3"},
		reason: "flags are the command's, databases the index's and the studio's; a server is given what finds things",
	},
	{
		from:   []string{"pipeline", "fallback", "ort", "engine", "onnx", "vision", "audio", "document", "models", "media", "tensor"},
		to:     []string{"github.com/sugarme"},
		reason: "sugarme/tokenizer drags in a progress bar and does not build for 32 bits; tokenize/sugarme adapts it for who wants it",
	},
	{
		from: []string{"pipeline", "fallback", "ort", "engine", "onnx", "document", "models", "media", "tensor", "tokenize"},
		to:   []string{"net"},
		// The libraries of document/pdf and document/office ask the system for names of devices and for
		// what is sent by mail; neither opens a connection.
		except: []string{"document/pdf", "document/office", "ort/ortlib", "models/hub/fetch", "models/hub/hubtest", "tokenize/sugarme"},
		reason: "a library reads what it is given and sends nothing anywhere; ortlib and fetch download, where a program asks them to",
	},
	{
		from:   []string{"ort"},
		to:     []string{"ort/ortlib"},
		except: []string{"ort/ortlib"},
		reason: "the engine loads the library that it is given; to search a machine for one may start Python, and is the program's choice",
	},
	{
		from: []string{
			"pipeline", "fallback", "ort", "engine", "onnx", "vision", "audio", "models", "media", "tensor", "tokenize", "api",
			"server",
		},
		to:     []string{"github.com/modelcontextprotocol"},
		except: []string{"server/mcp"},
		reason: "the Model Context Protocol is spoken by xpipe mcp alone; a program that embeds the server does not carry its SDK",
	},
	{
		from: []string{
			"pipeline", "fallback", "ort", "engine", "onnx", "vision", "audio", "document", "models", "media", "tensor", "tokenize",
		},
		to:     []string{"github.com/klippa-app", "github.com/xuri", "github.com/yuin", "github.com/suyashkumar"},
		except: []string{"document/pdf", "document/office", "document/dicom"},
		reason: "PDFium, and the readers of office files and medical pictures, are carried by programs that import their packages",
	},
	{
		from:   []string{"document/layout", "document/find"},
		to:     []string{"document/pdf", "document/office", "document/dicom", "document/pictures", "vision"},
		reason: "the layout of a page is made of boxes, whoever read them, and so is what answers a question",
	},
	{
		from:   []string{"studio"},
		to:     []string{"database/sql", "modernc.org", "net/http", "html/template", "models", "pipeline", "api", "server"},
		except: []string{"studio/store", "studio/upstream", "studio/answer", "studio/web"},
		reason: "package studio says what a studio holds and by which rules; databases, HTTP and models are for those around it",
	},
	{
		from:   []string{"studio/store"},
		to:     []string{"net/http", "models", "pipeline", "api", "server", "studio/web", "studio/answer", "studio/upstream"},
		reason: "siblings know package studio and not each other: the store holds what others made, the command joins them",
	},
	{
		from:   []string{"studio/web", "studio/answer", "studio/upstream"},
		to:     []string{"studio/store", "modernc.org", "database/sql"},
		except: []string{"database/sql/driver"}, // of which readers of documents take an interface
		reason: "siblings know package studio and not each other: the page asks the interface studio.Store, the command joins them",
	},
	{
		from:   []string{"server"},
		to:     []string{"studio", "modernc.org"},
		reason: "a program that embeds the server does not carry the studio and its database",
	},
	{
		from:   []string{"tokenize"},
		to:     []string{"github.com/sugarme"},
		except: []string{"tokenize/sugarme"},
		reason: "package tokenize stands alone; only its folder sugarme adapts the other library",
	},
}

type pkg struct {
	ImportPath string
	Dir        string
	Imports    []string
	Deps       []string
}

// packages are those of the module, with what they import outside of tests. With -e those of a
// cycle are listed too, so that the rule it breaks is named.
func packages(t *testing.T) []pkg {
	t.Helper()
	all, err := listed()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	return all
}

var listed = sync.OnceValues(func() (all []pkg, err error) {
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,Imports,Deps", "./...")
	cmd.Dir = "../.."
	out, err := cmd.Output()
	if err != nil {
		return nil, err
	}
	// go test keeps a result while the files and folders that a test opened stay as they are, and does
	// not see what "go list" reads: open the folders here, too.
	if _, err := os.ReadDir(cmd.Dir); err != nil {
		return nil, err
	}
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, err
		}
		if _, err := os.ReadDir(p.Dir); err != nil {
			return nil, err
		}
		all = append(all, p)
	}
})

// within reports whether a package is one of the folders, or below one.
func within(path string, folders []string) bool {
	return slices.ContainsFunc(folders, func(f string) bool { return path == f || strings.HasPrefix(path, f+"/") })
}

// floor is the place of a package in the order: that of the longest entry it lies in.
func floor(path string) int {
	at, longest := -1, 0
	for i, f := range order {
		if (path == f || strings.HasPrefix(path, f+"/")) && len(f) > longest {
			at, longest = i, len(f)
		}
	}
	return at
}

// Imports point one way.
func TestOrder(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		at := floor(from)
		if at < 0 {
			t.Errorf("%s has no place: add it to the order in this test and to CONTRIBUTING.md",
				from)
		}
		for _, imported := range p.Imports {
			to, ours := strings.CutPrefix(imported, module)
			if ours && floor(to) > at {
				t.Errorf(
					"%s imports %s, which stands above it: imports point one way, from the "+
						"command down to tensor",
					from, to)
			}
		}
	}
}

// What packages must not import, directly or through others.
func TestRules(t *testing.T) {
	t.Parallel()
	for _, p := range packages(t) {
		from := strings.TrimPrefix(p.ImportPath, module)
		for _, r := range rules {
			if !within(from, r.from) || within(from, r.except) {
				continue
			}
			for _, dep := range p.Deps {
				to := strings.TrimPrefix(dep, module)
				if within(to, r.to) && !within(to, r.except) && !within(to, []string{from}) {
					t.Errorf("%s depends on %s: %s", from, to, r.reason)
				}
			}
		}
	}
}

// No package up to pipeline starts a process, but the two that say so: vision may start ffmpeg for a
// film that nothing else reads, and ortlib, which no other of them imports, Python. Package
// references is for tests.
func TestNoProcess(t *testing.T) {
	t.Parallel()
	may := []string{"vision", "audio", "ort/ortlib", "internal/references"}
	for _, p := range packages(t) {
		from, ours := strings.CutPrefix(p.ImportPath, module)
		if !ours || floor(from) > floor("pipeline") || slices.Contains(may, from) {
			continue
		}
		if slices.Contains(p.Imports, "os/exec") {
			t.Errorf("%s imports os/exec: a library starts no process", from)
		}
	}
}
