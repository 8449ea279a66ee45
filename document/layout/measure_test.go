package layout_test

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/document/layout"
	"github.com/crossattn/xpipe/document/pdf"
)

// folder has the made pages; XPIPE_LAYOUT names another one, of other seeds, to work on.
func folder() string {
	if dir := os.Getenv("XPIPE_LAYOUT"); dir != "" {
		return dir + "/"
	}
	return "../../testdata/document/"
}

func pages[T any](t *testing.T, name string) (pages []*document.Page, truth []T) {
	t.Helper()
	f, err := os.Open(folder() + name + ".json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(unpacked).Decode(&truth); err != nil {
		t.Fatal(err)
	}
	d, err := pdf.Open(context.Background(), folder()+name+".pdf", pdf.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	for n := range d.Pages() {
		p, err := d.Page(context.Background(), n+1)
		if err != nil {
			t.Fatal(err)
		}
		pages = append(pages, p)
	}
	return pages, truth
}

// The reading order of made pages of two and three columns, from boxes of lines and figures alone.
func TestOrderOfMadePages(t *testing.T) {
	all, truth := pages[struct {
		Columns int
		Lines   []string
	}](t, "order")
	right := 0
	for i, page := range all {
		lines := layout.Lines(page)
		boxes := make([]document.Box, len(lines))
		for k, l := range lines {
			boxes[k] = l.Box
		}
		boxes = append(boxes, page.Figures...)
		var got []string
		for _, k := range layout.Order(boxes, page.Width/page.Height) {
			if k < len(lines) {
				got = append(got, strings.Fields(lines[k].Text)...)
			}
		}
		want := strings.Fields(strings.Join(truth[i].Lines, " "))
		if n := same(got, want); n < len(want) {
			t.Logf("page %d, %d columns: %d of %d words: %.60s, want %.60s", i+1, truth[i].Columns, n, len(want),
				strings.Join(got[min(n, len(got)):], " "), strings.Join(want[n:], " "))
		} else {
			right++
		}
	}
	t.Logf("order right on %d of %d pages", right, len(all))
	if right*100 < 98*len(all) {
		t.Errorf("order right on %d of %d pages", right, len(all))
	}
}

// The same of testdata/ocr/columns.json: boxes of lines of pages with head lines, headings over columns
// and footnotes, in the order in which pages.py wrote them.
func TestOrderOfColumns(t *testing.T) {
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
		const wide, high = 1240, 1755
		shuffled := rand.New(rand.NewPCG(uint64(n), 1)).Perm(len(page))
		boxes := make([]document.Box, len(page))
		for i, at := range shuffled {
			b := page[at]
			boxes[i] = document.Box{X0: b[0] / wide, Y0: b[1] / high, X1: b[2] / wide, Y1: b[3] / high}
		}
		var order []int
		for _, k := range layout.Order(boxes, float64(wide)/high) {
			order = append(order, shuffled[k])
		}
		if slices.IsSorted(order) && len(order) == len(page) {
			right++
		} else {
			t.Logf("page %d: %v", n, order)
		}
	}
	t.Logf("order right on %d of %d pages", right, len(pages))
	if len(pages) != 100 || right < 98 {
		t.Errorf("order right on %d of %d pages", right, len(pages))
	}
}

// Tables are read by rows, and many boxes take no time to speak of.
func TestOrderOfRows(t *testing.T) {
	for _, c := range []struct{ rows, columns int }{{0, 4}, {12, 4}, {25, 40}, {500, 40}} {
		var boxes []document.Box
		for row := range c.rows {
			for column := range c.columns {
				x, y := float64(column)/float64(c.columns), float64(row)/float64(c.rows)
				boxes = append(boxes, document.Box{X0: x, Y0: y, X1: x + 0.4/float64(c.columns), Y1: y + 0.6/float64(c.rows)})
			}
		}
		order := layout.Order(boxes, 0.7)
		if !slices.IsSorted(order) || len(order) != len(boxes) {
			t.Errorf("%d rows of %d are read %v", c.rows, c.columns, order)
		}
	}
}

// same returns how many words agree before the first that does not.
func same(a, b []string) int {
	for i := range b {
		if i >= len(a) || a[i] != b[i] {
			return i
		}
	}
	return len(b)
}

// The cells of made tables, with spans: a cell is right where its place, its spans and its text are.
func TestTablesOfMadePages(t *testing.T) {
	type cell [5]any
	all, truth := pages[struct {
		Tables []struct {
			Style string
			Cells []cell
		}
	}](t, "tables")
	right, found, there := map[string]int{}, map[string]int{}, map[string]int{}
	for i, page := range all {
		tables := layout.Tables(page)
		for k, want := range truth[i].Tables {
			there[want.Style] += len(want.Cells)
			if k >= len(tables) {
				t.Logf("page %d, table %d, %s: not found", i+1, k+1, want.Style)
				continue
			}
			cells := map[string]bool{}
			for _, c := range tables[k].Table.Cells {
				if c.Text != "" {
					cells[fmt.Sprint(c.Row, c.Col, c.RowSpan, c.ColSpan, c.Text)] = true
				}
			}
			found[want.Style] += len(cells)
			n := 0
			for _, c := range want.Cells {
				if cells[fmt.Sprint(c[:]...)] {
					n++
				} else if os.Getenv("XPIPE_LAYOUT") != "" {
					t.Logf("page %d, table %d, %s: lacks %v", i+1, k+1, want.Style, c)
				}
			}
			right[want.Style] += n
		}
		if len(tables) > len(truth[i].Tables) {
			for _, x := range tables[len(truth[i].Tables):] {
				found[truth[i].Tables[0].Style] += len(x.Table.Cells)
			}
			t.Logf("page %d: %d tables", i+1, len(tables))
		}
	}
	for style, floor := range map[string]float64{"grid": 0.97, "gaps": 0.80, "rules": 0.80} {
		f1 := 2 * float64(right[style]) / float64(found[style]+there[style])
		t.Logf("%s: F1 %.3f (%d cells)", style, f1, there[style])
		if f1 < floor {
			t.Errorf("%s: F1 %.3f, want %.2f", style, f1, floor)
		}
	}
}

// Labels and values of made forms: a pair is right where both texts are.
func TestPairsOfMadeForms(t *testing.T) {
	all, truth := pages[struct {
		Style string
		Pairs [][2]string
	}](t, "forms")
	right, found, there := 0, 0, 0
	styles := map[string][2]int{}
	for i, page := range all {
		got := map[[2]string]bool{}
		for _, p := range layout.Pairs(page) {
			got[[2]string{p.Label, p.Value}] = true
		}
		n := 0
		for _, want := range truth[i].Pairs {
			if got[want] {
				n++
			} else if os.Getenv("XPIPE_LAYOUT") != "" {
				t.Logf("page %d, %s: lacks %q", i+1, truth[i].Style, want)
			}
		}
		s := styles[truth[i].Style]
		styles[truth[i].Style] = [2]int{s[0] + n, s[1] + len(truth[i].Pairs)}
		right, found, there = right+n, found+len(got), there+len(truth[i].Pairs)
	}
	f1 := 2 * float64(right) / float64(found+there)
	t.Logf("F1 %.3f (%d pairs); found by style: %v", f1, there, styles)
	if f1 < 0.85 {
		t.Errorf("F1 %.3f", f1)
	}
}
