package family

import (
	"encoding/json"
	"os"
	"slices"
	"testing"
)

// Places are those that transformers' Florence2PostProcessor reads out of the same answers, which
// cuts coordinates to whole pixels.
func TestPlacesEqualTransformers(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../testdata/layouts/florence2-transformersjs/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Answers []struct {
			Task, Answer string
			Found        json.RawMessage
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil || len(golden.Answers) == 0 {
		t.Fatal("no answers", err)
	}
	m := &florence{tasks: florenceDefaults}
	for _, a := range golden.Answers {
		found := m.Find(a.Task+"of", a.Answer, 640, 480)
		var text string
		if json.Unmarshal(a.Found, &text) == nil {
			if found.Text != text || len(found.Places) > 0 {
				t.Errorf("%s: %+v, want %q", a.Task, found, text)
			}
			continue
		}
		var want struct {
			Labels         []string  `json:"labels"`
			BoxLabels      []string  `json:"bboxes_labels"`
			PolygonsLabels []string  `json:"polygons_labels"`
			Boxes          [][]int   `json:"bboxes"`
			Quads          [][]int   `json:"quad_boxes"`
			Polygons       [][][]int `json:"polygons"`
		}
		if err := json.Unmarshal(a.Found, &want); err != nil {
			t.Fatal(err)
		}
		labels := slices.Concat(want.Labels, want.BoxLabels, want.PolygonsLabels)
		var gotLabels []string
		var boxes, quads [][]int
		var polygons [][][]int
		for _, p := range found.Places {
			gotLabels = append(gotLabels, p.Label)
			if p.Box != nil {
				boxes = append(boxes, whole(p.Box))
			}
			if p.Quad != nil {
				quads = append(quads, whole(p.Quad))
			}
			var shapes [][]int
			for _, q := range p.Polygons {
				shapes = append(shapes, whole(q))
			}
			if shapes != nil {
				polygons = append(polygons, shapes)
			}
		}
		if !slices.Equal(gotLabels, labels) || !same(boxes, want.Boxes) || !same(quads, want.Quads) ||
			!slices.EqualFunc(polygons, want.Polygons, same) || len(found.Places) == 0 {
			t.Errorf("%s %s: %+v, want %s", a.Task, a.Answer, found, a.Found)
		}
	}
}

func same(a, b [][]int) bool { return slices.EqualFunc(a, b, slices.Equal[[]int]) }

func whole(values []float64) []int {
	var cut []int
	for _, v := range values {
		cut = append(cut, int(v))
	}
	return cut
}

// Answers that are cut short or damaged give what can be read.
func TestPlacesOfBrokenAnswers(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{"", kindText, kindOCR, kindBoxes, kindBareBoxes, kindPhrases, kindPolygons,
		kindNamedPolygons, kindBoxesOrPolygons} {
		for _, answer := range []string{
			"", "cat", "cat<loc_1>", "<loc_99999999999999999999><loc_1><loc_2><loc_3>",
			"a<poly><loc_1><loc_2>", "<sep><sep><sep><sep>", "a<poly></poly><poly></poly>", "é<loc_", "<loc_1><loc_2><loc_3><loc_4>",
		} {
			for _, p := range findPlaces(kind, answer, 10, 10, nil).Places {
				for _, v := range slices.Concat(append(p.Polygons, p.Box, p.Quad)...) {
					if v < 0 || v > 10 {
						t.Errorf("%s %q: %v is outside the picture", kind, answer, v)
					}
				}
			}
		}
	}
}

// A task is written out as Florence2Processor writes it.
func TestSpell(t *testing.T) {
	t.Parallel()
	for prompt, want := range map[string]string{
		"<CAPTION>":                                   "What does the image describe?",
		"<MORE_DETAILED_CAPTION>":                     "Describe with a paragraph what is shown in the image.",
		"<OPEN_VOCABULARY_DETECTION>a cat":            "Locate a cat in the image.",
		"<CAPTION_TO_PHRASE_GROUNDING> A cat":         "Locate the phrases in the caption: A cat",
		"<REGION_TO_OCR><loc_1><loc_2><loc_3><loc_4>": "What text is in the region <loc_1><loc_2><loc_3><loc_4>?",
		"what is it?":                                 "what is it?",
		"<CAPTION>a":                                  "",
		"<REGION_TO_OCR>":                             "",
	} {
		got, err := florenceDefaults.spell(prompt)
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q %v, want %q", prompt, got, err, want)
		}
	}
}

// A page that Florence-2 writes down has its lines, in reading order, where they stand.
func TestFlorencePage(t *testing.T) {
	t.Parallel()
	m := &florence{tasks: florenceDefaults}
	const right = "second words<loc_600><loc_100><loc_900><loc_100><loc_900><loc_150><loc_600><loc_150>"
	const left = "these are the first words<loc_100><loc_100><loc_500><loc_100><loc_500><loc_150><loc_100><loc_150>"
	page := m.PageOf("", right+left, 1000, 500)
	if len(page.Lines) != 2 || page.Lines[0].Text != "these are the first words" || page.Lines[1].Text != "second words" {
		t.Fatalf("%+v", page.Lines)
	}
	if c := page.Lines[0].Quad[2]; c[0] < 0.49 || c[0] > 0.51 || c[1] < 0.14 || c[1] > 0.16 {
		t.Errorf("%v", page.Lines[0].Quad)
	}
	if page.Text() != "these are the first words\tsecond words" {
		t.Errorf("%q", page.Text())
	}
	if q, ok := m.PageQuestion(); !ok || q != "<OCR_WITH_REGION>" {
		t.Errorf("%q", q)
	}
	if page := m.PageOf("", "", 0, 0); len(page.Lines) != 0 {
		t.Errorf("%+v", page)
	}
}
