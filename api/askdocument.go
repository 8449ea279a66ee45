package api

import (
	"context"
	"errors"
	"fmt"
	"image"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/crossattn/xpipe/document"
	"github.com/crossattn/xpipe/document/find"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
)

// AskDocument answers questions about a document. Without a Model the answer is a part of a line of the text that was
// read: see find.Index.Answer. A model that takes pictures is asked about the picture of a page, or of a figure if the
// question names one; a language model gets the passages that fit best. Pages are read once, when a question first
// needs them. It is safe for concurrent use.
type AskDocument struct {
	Name     string         // of the document, for lines and errors
	Document document.Paged // its owner closes it
	Reader   *DocumentReader
	// Model answers; nil: a line of the text does.
	Model   *pipeline.Pipeline
	Options []pipeline.GenerateOption
	// Number of the page that is asked, from 1; 0: a search over all of them chooses it.
	Number int

	mu   sync.Mutex // held while pages are read
	text *DocumentText
}

// DocumentText is what was read of a document.
type DocumentText struct {
	Pages  []Page
	Index  *find.Index
	Failed []error // of pages that could not be read, though others could
}

// NewDocumentText makes one of pages.
func NewDocumentText(pages []Page) *DocumentText {
	return &DocumentText{Pages: pages, Index: find.New(FindPages(pages))}
}

// From says what an answer about a document was made from.
const (
	FromLine     = "line"     // a part of a line of the text
	FromPage     = "page"     // the picture of a page
	FromFigure   = "figure"   // the picture of a figure
	FromPassages = "passages" // the text of passages
)

// DocumentAnswer is one question's line of ask about a document: an Answer, and where it stands. Where a line answers,
// Answer.Confidence says how likely it is the right one; if that is Unsure, nothing in the document seems to answer,
// Answer.Answer is "", and Line is the closest one.
type DocumentAnswer struct {
	Answer
	Document Name          `json:"document"`
	Page     int           `json:"page"` // from 1
	Box      [4]float64    `json:"box"`  // left, top, right, bottom in units of the page's width and height
	Quad     pipeline.Quad `json:"quad"` // the same as corners, of lines that are not level more exactly
	Line     string        `json:"line"` // the line that has the answer, or is closest to one; "": none has it
	From     string        `json:"from"`
	Passages []Passage     `json:"passages"`

	// Picture is what a model saw; nil for other answers.
	Picture image.Image `json:"-"`
}

// String says the answer and its page, in words for people.
func (d *DocumentAnswer) String() string {
	unsure := d.Confidence != nil && d.Unsure && d.From == FromLine
	switch {
	case unsure && d.Line == "":
		return "unsure: nothing in the document has words of the question"
	case unsure:
		return fmt.Sprintf("unsure: nothing seems to answer it; the closest line, on page %d: %s", d.Page, Printable(d.Line))
	case d.From == FromFigure:
		return fmt.Sprintf("%s (the figure on page %d)", Printable(d.Answer.Answer), d.Page)
	case d.From == FromPassages && d.Line == "":
		return Printable(d.Answer.Answer)
	case d.From == FromPage && len(d.Passages) > 0:
		return fmt.Sprintf("%s (page %d, by its words)", Printable(d.Answer.Answer), d.Page)
	}
	return fmt.Sprintf("%s (page %d)", Printable(d.Answer.Answer), d.Page)
}

// Passage is a passage of a document that fits a question.
type Passage struct {
	Page  int           `json:"page"`
	Text  string        `json:"text"`
	Box   [4]float64    `json:"box"`
	Quad  pipeline.Quad `json:"quad"`
	Score float64       `json:"score"` // BM25's
}

func newPassage(p find.Passage) Passage {
	p.Box = p.Box.Intersect(document.Box{X1: 1, Y1: 1})
	p.Box.X1, p.Box.Y1 = max(p.Box.X0, p.Box.X1), max(p.Box.Y0, p.Box.Y1)
	return Passage{p.Page, p.Text, boxOf(p.Box), short(p.Box.Quad()), digits(p.Score)}
}

func boxOf(b document.Box) [4]float64 {
	return [4]float64{digits(b.X0), digits(b.Y0), digits(b.X1), digits(b.Y1)}
}

// readAtOnce bounds the pages of a document that are read at once, each with the memory of one.
const readAtOnce = 2

// Text returns what was read of the pages that are asked. Those that cannot be read are left out; the error is that of the
// first one where none can be.
func (a *AskDocument) Text(ctx context.Context) (*DocumentText, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.text != nil {
		return a.text, nil
	}
	text, err := a.read(ctx)
	if err == nil {
		a.text = text
	}
	return text, err
}

// SetText gives the text of the pages that are asked, which was read before.
func (a *AskDocument) SetText(text *DocumentText) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.text = text
}

// had are the pages that were read before.
func (a *AskDocument) had() []Page {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.text == nil {
		return nil
	}
	return a.text.Pages
}

// check refuses a page that is not there.
func (a *AskDocument) check() error {
	if n := a.Document.Pages(); a.Number < 0 || a.Number > n {
		return WithKind(fmt.Errorf("%s: there is no page %d: the document has %d", a.Name, a.Number, n), KindUsage)
	}
	return nil
}

// read reads the pages.
func (a *AskDocument) read(ctx context.Context) (*DocumentText, error) {
	if err := a.check(); err != nil {
		return nil, err
	}
	first, last := 1, a.Document.Pages()
	if a.Number > 0 {
		first, last = a.Number, a.Number
	}
	pages, errs := make([]Page, last-first+1), make([]error, last-first+1)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var working sync.WaitGroup
	room := make(chan struct{}, min(readAtOnce, runtime.GOMAXPROCS(0)))
	for i := range pages {
		select {
		case room <- struct{}{}:
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			break
		}
		working.Go(func() {
			defer func() { <-room }()
			pages[i], errs[i] = a.Reader.Page(ctx, a.Name, a.Document, first+i)
			if errors.Is(errs[i], pipeline.ErrUnsupported) { // of the model, not of the page
				cancel(errs[i])
			}
		})
	}
	working.Wait()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var read []Page
	var failed []error
	for i, err := range errs {
		if err != nil {
			failed = append(failed, fmt.Errorf("page %d: %w", first+i, err))
			continue
		}
		read = append(read, pages[i])
	}
	if len(read) == 0 {
		return nil, errs[0]
	}
	text := NewDocumentText(read)
	text.Failed = failed
	return text, nil
}

// FindPages are read pages as package find takes them.
func FindPages(pages []Page) []find.Page {
	made := make([]find.Page, len(pages))
	for i, p := range pages {
		made[i] = find.Page{Number: p.Number, Aspect: float64(p.Width) / float64(max(p.Height, 1))}
		for _, l := range p.Lines {
			made[i].Lines = append(made[i].Lines, find.Line{Text: l.Text, Quad: l.Quad})
		}
	}
	return made
}

// seesPages reports whether the model is asked about pictures.
func (a *AskDocument) seesPages() bool {
	can := a.Model.Abilities()
	return can.Takes(media.Pictures) && (can.Write || can.Pick)
}

// Ask answers a question. Errors wrap those of reading, or of the model; a document without any text gives one of the
// kind KindInput unless a model sees its pages.
func (a *AskDocument) Ask(ctx context.Context, question string) (*DocumentAnswer, error) {
	start := time.Now()
	if strings.TrimSpace(question) == "" {
		return nil, fmt.Errorf("%w: the question is empty", pipeline.ErrPrompt)
	}
	if err := a.check(); err != nil {
		return nil, err
	}
	answer := &DocumentAnswer{Document: Name(a.Name), Passages: []Passage{}}
	answer.Image, answer.Question = Name(a.Name), question
	var err error
	switch {
	case a.Model == nil:
		err = a.line(ctx, answer)
	case a.seesPages():
		err = a.picture(ctx, answer)
	case a.Model.Abilities().Write:
		err = a.passages(ctx, answer)
	default:
		err = fmt.Errorf("%w: model %s neither takes pictures nor writes answers", pipeline.ErrUnsupported, a.Model.Bundle().Name)
	}
	if err != nil {
		return nil, err
	}
	answer.Seconds = orZero(time.Since(start).Seconds())
	return answer, nil
}

// found looks the question up, and says where the best line stands.
func (a *AskDocument) found(ctx context.Context, answer *DocumentAnswer) (*find.Answer, error) {
	text, err := a.Text(ctx)
	if err != nil {
		return nil, err
	}
	found := text.Index.Answer(answer.Question)
	answer.Page, answer.Line = found.Page, found.LineText
	answer.place(found.Quad)
	for _, p := range found.Passages {
		answer.Passages = append(answer.Passages, newPassage(p))
	}
	return &found, nil
}

func (d *DocumentAnswer) place(q [4][2]float64) {
	for i := range q {
		q[i] = [2]float64{min(max(q[i][0], 0), 1), min(max(q[i][1], 0), 1)}
	}
	d.Quad = short(q)
	d.Box = boxOf(find.Line{Quad: q}.Box())
}

// line answers with a part of a line.
func (a *AskDocument) line(ctx context.Context, answer *DocumentAnswer) error {
	found, err := a.found(ctx, answer)
	if err != nil {
		return err
	}
	if read, err := a.Text(ctx); err != nil || read.Index.Empty() {
		return a.errNoText()
	}
	answer.From = FromLine
	text := &pipeline.Text{Confidence: &pipeline.Confidence{Probability: digits(found.Confidence), Unsure: found.Unsure}}
	if !found.Unsure {
		text.Text = found.Text
	}
	answer.Answer.Answer, answer.TextJSON = text.Text, textOf(text, 0)
	if found.Page == 0 { // no line has a word of the question
		answer.Page = a.had()[0].Number
	}
	return nil
}

// errNoText is the error of a document in which nothing is written.
func (a *AskDocument) errNoText() error {
	where := fmt.Sprintf("any of its %d pages", a.Document.Pages())
	if a.Number > 0 {
		where = fmt.Sprintf("page %d", a.Number)
	} else if a.Document.Pages() == 1 {
		where = "its page"
	}
	how := "--model with one that sees pictures asks about what a page shows"
	if a.Reader.OCR == "never" {
		how = "--ocr auto reads pictures of pages"
	}
	return Inputf("%s: there is no text on %s; %s", a.Name, where, how)
}

// passages has a language model answer from the passages that fit.
func (a *AskDocument) passages(ctx context.Context, answer *DocumentAnswer) error {
	if _, err := a.found(ctx, answer); err != nil {
		return err
	}
	answer.From = FromPassages
	for most := MostContext; ; most /= 2 {
		text, err := a.Context(ctx, answer.Question, most)
		if err != nil {
			return err
		}
		if text == "" {
			return a.errNoText()
		}
		prompt := text + "\n\nAnswer from the text above, in a few words. " + answer.Question
		request := pipeline.Request{Prompt: prompt + "\n"}
		if a.Model.Abilities().Chat {
			request = pipeline.Request{Messages: []pipeline.Message{{Role: pipeline.RoleUser, Text: prompt}}}
		}
		// A model of few positions reads less.
		if err = a.write(ctx, answer, request); !errors.Is(err, pipeline.ErrPrompt) || most < leastContext {
			return err
		}
	}
}

// write has the model write the answer.
func (a *AskDocument) write(ctx context.Context, answer *DocumentAnswer, request pipeline.Request) error {
	texts, err := a.Model.Generate(ctx, []pipeline.Request{request}, a.Options...)
	if failed := pipeline.ItemErrors(err); len(failed) == 1 {
		err = failed[0].Err
	}
	if err != nil {
		return err
	}
	made := NewAnswer(Question{Image: answer.Image, Question: answer.Question}, texts[0], 0)
	if a.Model.Abilities().Find && request.Item != nil {
		found, err := a.Model.Find(request, made.Answer)
		if err != nil {
			return err
		}
		made.Places = found.Places
	}
	answer.Answer = made
	a.locate(answer)
	return nil
}

// locate finds the line that has what a model answered: on the page that was asked, or in the passages it was given.
func (a *AskDocument) locate(answer *DocumentAnswer) {
	fold := func(s string) string { return strings.ToLower(strings.Join(strings.Fields(s), " ")) }
	want := strings.Trim(fold(answer.Answer.Answer), " .")
	if want == "" {
		return
	}
	for _, p := range a.had() {
		if p.Number != answer.Page && answer.From != FromPassages {
			continue
		}
		for _, l := range p.Lines {
			if has := fold(l.Text); has == want || len(want) > 2 && strings.Contains(" "+has+" ", want) {
				answer.Page, answer.Line = p.Number, l.Text
				answer.place(l.Quad)
				return
			}
		}
	}
	if answer.From != FromPassages {
		answer.Line = ""
	}
}

// MostContext is how many characters of a document a language model is given unless a caller says otherwise: about
// 1,500 tokens of English.
const MostContext = 6000

// leastContext is what a language model has to be able to read at least.
const leastContext = 500

// Context returns what a language model is told of a document to answer a question: all of its text if it has at most
// so many characters, else the passages that fit, in the order of the document. Each page is named. 0 stands for
// MostContext. "" is returned where there is no text.
func (a *AskDocument) Context(ctx context.Context, question string, most int) (string, error) {
	text, err := a.Text(ctx)
	if err != nil || text.Index.Empty() {
		return "", err
	}
	if most <= 0 {
		most = MostContext
	}
	var all []find.Passage
	size := 0
	for _, p := range FindPages(text.Pages) {
		for _, passage := range find.Passages(&p) {
			all = append(all, passage)
			size += len(passage.Text)
		}
	}
	if size > most {
		kept := text.Index.Search(question, len(all))
		if len(kept) == 0 {
			kept = all
		}
		all, size = nil, 0
		for _, p := range kept {
			if size += len(p.Text); size > most && all != nil {
				break
			}
			p.Text = p.Text[:min(len(p.Text), most)]
			all = append(all, p)
		}
		slices.SortStableFunc(all, func(p, q find.Passage) int { return (p.Page-q.Page)*1000000 + p.First - q.First })
	}
	var b strings.Builder
	page := 0
	for _, p := range all {
		if p.Page != page {
			if page > 0 {
				b.WriteString("\n")
			}
			fmt.Fprintf(&b, "%s, page %d:\n", a.Name, p.Page)
			page = p.Page
		}
		b.WriteString(strings.ToValidUTF8(p.Text, "") + "\n")
	}
	return strings.TrimRight(b.String(), "\n"), nil
}

// picture asks the model about the picture of a page or of a figure.
func (a *AskDocument) picture(ctx context.Context, answer *DocumentAnswer) error {
	shown, err := a.Show(ctx, answer)
	if err != nil {
		return err
	}
	return a.write(ctx, answer, pipeline.Request{Item: media.Picture{Image: shown}, Question: answer.Question})
}

// Show returns the picture that a model is asked about for answer.Question, and says in answer which page it is of and
// where on it: the page of AskDocument.Number, that which a search finds, or the only one; or a figure of it that the
// question names.
func (a *AskDocument) Show(ctx context.Context, answer *DocumentAnswer) (image.Image, error) {
	answer.From = FromPage
	named, number := namesFigure(answer.Question)
	switch n := a.Document.Pages(); {
	case a.Number > 0 || n == 1:
		answer.Page = max(a.Number, 1)
		// Where words stand is worth knowing, if it costs no reading of pictures.
		layer := &AskDocument{
			Name: a.Name, Document: a.Document, Number: answer.Page,
			Reader: &DocumentReader{OCR: "never", DPI: a.Reader.DPI},
		}
		a.mu.Lock()
		if a.text == nil {
			a.text, _ = layer.read(ctx)
		}
		a.mu.Unlock()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	default:
		if _, err := a.found(ctx, answer); err != nil {
			return nil, err
		}
		if answer.Page == 0 { // no page has a word of the question
			answer.Page = a.had()[0].Number
		}
	}
	answer.place(document.Box{X1: 1, Y1: 1}.Quad())
	if named {
		if page, quad, ok := figureOf(a.had(), number, answer.Page); ok {
			answer.From, answer.Page = FromFigure, page
			answer.place(quad)
		}
	}
	page, err := a.Document.Render(ctx, answer.Page, a.Reader.DPI)
	if err != nil {
		return nil, WithDocumentKind(err)
	}
	var shown image.Image = page
	if answer.From == FromFigure {
		b := page.Bounds()
		w, h := float64(b.Dx()), float64(b.Dy())
		cut := image.Rect(int(answer.Box[0]*w), int(answer.Box[1]*h), int(math.Ceil(answer.Box[2]*w)), int(math.Ceil(answer.Box[3]*h)))
		if cut = cut.Intersect(b); !cut.Empty() {
			shown = page.SubImage(cut)
		}
	}
	answer.Picture = shown
	return shown, nil
}
