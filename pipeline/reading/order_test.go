package reading

import (
	"encoding/json"
	"math/rand/v2"
	"os"
	"slices"
	"testing"
)

// testdata/ocr/columns.json has the boxes of lines of pages with two and three columns, headings,
// head lines, figures and footnotes, in the order in which pages.py wrote them.
func TestOrderOfColumns(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile("../../testdata/ocr/columns.json")
	if err != nil {
		t.Fatal(err)
	}
	var pages [][][4]float64
	if err := json.Unmarshal(data, &pages); err != nil {
		t.Fatal(err)
	}
	right := 0
	for n, page := range pages {
		shuffled := rand.New(rand.NewPCG(uint64(n), 1)).Perm(len(page))
		boxes := make([]box, len(page))
		for i, at := range shuffled {
			b := page[at]
			boxes[i] = box{b[0], b[1], b[2], b[3]}
		}
		var order []int
		for _, p := range inOrder(boxes, nil) {
			order = append(order, shuffled[p.box])
		}
		if slices.IsSorted(order) && len(order) == len(page) {
			right++
		} else {
			t.Logf("page %d: %v", n, order)
		}
	}
	t.Logf("%d of %d pages are in order", right, len(pages))
	if len(pages) != 100 || right < 98 {
		t.Errorf("%d of %d pages are in order, want 98 of 100", right, len(pages))
	}
}
