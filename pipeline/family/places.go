package family

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// Place is a part of a picture that a text names, in pixels from its upper left corner.
type Place struct {
	// Label says what is there: a name, a phrase or the text read; "" where none is given.
	Label    string      `json:"label"`
	Box      []float64   `json:"box,omitempty"`      // x1, y1, x2, y2; nil where it is no box
	Quad     []float64   `json:"quad,omitempty"`     // four corners x, y, clockwise from the text's upper left
	Polygons [][]float64 `json:"polygons,omitempty"` // x, y, x, y, ... of each
}

// Found is what an answer says: its text without marks of places, and the places.
type Found struct {
	Text   string  `json:"text"`
	Places []Place `json:"places"`
}

// Locator is a Writer whose answers may name places in the picture.
type Locator interface {
	Writer
	// Find returns the places in an answer to a prompt about a picture of width by height pixels.
	Find(prompt, answer string, width, height int) Found
}

// Unwriter is a Writer that keeps special tokens in its texts, but for some.
type Unwriter interface {
	Writer
	// Unwritten lists the ids of those that are no part of a text.
	Unwritten() []int64
}

// The kinds of answers, as Florence-2's preprocessor_config.json names them.
const (
	kindText            = "pure_text"
	kindOCR             = "ocr"
	kindBoxes           = "description_with_bboxes"
	kindBareBoxes       = "bboxes"
	kindPhrases         = "phrase_grounding"
	kindPolygons        = "polygons"
	kindNamedPolygons   = "description_with_polygons"
	kindBoxesOrPolygons = "description_with_bboxes_or_polygons"
)

var (
	location    = regexp.MustCompile(`<loc_(\d+)>`)
	quad        = regexp.MustCompile(`(.+?)((?:<loc_\d+>){8})`)
	named       = regexp.MustCompile(`[^<]+(?:<loc_\d+>){4,}`)
	bare        = regexp.MustCompile(`(?:<loc_\d+>){4,}`)
	namedShapes = regexp.MustCompile(`[^<]+(?:<loc_\d+>|<sep>|<poly>|</poly>){4,}`)
	bareShapes  = regexp.MustCompile(`(?:<loc_\d+>|<sep>|<poly>|</poly>){4,}`)
	shape       = regexp.MustCompile(`<poly>(.*?)</poly>`)
	outline     = regexp.MustCompile(`((?:<loc_\d+>)+)(?:<sep>|$)`)
	placeMark   = regexp.MustCompile(`<loc_\d+>|<sep>|</?poly>|</?od>|</?box>|</?bbox>|<ground>|<obj>`)
	ends        = strings.NewReplacer("<s>", "", "</s>", "", "<pad>", "")
)

// findPlaces reads an answer of one kind as Florence2PostProcessor of transformers 4.57 does, but
// for two things: coordinates keep their fractions, labels their letters beyond ASCII. banned are
// phrases that are no finding.
func findPlaces(kind, answer string, width, height int, banned []string) Found {
	answer = ends.Replace(answer)
	p := scale{float64(width), float64(height)}
	f := Found{Text: strings.TrimSpace(answer)}
	switch kind {
	case kindOCR:
		for _, m := range quad.FindAllStringSubmatch(answer, -1) {
			f.Places = append(f.Places, Place{Label: strings.TrimSpace(m[1]), Quad: p.points(m[2])})
		}
	case kindBoxes, kindPhrases:
		f.Places = p.boxes(named.FindAllString(answer, -1))
	case kindBareBoxes:
		f.Places = p.boxes(bare.FindAllString(answer, -1))
	case kindPolygons:
		f.Places = p.shapes(bareShapes.FindAllString(answer, -1))
	case kindNamedPolygons:
		f.Places = p.shapes(namedShapes.FindAllString(answer, -1))
	case kindBoxesOrPolygons:
		if strings.Contains(answer, "<poly>") {
			f.Places = p.shapes(namedShapes.FindAllString(answer, -1))
		} else {
			f.Places = p.boxes(named.FindAllString(answer, -1))
		}
	default:
		return f
	}
	if kind == kindPhrases {
		f.Places = slices.DeleteFunc(f.Places, func(q Place) bool {
			return slices.Contains(banned, q.Label)
		})
	}
	f.Text = strings.TrimSpace(placeMark.ReplaceAllString(answer, " "))
	f.Text = strings.Join(strings.Fields(f.Text), " ")
	return f
}

// scale is the size of a picture, whose sides are cut into 1000 parts each.
type scale struct{ width, height float64 }

// bins is the number of parts of a side.
const bins = 1000

// points reads locations as x, y, x, y, ...; a last x without y is dropped.
func (s scale) points(text string) []float64 {
	var at []float64
	for i, m := range location.FindAllStringSubmatch(text, -1) {
		n, err := strconv.Atoi(m[1])
		if err != nil {
			n = bins - 1 // beyond any int
		}
		side := s.width
		if i%2 == 1 {
			side = s.height
		}
		at = append(at, (float64(min(n, bins-1))+0.5)/bins*side)
	}
	return at[:len(at)/2*2]
}

// boxes makes a Place of every four locations in each phrase, under the phrase's words.
func (s scale) boxes(phrases []string) []Place {
	var places []Place
	for _, phrase := range phrases {
		label, at := labelOf(phrase), s.points(phrase)
		for ; len(at) >= 4; at = at[4:] {
			places = append(places, Place{Label: label, Box: at[:4:4]})
		}
	}
	return places
}

// shapes makes a Place of each group of outlines, under the phrase's words.
func (s scale) shapes(phrases []string) []Place {
	var places []Place
	for _, phrase := range phrases {
		groups := []string{phrase}
		if strings.Contains(phrase, "<poly>") && strings.Contains(phrase, "</poly>") {
			groups = nil
			for _, m := range shape.FindAllStringSubmatch(phrase, -1) {
				groups = append(groups, m[1])
			}
		}
		for _, group := range groups {
			place := Place{Label: labelOf(phrase)}
			for _, m := range outline.FindAllStringSubmatch(group, -1) {
				if at := s.points(m[1]); len(at) > 0 {
					place.Polygons = append(place.Polygons, at)
				}
			}
			if place.Polygons != nil {
				places = append(places, place)
			}
		}
	}
	return places
}

// labelOf returns a phrase's words before its first mark.
func labelOf(phrase string) string {
	if at := placeMark.FindStringIndex(phrase); at != nil {
		phrase = phrase[:at[0]]
	}
	return strings.TrimSpace(phrase)
}
