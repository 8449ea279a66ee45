package find_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/document/find"
)

// page makes a page of lines: x, y and width in hundredths of the page, then the text.
func page(number int, lines ...any) find.Page {
	p := find.Page{Number: number, Aspect: 0.707}
	for i := 0; i < len(lines); i += 4 {
		x, y, w := float64(lines[i].(int))/100, float64(lines[i+1].(int))/100, float64(lines[i+2].(int))/100
		b := document.Box{X0: x, Y0: y, X1: x + w, Y1: y + 0.012}
		p.Lines = append(p.Lines, find.Line{Text: lines[i+3].(string), Quad: b.Quad()})
	}
	return p
}

var (
	form = page(1,
		10, 5, 40, "Hire Agreement",
		10, 12, 12, "Hirer", 40, 12, 20, "Greta Holm",
		10, 15, 12, "Collected on", 40, 15, 20, "3 May 2024",
		10, 18, 12, "Deposit", 40, 18, 20, "€ 150.00",
		10, 21, 30, "E-mail: greta@example.org",
	)
	table = page(2,
		10, 10, 12, "Bike", 40, 10, 8, "Week", 60, 10, 8, "Day",
		10, 12, 12, "Tandem", 40, 12, 8, "120.00", 60, 12, 8, "25.00",
		10, 14, 12, "Tourer", 40, 14, 8, "80.00", 60, 14, 8, "17.50",
	)
	prose = page(3,
		10, 10, 70, "The shop was opened by Olaf Brandt in 1987. It moved twice before it",
		10, 12, 70, "came to its present house on the quay. Some 4,200 bicycles are re-",
		10, 14, 70, "paired here every year. Dr. Ida Sand keeps the accounts.",
	)
	german = page(4, 10, 10, 20, "Rechnungsdatum:", 40, 10, 20, "12.03.2024", 10, 12, 20, "Betrag", 40, 12, 20, "99,50 €")
	kanji  = page(5, 10, 10, 20, "発行日", 40, 10, 20, "2024年3月12日", 10, 12, 20, "合計金額", 40, 12, 20, "¥12,300")
)

// A line and what in it answers, by the kind of question and the place of its label.
func TestAnswer(t *testing.T) {
	x := find.New([]find.Page{form, table, prose, german, kanji})
	for _, c := range []struct {
		question, answer, line string
		page                   int
	}{
		{"Who is the hirer?", "Greta Holm", "Greta Holm", 1},
		{"when was it collected?", "3 May 2024", "3 May 2024", 1},
		{"How much is the deposit?", "€ 150.00", "€ 150.00", 1},
		{"What is the e-mail address?", "greta@example.org", "E-mail: greta@example.org", 1},
		{"What does a tandem cost for a week?", "120.00", "120.00", 2},
		{"What is the price of the tourer per day?", "17.50", "17.50", 2},
		{"Who opened the shop?", "Olaf Brandt", prose.Lines[0].Text, 3},
		{"In which year was the shop opened?", "1987", prose.Lines[0].Text, 3},
		{"How many bicycles are repaired?", "4,200", prose.Lines[1].Text, 3},
		{"Who keeps the accounts?", "Dr. Ida Sand", prose.Lines[2].Text, 3},
		{"Wann ist das Rechnungsdatum?", "12.03.2024", "12.03.2024", 4},
		{"合計金額", "¥12,300", "¥12,300", 5},
	} {
		a := x.Answer(c.question)
		if a.Text != c.answer || a.LineText != c.line || a.Page != c.page || a.Unsure || a.Quad == [4][2]float64{} {
			t.Errorf("%s: %q in %q on page %d, %.2f sure", c.question, a.Text, a.LineText, a.Page, a.Confidence)
		}
		if len(a.Passages) == 0 || a.Passages[0].Page != c.page || !strings.Contains(a.Passages[0].Text, c.line) {
			t.Errorf("%s: passages %+v", c.question, a.Passages)
		}
	}
	for _, question := range []string{"Who conducts the orchestra?", "What is the deposit of the piano?", "", "???", "what is it"} {
		if a := x.Answer(question); !a.Unsure || a.Confidence >= 0.5 {
			t.Errorf("%s: %q in %q, %.2f sure", question, a.Text, a.LineText, a.Confidence)
		}
	}
}

// Passages hold all lines once, in order, and end where columns and blocks do.
func TestPassages(t *testing.T) {
	p := page(7, 10, 10, 30, "one two", 10, 12, 30, "three", 10, 20, 30, "set off", 60, 10, 30, "another column")
	var texts []string
	next := 0
	for _, found := range find.Passages(&p) {
		if found.First != next || found.Last <= found.First || found.Page != 7 || found.Box.Empty() {
			t.Errorf("%+v", found)
		}
		next = found.Last
		texts = append(texts, found.Text)
	}
	if got := strings.Join(texts, "|"); got != "one two\nthree|set off|another column" {
		t.Error(got)
	}
	long := find.Page{Number: 1}
	for i := range 100 {
		b := document.Box{X0: 0.1, X1: 0.9, Y0: float64(i) / 100, Y1: float64(i)/100 + 0.009}
		long.Lines = append(long.Lines, find.Line{Text: "ten words that stand in a line of a page", Quad: b.Quad()})
	}
	for _, found := range find.Passages(&long) {
		if n := len(strings.Fields(found.Text)); n > 120 {
			t.Errorf("a passage of %d words", n)
		}
	}
}

func TestSearch(t *testing.T) {
	x := find.New([]find.Page{form, table, prose})
	found := x.Search("accounts of the shop", 2)
	if len(found) == 0 || found[0].Page != 3 || found[0].Score <= 0 {
		t.Errorf("%+v", found)
	}
	if found := x.Search("zeppelin", 3); found != nil {
		t.Errorf("%+v", found)
	}
	if !find.New(nil).Empty() || x.Empty() {
		t.Error("which is empty?")
	}
	if a := find.New(nil).Answer("who?"); a.Line != -1 || a.Page != 0 || !a.Unsure {
		t.Errorf("%+v", a)
	}
}

// Damaged and endless pages take bounded time.
func TestHostilePages(t *testing.T) {
	nan := math.NaN()
	odd := find.Page{Number: 1, Aspect: nan, Lines: []find.Line{
		{Text: "date", Quad: [4][2]float64{{nan, nan}, {math.Inf(1), 0}, {1, -1e300}, {0, 1}}}, {Text: "3 May 2024"},
		{Text: strings.Repeat("a. B ", 20000), Quad: document.Box{X1: 1, Y1: 1}.Quad()}, {Text: "\xff\xfe date:"}, {Text: ": :"},
	}}
	many := find.Page{Number: 2}
	for i := range 100_000 {
		b := document.Box{X0: float64(i%300) / 300, X1: float64(i%300+1) / 300, Y0: float64(i/300) / 400, Y1: float64(i/300+1) / 400}
		many.Lines = append(many.Lines, find.Line{Text: fmt.Sprint("date ", i%7), Quad: b.Quad()})
	}
	pile := find.Page{Number: 3}
	for i := range 2000 {
		pile.Lines = append(pile.Lines, find.Line{Text: fmt.Sprint("due ", i), Quad: document.Box{X0: 0.1, X1: 0.2, Y0: 0.1, Y1: 0.2}.Quad()})
	}
	find.New([]find.Page{odd, many, pile}).Answer("What is the due date?")
}

func FuzzAnswer(f *testing.F) {
	f.Add("What is the date?", "Date: 3 May 2024\nTotal 3.00\n合計", 0.1, 0.2)
	f.Fuzz(func(t *testing.T, question, text string, x, y float64) {
		p := find.Page{Number: 1}
		for i, line := range strings.Split(text, "\n") {
			b := document.Box{X0: x, Y0: y * float64(i), X1: x + 0.3, Y1: y*float64(i) + 0.01}
			p.Lines = append(p.Lines, find.Line{Text: line, Quad: b.Quad()})
		}
		a := find.New([]find.Page{p}).Answer(question)
		if a.Line >= 0 && !strings.Contains(a.LineText, a.Text) && !strings.Contains(strings.Join(strings.Split(text, "\n"), " "), a.Text) &&
			!strings.Contains(text, "-") {
			t.Errorf("%q is not in the text", a.Text)
		}
	})
}
