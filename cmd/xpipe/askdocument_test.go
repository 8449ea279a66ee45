package main

import (
	"encoding/json"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
)

const asked = "../../testdata/document/questions/"

// What ask prints about documents, whatever they are: text layers, scans, pictures with --read.
func TestAskDocuments(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ args, out string }{
		{asked + "tune-form-3.pdf|When was the patient born?", "12 May 2002 (page 1)\n"},
		{asked + "tune-form-3.pdf|--question|What is the blood group?|--question|Who won the cup?",
			"0 positive (page 1)\nunsure: nothing in the document has words of the question\n"},
		{paged + "scan.pdf|what is the name?", "Zoë Brontë (page 1)\n"},
		{goldenNote + "|--read|what is the name?", "Zoë Brontë (page 1)\n"},
		{goldenNote + "|--page|1|what is the name?", "Zoë Brontë (page 1)\n"},
		{goldenNote + "|" + asked + "tune-form-3.pdf|--question|What is the name?",
			goldenNote + ": Zoë Brontë (page 1)\n" + asked + "tune-form-3.pdf: Ruth Okafor (page 1)\n"},
	} {
		if got := want(t, append([]string{"ask", "--engine", "go"}, strings.Split(c.args, "|")...)...); got != c.out {
			t.Errorf("%s: printed %q", c.args, got)
		}
	}
	for _, c := range []struct {
		args string
		exit int
		says string
	}{
		{paged + "encrypted.pdf|what?", 3, "--password"},
		{paged + "pages.pdf|--page|5|--ocr|never|what?", 3, "no text on page 5"},
		{paged + "pages.pdf|--page|9|what?", 2, "the document has 5"},
		{paged + "pages.pdf|--page|-2|what?", 2, "--page must be"},
		{paged + "pages.pdf|--choices|a,b|what?", 2, "not for documents"},
		{paged + "pages.pdf", 2, "QUESTION"},
		{paged + "pages.pdf| ", 3, "question"},
		{paged + "none.pdf|what?", 3, "none.pdf"},
		{apple + "|--read|what?", 3, "no text on its page"},
		{paged + "pages.pdf|what?|--model|clip-mini", 4, "neither takes pictures nor writes"},
	} {
		args := append([]string{"ask", "--engine", "go"}, strings.Split(c.args, "|")...)
		if code, _, stderr := xpipe(t, "", args...); code != c.exit || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: exit %d: %s", c.args, code, stderr)
		}
	}
}

// A line of JSON says where the answer stands; a model that sees pictures is asked about the page that fits.
func TestAskDocumentLines(t *testing.T) {
	t.Parallel()
	ask := func(args ...string) (a api.DocumentAnswer) {
		out := want(t, append([]string{"ask", "--engine", "go", "--json"}, args...)...)
		if err := json.Unmarshal([]byte(out), &a); err != nil {
			t.Fatal(err)
		}
		return a
	}
	report := asked + "tune-report-0.pdf"
	a := ask(report, "what is the length of the Eider Crossing?")
	page, line := a.Page, a.Line
	if a.Answer.Answer == "" || a.From != api.FromLine || page < 2 || !strings.Contains(line, a.Answer.Answer) || a.Unsure ||
		a.Box[0] <= 0 || a.Box[2] <= a.Box[0] || a.Quad[2] != [2]float64{a.Box[2], a.Box[3]} || len(a.Passages) == 0 || a.Passages[0].Page != page ||
		string(a.Document) != report || a.Document != a.Image || a.Model != "ocr" {
		t.Errorf("%+v", a)
	}
	a = ask(report, "what is the length of the Eider Crossing?", "--model", tinyWriter, "--max-new-tokens", "2")
	if a.From != api.FromPage || a.Page != page || a.Tokens == 0 || a.Model == "ocr" {
		t.Errorf("%+v", a)
	}
	a = ask(report, "what is shown in figure 4?", "--model", tinyWriter, "--max-new-tokens", "2")
	if a.From != api.FromFigure || a.Page != 5 || a.Box[3]-a.Box[1] > 0.3 || a.Box[1] < 0.1 {
		t.Errorf("%+v", a)
	}
	a = ask(report, "what is it?", "--model", "../../testdata/layouts/llama-optimum", "--max-new-tokens", "2", "--page", "3")
	if a.From != api.FromPassages || len(a.Passages) == 0 || a.Passages[0].Page != 3 {
		t.Errorf("%+v", a)
	}
}

// The place of an answer is drawn on its page.
func TestAttendDocument(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	form, question := asked+"tune-form-3.pdf", "When was the patient born?"
	for _, name := range []string{"a.png", "a.html", "a.json"} {
		want(t, "attend", form, question, "-o", filepath.Join(dir, name))
	}
	want(t, "ask", form, question, "--overlay", filepath.Join(dir, "b.png"))
	for _, name := range []string{"a.png", "b.png"} {
		f, err := os.Open(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		img, err := png.Decode(f)
		f.Close()
		if err != nil || img.Bounds().Dx() != 1240 {
			t.Fatalf("%v, %v", img.Bounds(), err)
		}
		if r, g, b, _ := img.At(620, 380).RGBA(); r>>8 != 213 || g>>8 != 94 || b != 0 { // the frame's lower side
			t.Errorf("%s: %d %d %d", name, r>>8, g>>8, b>>8)
		}
	}
	html, err := os.ReadFile(filepath.Join(dir, "a.html"))
	if err != nil || !strings.Contains(string(html), "<h1>12 May 2002</h1>") || !strings.Contains(string(html), `class="answer"`) {
		t.Errorf("%.300s, %v", html, err)
	}
	if got := want(t, "attend", form, question); !strings.HasPrefix(got, "12 May 2002 (page 1)\nx 0.50") {
		t.Errorf("%q", got)
	}
	if got := want(t, "attend", paged+"pages.pdf", "--ocr", "never", "what is the total?"); got != "unsure: nothing in the document has words of the question\n" {
		t.Errorf("a place of no answer: %q", got)
	}
	maps := filepath.Join(dir, "m.html")
	want(t, "attend", asked+"tune-report-0.pdf", "what?", "--model", tinyWriter, "--max-new-tokens", "1", "-o", maps)
	if html, err := os.ReadFile(maps); err != nil || !strings.Contains(string(html), "tune-report-0.pdf, page ") {
		t.Errorf("%.300s, %v", html, err)
	}
	for args, says := range map[string]string{
		form: "QUESTION", form + "|who?|-o|" + dir + "/a.npz": "no maps", form + "|who?|--text|a": "not for documents",
		form + "|who?|--rollout": "--model",
	} {
		if code, _, stderr := xpipe(t, "", append([]string{"attend"}, strings.Split(args, "|")...)...); code != 2 || !strings.Contains(stderr, says) {
			t.Errorf("%s: exit %d: %s", args, code, stderr)
		}
	}
}
