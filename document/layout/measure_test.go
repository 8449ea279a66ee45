package layout_test

import (
	"context"
	"encoding/json"
	"os"
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
	data, err := os.ReadFile(folder() + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &truth); err != nil {
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

// same returns how many words agree before the first that does not.
func same(a, b []string) int {
	for i := range b {
		if i >= len(a) || a[i] != b[i] {
			return i
		}
	}
	return len(b)
}
