package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
)

const goldenNote = "../../testdata/ocr/golden/note.png"

func TestReadText(t *testing.T) {
	t.Parallel()
	out := want(t, "read", "--engine", "go", goldenNote)
	for _, part := range []string{"Frühstück für Größe 38, weiß\n", "\nName:\tZoë Brontë\n"} {
		if !strings.Contains(out, part) {
			t.Errorf("printed %q, which lacks %q", out, part)
		}
	}
}

// Lines of JSON are pages; what fails is told in its place, and --resume goes on.
func TestReadLines(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	picture, err := os.ReadFile(goldenNote)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"a.png": picture, "b.png": picture[:100]} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	lines := filepath.Join(dir, "lines.jsonl")
	args := []string{"read", "--engine", "go", dir, "--words", "--out", lines, "-q"}
	if code, _, stderr := xpipe(t, "", args...); code != 1 || !strings.Contains(stderr, "1 of 2 documents failed") {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	data, err := os.ReadFile(lines)
	if err != nil {
		t.Fatal(err)
	}
	first, second, _ := strings.Cut(string(data), "\n")
	var page api.Page
	if err := json.Unmarshal([]byte(first), &page); err != nil {
		t.Fatal(err)
	}
	if page.Number != 1 || page.Width != 640 || len(page.Lines) != 7 || len(page.Lines[0].Words) != 5 || page.Tables == nil {
		t.Errorf("page %+v", page)
	}
	if !strings.HasPrefix(second, `{"document":`) || !strings.Contains(second, `"error":`) {
		t.Errorf("the second line is %s", second)
	}
	if err := os.WriteFile(filepath.Join(dir, "b.png"), picture, 0o666); err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := xpipe(t, "", append(args, "--resume")...); code != 0 {
		t.Fatalf("exit %d: %s", code, stderr)
	}
	data, err = os.ReadFile(lines)
	if err != nil || strings.Count(string(data), "\n") != 2 || strings.Contains(string(data), `"error"`) {
		t.Errorf("after --resume: %s, %v", data, err)
	}
}

const paged = "../../testdata/document/"

// A PDF file's own text is taken, with its tables; pages that are pictures are read.
func TestReadPDF(t *testing.T) {
	t.Parallel()
	var pages []api.Page
	for line := range strings.Lines(want(t, "read", "--engine", "go", paged+"pages.pdf", "--words", "--json")) {
		var page api.Page
		if err := json.Unmarshal([]byte(line), &page); err != nil {
			t.Fatal(err)
		}
		pages = append(pages, page)
	}
	if len(pages) != 5 {
		t.Fatalf("%d pages", len(pages))
	}
	for i, page := range pages {
		if page.Number != i+1 || page.Width <= 0 || page.Height <= 0 || string(page.Document) != paged+"pages.pdf" {
			t.Errorf("page %+v", page)
		}
	}
	if p := pages[0]; !strings.HasPrefix(p.Text, "1 Of words and boxes\n") || len(p.Lines) == 0 || len(p.Lines[0].Words) != 5 {
		t.Errorf("page 1: %+v", p)
	}
	rows := [][]string{{"cell 0 0", "cell 0 1", "cell 0 2"}, {"cell 1 0", "cell 1 1", "cell 1 2"}}
	if p := pages[1]; len(p.Tables) != 1 || !reflect.DeepEqual(p.Tables[0].Rows[:2], rows) || strings.Contains(p.Text, "\n\n\n") {
		t.Errorf("page 2: %+v", p)
	}
	if code, _, stderr := xpipe(t, "", "read", "--engine", "go", paged+"encrypted.pdf"); code != 3 || !strings.Contains(stderr, "--password") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}

// A scan in a PDF file is drawn and read; so is every page with --ocr always.
func TestReadScan(t *testing.T) {
	t.Parallel()
	out := want(t, "read", "--engine", "go", paged+"scan.pdf")
	if !strings.Contains(out, "Frühstück für Größe 38, weiß\n") || strings.Contains(out, "another program") {
		t.Errorf("printed %q", out)
	}
	if out := want(t, "read", "--engine", "go", paged+"scan.pdf", "--ocr", "never"); out != "what another program has read\n" {
		t.Errorf("without reading its picture: %q", out)
	}
	for _, args := range [][]string{{"--ocr", "perhaps"}, {"--dpi", "5"}} {
		if code, _, stderr := xpipe(t, "", append([]string{"read", paged + "scan.pdf"}, args...)...); code != 2 || !strings.Contains(stderr, args[0]) {
			t.Errorf("%v: exit %d, %s", args, code, stderr)
		}
	}
}

// What a page says of itself and what stands on its pictures is one text, nothing of it twice.
func TestReadMixed(t *testing.T) {
	t.Parallel()
	const around, picture = "What stands around a picture\n", "Frühstück für Größe 38, weiß\n"
	out := want(t, "read", "--engine", "go", paged+"mixed.pdf")
	at := -1
	for _, part := range []string{around, picture, "L'élève reçut ça à Noël.", "stamped", "Figure 1. A note"} {
		if n := strings.Count(out, part); n != 1 || strings.Index(out, part) < at {
			t.Errorf("printed %q, with %d of %q", out, n, part)
		}
		at = strings.Index(out, part)
	}
	out = want(t, "read", "--engine", "go", "--ocr", "never", paged+"mixed.pdf")
	if !strings.Contains(out, around) || strings.Contains(out, picture) {
		t.Errorf("without its pictures: %q", out)
	}
}

// --out writes what its suffix says; --format does on standard output.
func TestReadForms(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, c := range []struct {
		args  []string
		out   string
		parts []string
	}{
		{[]string{paged + "mixed.pdf", "--ocr", "never"}, "page.md", []string{"# What stands around a picture\n", "\n*Figure 1. A note"}},
		{[]string{paged + "mixed.pdf", "--ocr", "never"}, "page.hocr", []string{">stands</span> <span", "ocr_page"}},
		{[]string{paged + "mixed.pdf", "--ocr", "never"}, "page.xml", []string{`CONTENT="stands"`}},
		{[]string{paged + "mixed.pdf", "--ocr", "never"}, "page.txt", []string{"What stands around a picture\n"}},
		{[]string{paged + "mixed.pdf", "--ocr", "never"}, "page.jsonl", []string{`{"document":`}},
		{[]string{paged + "mixed.pdf", "--ocr", "never", "--format", "markdown"}, "page.any", []string{"# What stands"}},
		{[]string{paged + "scan.pdf"}, "scan.pdf", []string{"%PDF-"}},
		{[]string{goldenNote}, "note.pdf", []string{"%PDF-"}},
	} {
		want(t, append([]string{"read", "--engine", "go", "-q", "--out", at(c.out)}, c.args...)...)
		data, err := os.ReadFile(at(c.out))
		if err != nil {
			t.Fatal(err)
		}
		for _, part := range c.parts {
			if !strings.Contains(string(data), part) {
				t.Errorf("%s lacks %q: %.300s", c.out, part, data)
			}
		}
	}
	// The PDF files that were written say themselves what was read.
	for _, name := range []string{"scan.pdf", "note.pdf"} {
		out := want(t, "read", "--ocr", "never", at(name))
		if !strings.Contains(out, "Frühstück für Größe 38, weiß\n") || strings.Contains(out, "another program") {
			t.Errorf("%s: %q", name, out)
		}
	}
	if out := want(t, "read", "--format", "alto", "--ocr", "never", paged+"mixed.pdf"); !strings.HasSuffix(out, "</alto>\n") {
		t.Errorf("printed %q", out)
	}
	for _, c := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"--format", "word", goldenNote}, 2, "--format must be one of"},
		{[]string{"--format", "text", "--json", goldenNote}, 2, "one of them"},
		{[]string{"--out", at("x.md"), "--resume", goldenNote}, 2, "--resume goes on with JSON lines"},
		{[]string{"--out", at("x.md"), "--words", goldenNote}, 2, "--words needs"},
		{[]string{"--out", at("x.png"), goldenNote}, 2, "not .png"},
		{[]string{"--out", at("x.pdf"), paged + "mixed.pdf", paged + "pages.pdf", "--ocr", "never"}, 2, "one PDF file"},
		{[]string{"--out", at("x.pdf"), at("page.md")}, 3, "no pictures of pages"},
		{[]string{"--out", at("x.md"), at("none.pdf")}, 1, "none.pdf"},
		{[]string{"--out", at("page.md"), at("page.md")}, 2, "would overwrite what is read"},
	} {
		code, _, stderr := xpipe(t, "", append([]string{"read", "--engine", "go"}, c.args...)...)
		if code != c.code || !strings.Contains(stderr, c.says) {
			t.Errorf("%v: exit %d, %s", c.args, code, stderr)
		}
	}
	if left, _ := filepath.Glob(at("x.*")); len(left) > 0 {
		t.Errorf("left %v", left)
	}
}

// A PDF file is one whatever its name is, and on standard input.
func TestReadNameless(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(paged + "mixed.pdf")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "photo.png")
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
	if out := want(t, "read", "--ocr", "never", path); !strings.HasPrefix(out, "What stands around") {
		t.Errorf("printed %q", out)
	}
	code, out, stderr := xpipe(t, string(data), "read", "--ocr", "never", "--json", "-")
	if code != 0 || !strings.HasPrefix(out, `{"document":"-","page":1,`) {
		t.Errorf("exit %d: %s %s", code, out, stderr)
	}
}

// Files of text with structure, and medical records, are read without a picture.
func TestReadOffice(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{
		"a.csv": "Name;Größe\nZoë;38\n", "b.html": "<h1>Title</h1><p>One <b>two</b></p>", "c.md": "# Head\n\nText *so*.\n", "d.docx": "PK damaged",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	code, out, stderr := xpipe(t, "", "read", dir)
	for _, part := range []string{"a.csv:\nName\tGröße\nZoë\t38\n", "b.html:\nTitle\n\nOne two\n", "c.md:\nHead\n\nText so.\n"} {
		if !strings.Contains(out, part) {
			t.Errorf("printed %q, which lacks %q", out, part)
		}
	}
	if code != 1 || !strings.Contains(stderr, "d.docx") || !strings.Contains(stderr, "1 of 4 documents failed") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	var page api.Page
	if err := json.Unmarshal([]byte(want(t, "read", "--json", filepath.Join(dir, "a.csv"))), &page); err != nil {
		t.Fatal(err)
	}
	if page.Width != 0 || len(page.Tables) != 1 || page.Tables[0].Rows[1][1] != "38" || page.Tables[0].Quad != nil {
		t.Errorf("%+v", page)
	}
	page = api.Page{}
	if err := json.Unmarshal([]byte(want(t, "read", "--engine", "go", "--json", paged+"dicom/plain.dcm")), &page); err != nil {
		t.Fatal(err)
	}
	if page.Record["PatientName"] != "Löwe^Ada" || page.Width == 0 || !strings.Contains(page.Text, "PatientName\tLöwe^Ada\n") {
		t.Errorf("%+v", page)
	}
}

// A page that is damaged is told of, and the others are read.
func TestReadDamagedPage(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(paged + "mixed.pdf")
	if err != nil {
		t.Fatal(err)
	}
	// The tree of pages says that there are two, and has a number in the place of the second.
	whole := string(data)
	damaged := strings.Replace(whole, "/Count 1", "/Count 2", 1)
	at := strings.Index(damaged, "/Kids [")
	if at < 0 || damaged == whole {
		t.Fatal("the file has no such tree of pages")
	}
	end := at + strings.Index(damaged[at:], "]")
	damaged = damaged[:end] + " 99 0 R" + damaged[end:]
	path := filepath.Join(t.TempDir(), "damaged.pdf")
	if err := os.WriteFile(path, []byte(damaged), 0o666); err != nil {
		t.Fatal(err)
	}
	code, out, stderr := xpipe(t, "", "read", "--ocr", "never", path)
	if code != 1 || !strings.Contains(out, "What stands around a picture") || !strings.Contains(stderr, "page 2") {
		t.Errorf("exit %d: %q, %s", code, out, stderr)
	}
	code, out, _ = xpipe(t, "", "read", "--ocr", "never", "--json", path)
	if code != 1 || strings.Count(out, "\n") != 2 || !strings.Contains(out, `"error":"page 2`) {
		t.Errorf("exit %d: %s", code, out)
	}
}

// Models of other kinds read by --model: TrOCR the lines that the embedded one finds, Donut and Pix2Struct
// whole pages, without places.
func TestReadByModel(t *testing.T) {
	t.Parallel()
	const families = "../../testdata/families/"
	for _, c := range []struct {
		model string
		args  []string
		code  int
		holds []string
	}{
		{"trocr", []string{"--json", "--words"}, 0, []string{`"confidence":1,"words":[]`, `"figures":[],"seconds"`}},
		{"trocr", []string{"--format", "hocr"}, 0, []string{`class="ocr_line"`}},
		{"trocr", []string{"--raw-prompt", "a"}, 4, []string{"prompt"}},
		{"donut", []string{"--json"}, 0, []string{`"lines":[],`, `"fields":{"text_sequence":"`}},
		{"donut", []string{"--json", "--raw-prompt", "<s_cord-v2><s_nm>Tea</s_nm>"}, 0, []string{
			`"text":"Tea\n`, `"fields":{"nm":"Tea"}`, `"settings":{"raw_prompt":`,
		}},
		{"donut", []string{"--out", filepath.Join(t.TempDir(), "x.pdf")}, 2, []string{"without places"}},
		{"pix2struct", []string{"--json"}, 0, []string{`"lines":[],"tables":[],"figures":[],"seconds"`}},
		{"pix2struct", []string{"--format", "alto"}, 2, []string{"without places"}},
		{"vit-gpt2", nil, 4, []string{"caption them"}},
	} {
		args := append([]string{"read", "--engine", "go", "--model", families + c.model + "/bundle", goldenNote}, c.args...)
		code, out, stderr := xpipe(t, "", args...)
		if code != c.code {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
		for _, part := range c.holds {
			if !strings.Contains(out+stderr, part) {
				t.Errorf("%v: %s%s lacks %q", args, out, stderr, part)
			}
		}
		if code == 0 && strings.HasPrefix(out, "{") {
			checkLines(t, loadSchema(t), "page", c.model, out)
		}
	}
}
