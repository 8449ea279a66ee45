package api_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"image"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/api/pagefiles"
	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
)

// madeQuestion is a question about a made document; without boxes the document does not answer it.
type madeQuestion struct {
	Question, Answer, Kind string
	Boxes                  [][5]float64 // page, left, top, right, bottom
}

func (q *madeQuestion) UnmarshalJSON(data []byte) error {
	return json.Unmarshal(data, &[]any{&q.Question, &q.Answer, &q.Kind, &q.Boxes})
}

// madeDocuments reads the documents of testdata/document/questions.py; XPIPE_QUESTIONS names another folder of them.
func madeDocuments(t *testing.T) (folder string, made []struct {
	File      string
	Questions []madeQuestion
}) {
	t.Helper()
	if folder = os.Getenv("XPIPE_QUESTIONS"); folder == "" {
		folder = "../testdata/document/questions"
	}
	f, err := os.Open(filepath.Join(folder, "questions.json.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(unpacked).Decode(&made); err != nil {
		t.Fatal(err)
	}
	return folder, made
}

// tally counts what was right of questions of a kind.
type tally struct {
	asked, page, line, text, sure int // of questions that the document answers
	many, manyPage                int // those about documents of several pages
	absent, told                  int // of those it does not answer
}

// Lines that answer questions about made documents: the page is right where the answer stands on it, the line where it
// is the one, and the text where it is the answer and no more.
func TestAskMadeDocuments(t *testing.T) {
	folder, made := madeDocuments(t)
	reader := &api.DocumentReader{OCR: "never", DPI: 150}
	if os.Getenv("XPIPE_QUESTIONS_OCR") != "" {
		reader = scanReader(t)
	}
	tallies := map[string]*tally{}
	for _, d := range made {
		half, _, _ := strings.Cut(d.File, "-")
		if only := os.Getenv("XPIPE_QUESTIONS_HALF"); only != "" && only != half {
			continue
		}
		doc, err := pagefiles.Open(t.Context(), filepath.Join(folder, d.File), "")
		if err != nil {
			t.Fatal(err)
		}
		a := &api.AskDocument{Name: d.File, Document: doc, Reader: reader}
		for _, q := range d.Questions {
			got, err := a.Ask(t.Context(), q.Question)
			if err != nil {
				t.Fatalf("%s: %v", d.File, err)
			}
			missed := ""
			for _, name := range []string{half, half + " " + q.Kind} {
				if tallies[name] == nil {
					tallies[name] = &tally{}
				}
				missed = tallies[name].add(q, got, doc.Pages() > 1)
			}
			if missed != "" && os.Getenv("XPIPE_QUESTIONS_HALF") != "" {
				t.Logf("%s: %q: %s: %q in %q on page %d, want %q (%.2f)", d.File, q.Question, missed, got.Answer.Answer, got.Line,
					got.Page, q.Answer, got.Confidence.Probability)
			}
		}
		doc.Close()
	}
	var names []string
	for name := range tallies {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		s := tallies[name]
		t.Logf("%-13s %3d asked: page %.3f (of several pages %d of %d), line %.3f, answer alone %.3f; sure of %.3f; says of %d of %d that nothing answers",
			name, s.asked, share(s.page, s.asked), s.manyPage, s.many, share(s.line, s.asked), share(s.text, s.asked),
			share(s.sure, s.asked), s.told, s.absent)
		if strings.Contains(name, " ") {
			continue
		}
		if share(s.page, s.asked) < 0.9 || share(s.manyPage, s.many) < 0.9 || share(s.line, s.asked) < 0.75 {
			t.Errorf("%s: want the page of 0.9, the line of 0.75", name)
		}
	}
}

func share(n, of int) float64 { return float64(n) / float64(max(of, 1)) }

// add counts an answer, and says what is wrong with it.
func (s *tally) add(q madeQuestion, got *api.DocumentAnswer, many bool) (missed string) {
	if len(q.Boxes) == 0 {
		s.absent++
		if got.Unsure {
			s.told++
			return ""
		}
		return "nothing answers it"
	}
	s.asked++
	page, line := false, false
	x, y := (got.Box[0]+got.Box[2])/2, (got.Box[1]+got.Box[3])/2
	for _, b := range q.Boxes {
		page = page || got.Page == int(b[0])
		within := document.Box{X0: b[1], Y0: b[2], X1: b[3], Y1: b[4]}
		// The middle of either lies in the other.
		box := document.Box{X0: got.Box[0], Y0: got.Box[1], X1: got.Box[2], Y1: got.Box[3]}
		line = line || got.Page == int(b[0]) && y > b[2] && y < b[4] && (within.Holds(x, y) || box.Holds(within.CX(), within.CY()))
	}
	if many {
		s.many++
		s.manyPage += one(page)
	}
	right := strings.EqualFold(strings.Trim(got.Answer.Answer, " ."), q.Answer)
	s.page, s.line, s.text = s.page+one(page), s.line+one(line), s.text+one(line && right)
	s.sure += one(!got.Unsure)
	switch {
	case !page:
		return "page"
	case !line:
		return "line"
	case got.Unsure:
		return "unsure"
	case !right:
		return "text"
	}
	return ""
}

func one(b bool) int {
	if b {
		return 1
	}
	return 0
}

// scanReader reads pictures of pages, whatever text they have of their own.
func scanReader(t *testing.T) *api.DocumentReader {
	t.Helper()
	m, err := api.Find(mini.OCR)
	if err != nil {
		t.Fatal(err)
	}
	p, err := m.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	read := func(ctx context.Context, img image.Image) (*pipeline.Page, error) { return p.Read(ctx, img) }
	return &api.DocumentReader{Read: read, OCR: "always", DPI: 150}
}
