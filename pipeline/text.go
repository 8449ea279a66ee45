package pipeline

import (
	"cmp"
	"context"
	"fmt"
	"image"
	"slices"
	"strings"
	"time"

	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// Request asks for text about a picture.
type Request struct {
	Image    image.Image
	Question string // "" asks for a caption
	// Prompt, where it is not "", is given to the model in place of what the
	// bundle's templates make of the question.
	Prompt string
	// Shots are examples that stand before the request, for Flamingo's kind of
	// model.
	Shots []Shot
	// Parts, where there are any, are the whole request: text and pictures in
	// their order, for Flamingo's kind of model.
	Parts []Part
	// Regions take the picture's place for models that see through an object
	// detector (LXMERT). Without them a model whose bundle has a region encoder
	// makes its own from Image; see Pipeline.Regions.
	Regions *Regions
}

// Shot is an example of what the model should write.
type Shot struct {
	Image    image.Image
	Question string // "" stands for the request's
	Text     string // the caption or answer
}

// Part is a piece of a prompt: a picture, or text where Image is nil.
type Part struct {
	Image image.Image
	Text  string
}

// Text is what the model wrote, and how.
type Text struct {
	Text   string
	Tokens []Token
	// LogProb is the sum of the tokens' log-probabilities.
	LogProb float64
	// Score is what beam search ranked the text by; LogProb without it.
	Score float64
	Stats Stats
}

// Token is one generated token.
type Token struct {
	ID int64
	// Text is what the token adds to the text. It is cut only between whole
	// characters: where a token ends within one, the next token's Text has it.
	Text string
	// LogProb is the natural logarithm of the token's probability under the
	// model, before any processing for beams or sampling.
	LogProb float64
}

// Stats says where the time of a call went. The requests of a batch share it.
type Stats struct {
	Preprocess time.Duration // pictures to pixels
	Encode     time.Duration // pixels to what the text is conditioned on
	FirstToken time.Duration // from the prompt to the first token
	Generate   time.Duration // from the prompt to the last token
	Tokens     int           // tokens generated, over the whole batch
}

// Caption describes the picture in a few words.
func (p *Pipeline) Caption(ctx context.Context, img image.Image, opts ...GenerateOption) (*Text, error) {
	return first(p.CaptionBatch(ctx, []image.Image{img}, opts...))
}

// CaptionBatch describes several pictures at once. The captions are those that
// Caption gives one by one.
func (p *Pipeline) CaptionBatch(ctx context.Context, imgs []image.Image, opts ...GenerateOption) ([]*Text, error) {
	requests := make([]Request, len(imgs))
	for i, img := range imgs {
		requests[i].Image = img
	}
	return firsts(p.Generate(ctx, requests, opts...))
}

// Answer answers a question about the picture. A question of nothing but white
// space is an error that wraps ErrPrompt.
func (p *Pipeline) Answer(ctx context.Context, img image.Image, question string, opts ...GenerateOption) (*Text, error) {
	return first(p.AnswerBatch(ctx, []Request{{Image: img, Question: question}}, opts...))
}

// AnswerBatch answers several questions at once. The answers are those that
// Answer gives one by one. A picture that several requests share is encoded
// once.
func (p *Pipeline) AnswerBatch(ctx context.Context, requests []Request, opts ...GenerateOption) ([]*Text, error) {
	for i, r := range requests {
		if strings.TrimSpace(r.Question) == "" {
			return nil, fmt.Errorf("%w: question %d is empty", ErrPrompt, i+1)
		}
	}
	return firsts(p.Generate(ctx, requests, opts...))
}

// first returns the only text of a batch of one.
func first(texts []*Text, err error) (*Text, error) {
	if err != nil {
		return nil, err
	}
	return texts[0], nil
}

// firsts returns the best text of each request.
func firsts(texts [][]*Text, err error) ([]*Text, error) {
	if err != nil {
		return nil, err
	}
	best := make([]*Text, len(texts))
	for i, t := range texts {
		best[i] = t[0]
	}
	return best, nil
}

// Generate writes NumReturnSequences texts for each request, the best first.
// Captions and answers may stand in one batch.
func (p *Pipeline) Generate(ctx context.Context, requests []Request, opts ...GenerateOption) (texts [][]*Text, err error) {
	if len(requests) == 0 {
		return nil, nil
	}
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	return p.generate(ctx, requests, opts, nil)
}

// generate does Generate's work. emit, where it is not nil, is told each token
// as soon as it is chosen, and ends the run by returning false.
func (p *Pipeline) generate(ctx context.Context, requests []Request, opts []GenerateOption, emit func(row int, t Token) bool) ([][]*Text, error) {
	if m, ok := p.model.(regionAnswerer); ok {
		return p.classifyAnswers(ctx, m, requests, opts)
	}
	model, ok := p.model.(generator)
	if !ok {
		return nil, p.unsupported("write text")
	}
	run := search{Generation: p.defaults, decode: p.decode}
	for _, opt := range opts {
		opt(&run.Generation)
	}
	if err := run.check(); err != nil {
		return nil, err
	}
	if err := p.limits.checkGeneration(&run.Generation, len(requests)); err != nil {
		return nil, err
	}
	if err := p.addBadWords(&run.Generation); err != nil {
		return nil, err
	}
	if err := p.checkTasks(requests); err != nil {
		return nil, err
	}
	prompts, pictures, err := p.prompts(requests)
	if err != nil {
		return nil, err
	}
	var stats Stats
	start := time.Now()
	pixels, which, err := p.pixels(ctx, pictures)
	if err != nil {
		return nil, err
	}
	stats.Preprocess = time.Since(start)
	start = time.Now()
	images, err := model.encode(ctx, pixels)
	if err != nil {
		return nil, err
	}
	stats.Encode = time.Since(start)
	start = time.Now()
	lm, err := model.begin(ctx, images, which, prompts)
	if err != nil {
		return nil, err
	}
	streams := make([]textStream, len(requests)*run.NumReturnSequences)
	run.emit = func(row int, id int64, logProb float64) bool {
		if stats.Tokens++; stats.Tokens == 1 {
			stats.FirstToken = time.Since(start)
		}
		if emit == nil {
			return true
		}
		return emit(row, Token{ID: id, LogProb: logProb, Text: streams[row].add(p, id)})
	}
	sequences, err := run.run(ctx, lm)
	if err != nil {
		return nil, err
	}
	stats.Generate = time.Since(start)
	texts := make([][]*Text, len(requests))
	for i, s := range sequences {
		t := p.text(s)
		t.Stats = stats
		texts[i/run.NumReturnSequences] = append(texts[i/run.NumReturnSequences], t)
	}
	return texts, nil
}

// classifyAnswers picks the best NumReturnSequences answers of a fixed list for
// each request. They have no tokens; LogProb is that of the answer.
func (p *Pipeline) classifyAnswers(ctx context.Context, m regionAnswerer, requests []Request, opts []GenerateOption) ([][]*Text, error) {
	g := p.defaults
	for _, opt := range opts {
		opt(&g)
	}
	if g.NumReturnSequences < 1 {
		return nil, fmt.Errorf("%w: num_return_sequences must be 1 or more", ErrOption)
	}
	if err := checkLimit("rows of the batch", len(requests), p.limits.Batch); err != nil {
		return nil, err
	}
	questions, _, err := p.prompts(requests)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	if requests, err = p.withRegions(ctx, requests); err != nil {
		return nil, err
	}
	regions := make([]*Regions, len(requests))
	for i, r := range requests {
		regions[i] = r.Regions
	}
	stats := Stats{Encode: time.Since(start)}
	start = time.Now()
	logits, err := m.answer(ctx, regions, questions)
	if err != nil {
		return nil, err
	}
	stats.Generate = time.Since(start)
	texts := make([][]*Text, len(requests))
	for i := range requests {
		logs := logSoftmax(rowOf(logits, i))
		order := orderBy(logs, func(a, b int) int { return descending(logs[a], logs[b]) })
		for _, answer := range order[:min(g.NumReturnSequences, len(order))] {
			logProb := float64(logs[answer])
			texts[i] = append(texts[i], &Text{Text: m.label(answer), LogProb: logProb, Score: logProb, Stats: stats})
		}
	}
	return texts, nil
}

// prompts is the text of each request as the model was trained to read it, and
// the pictures in it.
func (p *Pipeline) prompts(requests []Request) (prompts []string, pictures [][]image.Image, err error) {
	composer, composes := p.model.(composer)
	for i, r := range requests {
		if !composes && (len(r.Shots) > 0 || len(r.Parts) > 0) {
			return nil, nil, p.unsupported("read examples or several pictures")
		}
		parts := r.Parts
		if len(parts) == 0 {
			for _, shot := range r.Shots {
				text, err := p.prompt(Request{Question: cmp.Or(shot.Question, r.Question)})
				if err != nil {
					return nil, nil, err
				}
				parts = append(parts, Part{Image: shot.Image}, Part{Text: text + " " + shot.Text + composer.end()})
			}
			text, err := p.prompt(r)
			if err != nil {
				return nil, nil, err
			}
			if r.Image != nil {
				parts = append(parts, Part{Image: r.Image})
			} else if _, sees := p.model.(regionAnswerer); !sees && !composes {
				return nil, nil, fmt.Errorf("%w: request %d has no picture", ErrImage, i+1)
			}
			parts = append(parts, Part{Text: text})
		}
		var images []image.Image
		for _, part := range parts {
			if part.Image != nil {
				images = append(images, part.Image)
			}
		}
		pictures = append(pictures, images)
		if composes {
			prompts = append(prompts, composer.compose(parts))
		} else {
			prompts = append(prompts, parts[len(parts)-1].Text)
		}
	}
	return prompts, pictures, nil
}

// checkTasks refuses to make up a caption where the model was not made to.
func (p *Pipeline) checkTasks(requests []Request) error {
	tasks := p.bundle.Tasks
	if len(tasks) == 0 || slices.Contains(tasks, "caption") {
		return nil
	}
	for _, r := range requests {
		text := r.Prompt + strings.TrimSpace(r.Question)
		for _, part := range r.Parts {
			text += part.Text
		}
		if text == "" && len(r.Shots) == 0 {
			instead := "ask it something"
			if _, composes := p.model.(composer); composes {
				instead += ", or show it examples"
			}
			return fmt.Errorf("%w: model %s describes no picture by itself: %s; it was made for: %s", ErrUnsupported, p.bundle.Name, instead, strings.Join(tasks, ", "))
		}
	}
	return nil
}

// prompt is the text of a request without its pictures.
func (p *Pipeline) prompt(r Request) (string, error) {
	if r.Prompt != "" {
		return r.Prompt, nil
	}
	task, text := "answer", strings.TrimSpace(r.Question)
	if text == "" {
		task = "caption"
	}
	template, ok := p.bundle.Prompts[task]
	if !ok {
		return "", fmt.Errorf("%w: model %s has no prompt for the task %q", ErrUnsupported, p.bundle.Name, task)
	}
	return strings.Replace(template, "{}", text, 1), nil
}

// pixels preprocesses the pictures of the requests, each once. Those of request
// i are rows which[i] of the pixels [N,3,H,W].
func (p *Pipeline) pixels(ctx context.Context, pictures [][]image.Image) (pixels *tensor.Tensor, which [][]int, err error) {
	var distinct []image.Image
	for _, images := range pictures {
		rows := make([]int, len(images))
		for j, img := range images {
			at := slices.IndexFunc(distinct, func(other image.Image) bool { return sameImage(img, other) })
			if at < 0 {
				at = len(distinct)
				distinct = append(distinct, img)
			}
			rows[j] = at
		}
		which = append(which, rows)
	}
	if len(distinct) == 0 {
		return nil, nil, fmt.Errorf("%w: no picture in any request", ErrImage)
	}
	pixels, err = p.preprocess(ctx, distinct...)
	return pixels, which, err
}

// addBadWords turns words into the ids they are written with, at the beginning of
// a text and behind a space.
func (p *Pipeline) addBadWords(g *Generation) error {
	for _, word := range g.BadWords {
		for _, text := range []string{word, " " + word} {
			encoding, err := p.tokenizer.Encode(text, tokenize.WithoutSpecialTokens())
			if err != nil {
				return fmt.Errorf("%w: bad word %q: %w", ErrOption, word, err)
			}
			if len(encoding.IDs) > 0 {
				g.BadWordsIDs = append(g.BadWordsIDs[:len(g.BadWordsIDs):len(g.BadWordsIDs)], encoding.IDs)
			}
		}
	}
	return nil
}

// text turns generated ids into what the user reads.
func (p *Pipeline) text(s sequence) *Text {
	t := &Text{Text: strings.TrimSpace(p.decode(s.ids)), Tokens: make([]Token, len(s.ids)), Score: s.score}
	var stream textStream
	for i, id := range s.ids {
		t.Tokens[i] = Token{ID: id, Text: stream.add(p, id), LogProb: s.logProbs[i]}
		t.LogProb += s.logProbs[i]
	}
	return t
}

// decode writes ids as text, without special tokens.
func (p *Pipeline) decode(ids []int64) string { return p.tokenizer.Decode(ids, true) }
