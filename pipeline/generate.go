package pipeline

import (
	"context"
	"fmt"
	"image"
	"slices"
	"strings"
	"time"

	"github.com/crossattn/xpipe/pipeline/attend"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/grammar"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
	"github.com/crossattn/xpipe/tokenize"
)

// The texts that a model writes, and the parameters of decoding; package decode defines them.
type (
	// Text is a text that the model wrote, with its tokens and scores.
	Text = decode.Text
	// TextJSON is a Text in JSON.
	TextJSON = decode.TextJSON
	// Token is one generated token.
	Token = decode.Token
	// Stats divides the time of a call by stages.
	Stats = decode.Stats
	// Generation holds the parameters of decoding. A GenerateOption changes them for one call.
	Generation = decode.Options
	// GenerateOption changes the parameters of one call: WithNumBeams(5) and the like or, for those
	// without such a function,
	//
	//	func(g *pipeline.Generation) { g.NumBeams, g.LengthPenalty = 5, 0 }
	GenerateOption = func(*Generation)
	// EarlyStopping says when beam search ends.
	EarlyStopping = decode.EarlyStopping
)

// The values of EarlyStopping.
const (
	StopHeuristic = decode.StopHeuristic
	StopFirst     = decode.StopFirst
	StopNever     = decode.StopNever
)

// WithMaxNewTokens bounds the length of a text, in tokens.
func WithMaxNewTokens(n int) GenerateOption {
	return func(g *Generation) { g.MaxNewTokens, g.MaxLength = n, 0 }
}

// WithNumBeams searches with n beams.
func WithNumBeams(n int) GenerateOption { return func(g *Generation) { g.NumBeams = n } }

// WithSampling draws tokens by their probability at a temperature: 1 is the model's own, lower is
// more careful. The same seed gives the same text.
func WithSampling(temperature float64, seed uint64) GenerateOption {
	return func(g *Generation) { g.DoSample, g.Temperature, g.Seed = true, temperature, seed }
}

// WithGrammar holds the text to a shape, token by token: that of a JSON Schema (grammar.Schema), or any
// JSON (grammar.JSON).
func WithGrammar(shape *grammar.Grammar) GenerateOption {
	return func(g *Generation) { g.Grammar = shape }
}

// WithNumReturnSequences has Generate write n texts for each request: with sampling, or as many as
// there are beams.
func WithNumReturnSequences(n int) GenerateOption {
	return func(g *Generation) { g.NumReturnSequences = n }
}

// Generation returns the bundle's parameters of decoding, which GenerateOptions change.
func (p *Pipeline) Generation() Generation {
	g := p.defaults
	g.EOS, g.StopStrings = slices.Clone(g.EOS), slices.Clone(g.StopStrings)
	g.BadWords, g.BadWordsIDs = slices.Clone(g.BadWords), slices.Clone(g.BadWordsIDs)
	return g
}

// Caption describes the picture in a few words.
func (p *Pipeline) Caption(
	ctx context.Context, img image.Image, opts ...GenerateOption,
) (*Text, error) {
	return one(p.CaptionBatch(ctx, []image.Image{img}, opts...))
}

// CaptionBatch describes several pictures at once. The captions are those that Caption gives one
// by one. Pictures that cannot be used give nil, and an ItemError each.
func (p *Pipeline) CaptionBatch(
	ctx context.Context, imgs []image.Image, opts ...GenerateOption,
) ([]*Text, error) {
	requests := make([]Request, len(imgs))
	for i, img := range imgs {
		requests[i].Image = img
	}
	return firsts(p.generateEach(ctx, "picture", requests, opts, nil))
}

// Answer answers a question about the picture. A question of nothing but white space is an error
// that wraps ErrPrompt.
func (p *Pipeline) Answer(
	ctx context.Context, img image.Image, question string, opts ...GenerateOption,
) (*Text, error) {
	return one(p.AnswerBatch(ctx, []Request{{Image: img, Question: question}}, opts...))
}

// AnswerBatch answers several questions at once. The answers are those that Answer gives one by
// one. A picture that several requests share is encoded once. Requests that cannot be answered give
// nil, and an ItemError each.
func (p *Pipeline) AnswerBatch(
	ctx context.Context, requests []Request, opts ...GenerateOption,
) ([]*Text, error) {
	return firsts(p.generateEach(ctx, "question", requests, opts, func(i int) error {
		if strings.TrimSpace(requests[i].Question) == "" {
			return fmt.Errorf("%w: it is empty", ErrPrompt)
		}
		return nil
	}))
}

// AnswerShots answers a question about the picture in the manner of examples: few-shot learning,
// for models of Flamingo's kind. The question may be "" where the examples are captions.
func (p *Pipeline) AnswerShots(
	ctx context.Context, img image.Image, question string, shots []Shot, opts ...GenerateOption,
) (*Text, error) {
	request := Request{Image: img, Question: question, Shots: shots}
	return one(firsts(p.Generate(ctx, []Request{request}, opts...)))
}

// firsts returns the best text of each request; nil for one that failed.
func firsts(texts [][]*Text, err error) ([]*Text, error) {
	if texts == nil {
		return nil, err
	}
	best := make([]*Text, len(texts))
	for i, t := range texts {
		if len(t) > 0 {
			best[i] = t[0]
		}
	}
	return best, err
}

// Generate writes NumReturnSequences texts for each request; beam search gives the best first. One
// batch may hold captions and answers. Parameters out of range give ErrOption, tasks that the model
// cannot do ErrUnsupported. Requests that the model cannot take give nil, and an ItemError each
// that wraps ErrPrompt, ErrImage, ErrRegions or ErrLimit.
func (p *Pipeline) Generate(
	ctx context.Context, requests []Request, opts ...GenerateOption,
) ([][]*Text, error) {
	return p.generateEach(ctx, "request", requests, opts, nil)
}

// generateEach does Generate's work. what names a request in errors; check, if not nil, refuses
// requests.
func (p *Pipeline) generateEach(
	ctx context.Context, what string, requests []Request, opts []GenerateOption,
	check func(i int) error,
) (texts [][]*Text, err error) {
	if len(requests) == 0 {
		return nil, nil
	}
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	g, err := p.generation(opts, len(requests))
	if err != nil {
		return nil, err
	}
	checkAll := func(i int) error {
		if check != nil {
			if err := check(i); err != nil {
				return err
			}
		}
		_, err := p.prompts(requests[i : i+1])
		return err
	}
	return inBatch(what, len(requests), checkAll, func(at []int) ([][]*Text, error) {
		return p.generate(ctx, pick(requests, at), g, nil, nil)
	})
}

// generate writes the texts of requests with the parameters g. It calls emit, where that is not
// nil, with each token as soon as it is chosen; emit ends the run by returning false. memory, where that is
// not nil, holds what an earlier run has read of the only request.
func (p *Pipeline) generate(
	ctx context.Context, requests []Request, g Generation, emit func(row int, t Token) bool,
	memory *decode.Memory,
) ([][]*Text, error) {
	if p.picks() {
		return p.classifyAnswers(ctx, requests, g)
	}
	model, ok := p.model.(family.Writer)
	if !ok {
		return nil, p.unsupported("write text")
	}
	if err := p.checkTasks(requests); err != nil {
		return nil, err
	}
	run := &decode.Search{
		Options: g, Tokenizer: p.texts.Tokenizer, MostTokens: p.limits.OutputTokens,
		Vocabulary: p.vocabulary,
	}
	prompts, err := p.prompts(requests)
	if err != nil {
		return nil, err
	}
	var stats Stats
	segments, err := p.compose(ctx, model, prompts, &stats)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	batch, err := model.Begin(ctx, segments)
	if err != nil {
		return nil, err
	}
	if memory != nil {
		if err := memory.Recall(batch); err != nil {
			return nil, err
		}
		defer memory.Keep(batch)
	}
	texts := p.newTexts(len(requests) * run.NumReturnSequences)
	stopped := false // by emit
	run.Emit = func(row int, c decode.Chosen) bool {
		if stats.Tokens++; stats.Tokens == 1 {
			stats.FirstToken = time.Since(start)
		}
		w := &texts[row]
		if emit == nil {
			w.add(c)
			return true
		}
		if w.waiting && !emit(row, w.latest()) {
			stopped = true
			return false
		}
		token := w.add(c)
		// What the tokenizer holds back belongs to this token, if it is the last.
		w.waiting = w.stream.Clone().Flush() != ""
		stopped = !w.waiting && !emit(row, token)
		return !stopped
	}
	sequences, err := p.decode(ctx, run, batch)
	if err != nil {
		return nil, err
	}
	stats.Generate = time.Since(start)
	grouped := make([][]*Text, len(requests))
	for i, s := range sequences {
		t, request := texts[i].end(&s), i/run.NumReturnSequences
		if texts[i].waiting && !stopped {
			stopped = !emit(i, texts[i].latest())
		}
		t.Stats, t.PromptTokens = stats, promptTokens(segments[request])
		if requests[request].asksForCaption() {
			t.Confidence = p.CaptionConfidence(t.Tokens)
		}
		grouped[request] = append(grouped[request], t)
	}
	return grouped, nil
}

// promptTokens counts what a composed prompt has the model read. Rows of items that stand behind the
// text have their places among its ids.
func promptTokens(segments []family.Segment) (n int) {
	for i, s := range segments {
		n += len(s.IDs)
		if i == 0 && s.Embeds != nil && s.Embeds.Rank() == 3 {
			n += s.Embeds.Dim(1)
		}
	}
	return n
}

// decode runs a search, in a batch with those of other calls where the Pipeline has a scheduler and
// nothing records what the runs attend to.
func (p *Pipeline) decode(
	ctx context.Context, run *decode.Search, batch decode.Sequences,
) ([]decode.Sequence, error) {
	if p.scheduler != nil && !attend.Watched(ctx) {
		return p.scheduler.Run(ctx, run, batch)
	}
	return run.Run(ctx, batch)
}

// generation returns the bundle's parameters of decoding, changed by opts, for some requests.
func (p *Pipeline) generation(opts []GenerateOption, requests int) (Generation, error) {
	g := p.defaults
	for _, opt := range opts {
		if opt != nil {
			opt(&g)
		}
	}
	if p.picks() {
		if g.NumReturnSequences < 1 {
			return g, fmt.Errorf("%w: num_return_sequences must be 1 or more", ErrOption)
		}
		return g, graph.CheckLimit("Batch", "rows of the batch", requests, p.limits.Batch)
	}
	if _, ok := p.model.(family.Writer); !ok {
		return g, p.unsupported("write text")
	}
	if err := g.Check(); err != nil {
		return g, err
	}
	if err := p.limits.checkGeneration(&g, requests); err != nil {
		return g, err
	}
	return g, p.addBadWords(&g)
}

// compose encodes the items of prompts and lays each out in segments.
func (p *Pipeline) compose(
	ctx context.Context, model family.Writer, prompts []prompt, stats *Stats,
) ([][]family.Segment, error) {
	encoded, err := p.encode(ctx, model, itemsOf(prompts), stats)
	if err != nil {
		return nil, err
	}
	segments := make([][]family.Segment, len(prompts))
	for i, q := range prompts {
		if segments[i], err = model.Compose(q.parts, states(encoded[i])); err != nil {
			return nil, err
		}
	}
	return segments, nil
}

// classifyAnswers picks the best NumReturnSequences answers of a fixed list for each request. They
// have no tokens; LogProb is that of the answer.
func (p *Pipeline) classifyAnswers(
	ctx context.Context, requests []Request, g Generation,
) ([][]*Text, error) {
	prompts, err := p.prompts(requests)
	if err != nil {
		return nil, err
	}
	questions := make([]string, len(prompts))
	for i, q := range prompts {
		questions[i] = q.text
	}
	read := make([]int, len(prompts)) // ids of each question, where the tokenizer alone says it
	for i, question := range questions {
		if ids, err := p.texts.Read(question); err == nil {
			read[i] = len(ids)
		}
	}
	var stats Stats
	logits, err := p.answerLogits(ctx, prompts, questions, &stats)
	if err != nil {
		return nil, err
	}
	m := p.model.(interface{ Label(answer int) string })
	texts := make([][]*Text, len(requests))
	for i := range requests {
		logs := decode.LogSoftmax(graph.Row(logits, i))
		best := func(a, b int) int { return decode.Descending(logs[a], logs[b]) }
		order := decode.OrderBy(logs, best)
		for _, answer := range order[:min(g.NumReturnSequences, len(order))] {
			text := &Text{Text: m.Label(answer), LogProb: float64(logs[answer]), Stats: stats, PromptTokens: read[i]}
			text.Score = text.LogProb
			texts[i] = append(texts[i], text)
		}
	}
	return texts, nil
}

// picks reports whether the model answers by picking one of a fixed list.
func (p *Pipeline) picks() bool {
	_, regions := p.model.(family.Answerer)
	_, pictures := p.model.(family.Picker)
	return regions || pictures
}

// answerLogits returns the logits [B,A] over the answers to questions about what prompts show.
func (p *Pipeline) answerLogits(
	ctx context.Context, prompts []prompt, questions []string, stats *Stats,
) (logits *tensor.Tensor, err error) {
	start := time.Now()
	if m, ok := p.model.(family.Answerer); ok {
		regions, err := p.regionsOf(ctx, prompts)
		if err != nil {
			return nil, err
		}
		stats.Encode = time.Since(start)
		start = time.Now()
		logits, err = m.Answer(ctx, regions, questions)
		stats.Generate = time.Since(start)
		return logits, err
	}
	items, at := distinct(itemsOf(prompts))
	which := make([]int, len(prompts))
	for i := range prompts {
		if len(at[i]) != 1 || at[i][0] < 0 {
			return nil, fmt.Errorf("%w: this model answers about one picture, as a picture or as Prepare gives it",
				ErrPrompt)
		}
		which[i] = at[i][0]
	}
	prepared, err := p.prepare(ctx, items)
	if err != nil {
		return nil, err
	}
	stats.Preprocess = time.Since(start)
	start = time.Now()
	logits, err = p.model.(family.Picker).Pick(ctx, prepared, which, questions)
	stats.Generate = time.Since(start)
	return logits, err
}

// addBadWords adds the ids of each bad word, as it is written at the beginning of a text and behind
// a space.
func (p *Pipeline) addBadWords(g *Generation) error {
	for _, word := range g.BadWords {
		for _, text := range []string{word, " " + word} {
			encoding, err := p.texts.Encode(text, tokenize.WithoutSpecialTokens())
			if err != nil {
				return fmt.Errorf("%w: bad word %q: %w", ErrOption, word, err)
			}
			if len(encoding.IDs) > 0 {
				g.BadWordsIDs = append(slices.Clip(g.BadWordsIDs), encoding.IDs)
			}
		}
	}
	return nil
}

// textWriter turns ids into text as they come.
type textWriter struct {
	stream    *tokenize.Stream
	unwritten []int64 // ids that are tokens of the text but not written
	text      Text
	whole     strings.Builder
	waiting   bool // whether the latest token is still to be given out
}

func (w *textWriter) latest() Token { return w.text.Tokens[len(w.text.Tokens)-1] }

func (p *Pipeline) newTexts(n int) []textWriter {
	writers := make([]textWriter, n)
	var unwritten []int64
	if m, ok := p.model.(family.Unwriter); ok {
		unwritten = m.Unwritten()
	}
	for i := range writers {
		writers[i].stream = p.texts.NewStream(!p.bundle.KeepSpecialTokens)
		writers[i].unwritten = unwritten
	}
	return writers
}

// add takes the next id and returns its Token.
func (w *textWriter) add(c decode.Chosen) Token {
	token := Token{ID: c.ID, LogProb: c.LogProb, Top: c.Top}
	for i := range token.Top {
		if id := token.Top[i].ID; !slices.Contains(w.unwritten, id) {
			stream := w.stream.Clone()
			token.Top[i].Text = stream.Push(id) + stream.Flush()
		}
	}
	if !slices.Contains(w.unwritten, c.ID) {
		token.Text = w.stream.Push(c.ID)
	}
	w.whole.WriteString(token.Text)
	w.text.Tokens = append(w.text.Tokens, token)
	w.text.LogProb += c.LogProb
	return token
}

// end returns the text of all ids of a sequence.
func (w *textWriter) end(s *decode.Sequence) *Text {
	rest := w.stream.Flush()
	w.whole.WriteString(rest)
	if n := len(w.text.Tokens); n > 0 {
		w.text.Tokens[n-1].Text += rest
	}
	w.text.Text, w.text.Score = strings.TrimSpace(w.whole.String()), s.Score
	w.text.IDs = slices.Clone(s.IDs)
	if s.End != nil {
		w.text.IDs = append(w.text.IDs, *s.End)
	}
	if w.text.Tokens == nil {
		w.text.Tokens = []Token{}
	}
	return &w.text
}
