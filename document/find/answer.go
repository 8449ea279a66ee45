package find

import (
	"cmp"
	"math"
	"slices"
	"strings"
	"unicode"
)

// Answer is what a document answers to a question.
type Answer struct {
	// Text is the answer, a part of LineText; "" where there is no line at all, and what the closest line might answer
	// where Unsure.
	Text     string
	Page     int // from 1; 0 where there is no line
	Line     int // of the page's Lines; -1 where there is none
	LineText string
	Quad     [4][2]float64 // the line's
	// Confidence is how likely the line is right, 0 to 1, as measured on made documents.
	Confidence float64
	// Unsure says that nothing here seems to answer the question.
	Unsure bool
	// Passages fit the question best, the best first; the first has the line.
	Passages []Passage
}

// mostPassages bounds the passages of an answer.
const mostPassages = 3

// Answer picks the line that answers a question, and what in it does. A line is the better
//
//   - the more of the question's words, weighted by how rare they are in the document, its surroundings say: the
//     sentence that it is in, a label to its left, above it or before a colon, the heads of its row and its column;
//     less so the heading above it and the rest of its passage;
//   - the better what it says is of the kind asked for (a date, a person, an amount ...), beyond what the
//     question says itself;
//   - the better its passage fits by BM25.
//
// Below a threshold that was measured on made documents the answer is Unsure.
func (x *Index) Answer(text string) Answer {
	q := ask(text)
	a := &asked{question: q, index: x, kin: x.kin(q)}
	a.weigh()
	scores := x.scores(q)
	a.prior = make([]float64, len(scores))
	if best := slices.Max(append(slices.Clone(scores), 0)); best > 0 {
		for i, s := range scores {
			a.prior[i] = s / best
		}
	}
	for _, p := range a.pages(scores) {
		a.page(p)
	}
	out := Answer{Line: -1, Unsure: true}
	if a.best.page == nil {
		return out
	}
	c := a.best
	l := c.page.Lines[c.line]
	out.Text, out.Page, out.Line, out.LineText, out.Quad = strings.TrimSpace(c.text), c.page.Number, c.line, l.Text, l.Quad
	if out.Confidence = confidence(c.score); c.covered < leastCovered {
		out.Confidence *= c.covered
	}
	out.Unsure = out.Confidence < 0.5
	first := x.passages[c.page.lines[c.line].passage].Passage
	first.Score = scores[c.page.lines[c.line].passage]
	out.Passages = append(out.Passages, first)
	for _, p := range x.Search(text, mostPassages) {
		if len(out.Passages) < mostPassages && (p.Page != first.Page || p.First != first.First) {
			out.Passages = append(out.Passages, p)
		}
	}
	return out
}

// What weighs how much. They were set by hand on the tune half of testdata/document/questions.
const (
	weightSentence = 1.0
	weightNear     = 1.0  // the label next to a cell
	weightRow      = 0.95 // the head of a row
	weightAmid     = 0.85 // a text between that and the cell
	weightRight    = 0.8  // what stands to the right of what is surely of the kind asked for
	weightTitled   = 0.75 // the heading right above a line
	weightColumn   = 0.95 // the head of a column
	weightOther    = 0.3  // other cells of a row or column
	weightHeading  = 0.4
	weightPassage  = 0.5

	weightKind    = 0.25
	weightLabel   = 0.15 // of words of the label that the question has
	weightPrior   = 0.15
	weightNothing = 0.6  // of a line that says nothing new
	weightStacked = 0.75 // of what stands to the left of a value that is below its label
	weightHeads   = 0.12 // of a line that is rather the label of what stands to its right
	weightShort   = 0.3  // of a short line as a sentence
	weightSubject = 0.35 // of words that say whose record it is
	weightLetter  = 0.95 // of a letterhead, where it is asked who sends

	steep        = 8.0
	even         = 0.83
	leastCovered = 0.45 // of the question

	farLabel       = 14 // heights between a label and its value
	mostAskedPages = 24
)

// confidence is how likely a line of a score is right: a logistic function, half at even, that follows what was measured on
// the tune half of the made documents, questions without an answer included, and is less sure of itself than they are.
func confidence(score float64) float64 { return 1 / (1 + math.Exp(-steep*(score-even))) }

// asked is a question being looked up.
type asked struct {
	question
	index   *Index
	kin     []map[string]float64 // for each term the stems akin to it
	weights []float64            // of terms, which sum to 1
	prior   []float64            // of passages
	best    candidate
}

// candidate is a line that may answer.
type candidate struct {
	page    *page
	line    int
	text    string
	score   float64
	covered float64
}

func (a *asked) offer(c candidate) {
	c.score += weightPrior * a.prior[c.page.lines[c.line].passage]
	if a.best.page == nil || c.score > a.best.score {
		a.best = c
	}
}

// kin lists the stems of the document that are akin to each term.
func (x *Index) kin(q question) []map[string]float64 {
	kin := make([]map[string]float64, len(q.terms))
	for i, t := range q.terms {
		kin[i] = map[string]float64{}
		for s := range x.df {
			if v := akin(t, s); v > 0 {
				kin[i][s] = v
			}
		}
	}
	return kin
}

// weigh gives terms their weights: the rarer in the document the more.
func (a *asked) weigh() {
	sum := 0.0
	for _, t := range a.terms {
		w := a.index.idf(t)
		if subjects[t] {
			w *= weightSubject
		}
		a.weights = append(a.weights, w)
		sum += w
	}
	for i := range a.weights {
		a.weights[i] /= max(sum, 1e-9)
	}
}

// pages returns the pages worth looking at: those whose passages fit best, all of a short document.
func (a *asked) pages(scores []float64) []*page {
	pages := slices.Clone(a.index.pages)
	if len(pages) <= mostAskedPages {
		return pages
	}
	best := map[*page]float64{}
	for i, s := range scores {
		p := a.index.passages[i].page
		best[p] = max(best[p], s)
	}
	slices.SortStableFunc(pages, func(p, q *page) int { return cmp.Compare(best[q], best[p]) })
	return pages[:mostAskedPages]
}

// cover is how much of each term is said.
type cover []float64

// say notes that words are said with a weight.
func (a *asked) say(c cover, words []word, weight float64) {
	for _, w := range words {
		for i := range c {
			if v := a.kin[i][w.stem] * weight; v > c[i] {
				c[i] = v
			}
		}
	}
}

func (a *asked) sum(c cover) (sum float64) {
	for i, v := range c {
		sum += v * a.weights[i]
	}
	return sum
}

// said reports whether the question has a word.
func (a *asked) said(s string) bool {
	for i := range a.kin {
		if a.kin[i][s] > 0 {
			return true
		}
	}
	return false
}

// news is how much of words the question does not say, 0 to 1.
func (a *asked) news(words []word) float64 {
	n, all := 0.0, 0.0
	for _, w := range words {
		if stopped[w.stem] {
			continue
		}
		all++
		if !a.said(w.stem) {
			n++
		}
	}
	if all == 0 {
		return 0
	}
	return n / all
}

// implied are terms that what is of a kind says by itself.
var implied = map[kind]map[string]bool{
	aDate: stems("date day"), aYear: stems("year date"), aPerson: stems("name person"), aPlace: stems("place town city country"), anAddress: stems("address live"),
	aMail: stems("email mail e address"), aPhone: stems("phone telephone number"), aCode: stems("number no code"),
	anAmount: stems("amount money sum price cost"), aShare: stems("percentage percent share rate"), aNumber: stems("number quantity count"),
	aSize: {},
}

func stems(list string) map[string]bool {
	set := map[string]bool{}
	for _, w := range strings.Fields(list) {
		set[stem(w)] = true
	}
	return set
}

// implies notes the terms that a text of the kind asked for says by itself.
func (a *asked) implies(c cover, fits float64) {
	if fits <= 0 || (a.kind == aPlace || a.kind == anAddress || a.kind == aPhone) && fits < 1 {
		return
	}
	for i, t := range a.terms {
		if implied[a.kind][t] {
			c[i] = max(c[i], 0.7)
		}
	}
}

// page offers the lines of a page.
func (a *asked) page(p *page) {
	for i := range p.sentences {
		a.sentence(p, &p.sentences[i])
	}
	if len(p.lines) <= mostCells {
		for i := range p.lines {
			a.cell(p, i)
		}
	}
	a.letterhead(p)
}

// sends are words of questions for who a letter or an invoice is from.
var sends = stems("seller vendor supplier issuer issued sent sender sends merchant shop store")

// letterhead offers the largest line at the top of the first page to questions for who sends: there is no label to it.
func (a *asked) letterhead(p *page) {
	if a.kind != aPerson || p != a.index.pages[0] || !slices.ContainsFunc(a.terms, func(t string) bool { return sends[t] }) {
		return
	}
	best := -1
	for i := range p.lines {
		l := &p.lines[i]
		if l.box.Y0 < 0.2 && len(l.words) > 0 && a.news(l.words) > 0.3 && a.kind.fits(l.text) > 0 && !kindsOfLetters[l.words[len(l.words)-1].stem] &&
			(best < 0 || l.box.H() > p.lines[best].box.H()*1.05) {
			best = i
		}
	}
	if best >= 0 {
		a.offer(candidate{p, best, p.lines[best].text, weightLetter, weightLetter})
	}
}

// kindsOfLetters are words that say what a page is, and not who sends it.
var kindsOfLetters = stems("invoice bill receipt statement order letter rechnung quittung facture factura note offer quote contract")

// backdrop notes what the heading of a line says, and its passage.
func (a *asked) backdrop(c cover, p *page, i int, passage float64) {
	l := &p.lines[i]
	switch l.heading {
	case -1:
	case i - 1:
		a.say(c, p.lines[l.heading].words, weightTitled)
	default:
		a.say(c, p.lines[l.heading].words, weightHeading)
	}
	if passage > 0 {
		for s := range a.index.passages[l.passage].count {
			for k := range c {
				c[k] = max(c[k], a.kin[k][s]*passage)
			}
		}
	}
}

// sentence offers what a sentence says: what is of the kind asked for, or what it says beyond the question.
func (a *asked) sentence(p *page, s *sentence) {
	c := make(cover, len(a.terms))
	a.say(c, s.words, weightSentence)
	if len(s.words) <= mostCellWords && strings.HasSuffix(s.text, ":") {
		return
	}
	if (a.kind == aMail || a.kind == aPhone) && len(a.kind.spans(s.text)) > 0 { // which need no word to say what they are
		from, to, fits := a.span(s)
		if from >= 0 && a.kind.fits(s.text[from:to]) == 1 {
			a.implies(c, fits)
		}
	}
	if a.sum(c) == 0 {
		return
	}
	a.backdrop(c, p, s.lines[0], weightPassage)
	most := slices.Clone(c)
	a.implies(most, 1)
	if a.sum(most)+weightKind+weightPrior < a.best.score { // no answer in it could be better
		return
	}
	from, to, fits := a.span(s)
	score := 0.0
	if from < 0 {
		if len(s.words) <= 4 {
			score -= weightShort
		}
		from, to = a.rest(s)
		if fits = min(fits, 0); (a.kind == anything || a.kind == aSentence) && to > from {
			fits = 0.3
		}
		if a.kind == aSentence && to > from {
			from, to = 0, len(s.text)
		}
	}
	if to <= from {
		from, to = 0, len(s.text)
		score -= weightNothing
	}
	a.implies(c, fits)
	covered := a.sum(c)
	score += covered + weightKind*fits
	if p.lines[s.lines[0]].box.H() > headingHeight*p.body { // a title says what a page is, and answers little
		score -= weightShort
	}
	a.offer(candidate{p, s.lineAt(from), s.text[from:to], score, covered})
}

// cell offers a line as a value: of a label, or in a table.
func (a *asked) cell(p *page, i int) {
	l := &p.lines[i]
	if len(l.words) == 0 || len(l.words) > 2*mostCellWords {
		return
	}
	if label, value, ok := strings.Cut(l.text, ":"); ok && strings.TrimSpace(value) != "" && !strings.HasPrefix(value, "//") && !looksTime(label, value) {
		c := make(cover, len(a.terms))
		words := wordsOf(label)
		a.say(c, words, weightNear)
		a.value(p, i, strings.TrimSpace(value), c, words, false)
	}
	if len(l.words) > mostCellWords || strings.HasSuffix(l.text, ":") {
		return
	}
	s := p.around(i)
	if len(s.left)+len(s.above)+len(s.right) == 0 {
		return
	}
	c := make(cover, len(a.terms))
	var label []word
	overlap := -1.0
	say := func(k int, weight float64) {
		words := p.lines[k].words
		a.say(c, words, weight)
		if weight < weightRow*weightStacked {
			return
		}
		one := make(cover, len(a.terms))
		a.say(one, words, 1)
		if v := a.sum(one); v > overlap {
			overlap, label = v, words
		}
	}
	for n, k := range s.left {
		weight := weightOther
		switch o := &p.lines[k]; {
		case n == 0 && !o.numeric:
			weight = weightNear
			if l.box.X0-o.box.X1 > farLabel*l.box.H() {
				weight = weightRow
			}
		case n == len(s.left)-1:
			weight = weightRow
		case !o.numeric && l.numeric:
			weight = weightAmid
		}
		if s.over || s.under { // a label above its value, or the value below it
			weight *= weightStacked
		}
		say(k, weight)
	}
	if s.caption >= 0 {
		a.say(c, p.lines[s.caption].words, weightHeading)
	}
	if (a.kind == aDate || a.kind == aYear) && len(s.left) == 0 && a.kind.fits(l.text) == 1 { // the first column of a list
		for _, k := range s.right {
			say(k, weightRight)
		}
	}
	heads := 0
	for n, k := range s.above {
		weight := weightOther
		switch {
		case n == 0 && s.under:
			weight = weightNear
		case s.under || s.over: // among labels with their values below them
		case n == len(s.above)-1:
			weight = weightColumn
		case !p.lines[k].numeric && heads == 0 && l.numeric:
			weight = weightColumn
		}
		if !p.lines[k].numeric {
			heads++
		}
		say(k, weight)
	}
	a.value(p, i, l.text, c, label, s.over || s.label && !l.numeric)
}

// looksTime reports whether a colon stands in a time, such as 9:30.
func looksTime(before, after string) bool {
	return before != "" && after != "" && isDigit(before[len(before)-1]) && isDigit(after[0])
}

// value offers a line's value whose label covers so much of the question.
func (a *asked) value(p *page, i int, text string, c cover, label []word, heads bool) {
	if a.sum(c) == 0 {
		return
	}
	words := wordsOf(text)
	news := a.news(words)
	fits := a.kind.fits(text)
	a.backdrop(c, p, i, 0)
	a.implies(c, fits)
	a.say(c, words, 0.3)
	covered := a.sum(c)
	precise, all := 0.0, 0.0
	for _, w := range label {
		if stopped[w.stem] {
			continue
		}
		all++
		if a.said(w.stem) {
			precise++
		}
	}
	score := covered + weightKind*fits - weightNothing*(1-news)
	if all > 0 {
		score += weightLabel * precise / all
	}
	if heads {
		score -= weightHeads
	}
	switch a.kind { // a part of the value, where more than that stands there
	case aDate, aYear, aMail, aPhone, anAmount, aShare:
		if at := a.kind.spans(text); at != nil && fits > 0 {
			text = strings.TrimSpace(text[at[0][0]:at[0][1]])
		}
	}
	a.offer(candidate{p, i, strings.TrimFunc(text, unicode.IsSpace), score, covered})
}
