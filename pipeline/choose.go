package pipeline

import (
	"context"
	"fmt"
	"image"
	"math"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/tokenize"
)

// Choice is one of several answers with its scores.
type Choice struct {
	Text string
	// LogProb is the natural logarithm of the probability that the model writes
	// exactly this text and ends.
	LogProb float64
	// Probability is LogProb's share among the choices given.
	Probability float64
	// Calibrated is Probability after the model's bias is taken out: what it
	// would say of a picture that shows nothing (a grey one) is divided off
	// (contextual calibration, Zhao et al., 2102.09690).
	Calibrated float64
}

// Choose compares the answers to a request by their probabilities under the
// model, in the order given: multiple choice, or yes and no. The request's
// picture is encoded once for all of them.
func (p *Pipeline) Choose(ctx context.Context, request Request, choices ...string) (scored []Choice, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	model, ok := p.model.(generator)
	if !ok {
		return nil, p.unsupported("compare answers of its own writing")
	}
	if len(choices) < 2 {
		return nil, fmt.Errorf("%w: there is nothing to choose with fewer than two answers", ErrPrompt)
	}
	if err := checkTexts(choices); err != nil {
		return nil, err
	}
	if err := checkLimit("choices", len(choices), p.limits.Batch); err != nil {
		return nil, err
	}
	scored = make([]Choice, len(choices))
	logProbs, err := p.choiceLogProbs(ctx, model, request, choices)
	if err != nil {
		return nil, err
	}
	blank, err := p.choiceLogProbs(ctx, model, withoutContent(request), choices)
	if err != nil {
		return nil, err
	}
	logits, calibrated := make([]float32, len(choices)), make([]float32, len(choices))
	for i := range choices {
		logits[i] = float32(logProbs[i])
		calibrated[i] = float32(logProbs[i] - blank[i])
	}
	probs, fair := softmax(logits), softmax(calibrated)
	for i, text := range choices {
		scored[i] = Choice{text, logProbs[i], probs[i], fair[i]}
	}
	return scored, nil
}

// withoutContent is the request about a picture that shows nothing.
func withoutContent(r Request) Request {
	blank := func(img image.Image) image.Image {
		if img == nil {
			return nil
		}
		canvas := image.NewRGBA(image.Rect(0, 0, max(1, img.Bounds().Dx()), max(1, img.Bounds().Dy())))
		for i := range canvas.Pix {
			canvas.Pix[i] = 128
			if i%4 == 3 {
				canvas.Pix[i] = 255
			}
		}
		return canvas
	}
	r.Image = blank(r.Image)
	r.Parts = slices.Clone(r.Parts)
	for i := range r.Parts {
		r.Parts[i].Image = blank(r.Parts[i].Image)
	}
	return r
}

// choiceLogProbs returns the log-probability of each choice as the whole text.
func (p *Pipeline) choiceLogProbs(ctx context.Context, model generator, request Request, choices []string) ([]float64, error) {
	lm, texts, err := p.beginGiven(ctx, model, request, choices)
	if err != nil {
		return nil, err
	}
	return forced(ctx, lm, texts, p.defaults.EOS)
}

// beginGiven starts the request's sequence and returns the ids of texts that are
// to be forced on it, each of which the model's positions have room for.
func (p *Pipeline) beginGiven(ctx context.Context, model generator, request Request, texts []string) (languageModel, [][]int64, error) {
	prompts, pictures, err := p.prompts([]Request{request})
	if err != nil {
		return nil, nil, err
	}
	pixels, which, err := p.pixels(ctx, pictures)
	if err != nil {
		return nil, nil, err
	}
	images, err := model.encode(ctx, pixels)
	if err != nil {
		return nil, nil, err
	}
	lm, err := model.begin(ctx, images, which, prompts)
	if err != nil {
		return nil, nil, err
	}
	ids := make([][]int64, len(texts))
	for i, text := range texts {
		if ids[i], err = p.choiceIDs(prompts[0], text, model.startsAfresh()); err != nil {
			return nil, nil, err
		}
		if len(ids[i]) > lm.room() {
			return nil, nil, fmt.Errorf("%w: %q is longer than the model's positions allow", ErrPrompt, text)
		}
	}
	return lm, ids, nil
}

// choiceIDs are the ids that a model which goes on from the prompt would write
// for a choice. A decoder that starts afresh writes the choice alone.
func (p *Pipeline) choiceIDs(prompt, choice string, fresh bool) ([]int64, error) {
	prompt, choice = strings.TrimRight(prompt, " "), strings.TrimSpace(choice)
	if fresh {
		prompt = ""
	} else if prompt != "" {
		choice = " " + choice
	}
	if err := p.limits.checkText(prompt + choice); err != nil {
		return nil, err
	}
	before, err := p.tokenizer.Encode(prompt, tokenize.WithoutSpecialTokens())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPrompt, err)
	}
	whole, err := p.tokenizer.Encode(prompt+choice, tokenize.WithoutSpecialTokens())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPrompt, err)
	}
	n := len(before.IDs)
	if len(whole.IDs) <= n || !slices.Equal(whole.IDs[:n], before.IDs) {
		return nil, fmt.Errorf("%w: the tokenizer does not write %q behind the prompt as a text of its own", ErrPrompt, choice)
	}
	return whole.IDs[n:], nil
}

// forced returns the log-probability of each text, its end included, as the
// continuation of lm's only prompt.
func forced(ctx context.Context, lm languageModel, texts [][]int64, eos []int64) ([]float64, error) {
	logits, err := lm.prefill(ctx)
	if err != nil {
		return nil, err
	}
	totals := make([]float64, len(texts))
	active := make([]int, len(texts)) // texts that go on
	from := make([]int, len(texts))   // the row of logits of each
	for i := range active {
		active[i] = i
	}
	for n := 0; len(active) > 0; n++ {
		var going, keep []int
		var next []int64
		for i, text := range active {
			logs := logSoftmax(rowOf(logits, from[i]))
			if n == len(texts[text]) {
				totals[text] += logSumOf(logs, eos)
				continue
			}
			id := texts[text][n]
			if id >= int64(len(logs)) {
				return nil, fmt.Errorf("%w: the tokenizer has an id %d, the decoder gives logits for %d", ErrBundle, id, len(logs))
			}
			totals[text] += float64(logs[id])
			going, keep, next = append(going, text), append(keep, from[i]), append(next, id)
		}
		if active = going; len(active) == 0 {
			break
		}
		if err := lm.reorder(keep); err != nil {
			return nil, err
		}
		if logits, err = lm.step(ctx, next); err != nil {
			return nil, err
		}
		from = from[:len(active)]
		for i := range from {
			from[i] = i
		}
	}
	return totals, nil
}

// logSumOf is the logarithm of the summed probability of the ids; 0, certainty,
// where a model has no end.
func logSumOf(logs []float32, ids []int64) float64 {
	if len(ids) == 0 {
		return 0
	}
	sum := 0.0
	for _, id := range ids {
		if id < 0 || id >= int64(len(logs)) {
			continue
		}
		sum += math.Exp(float64(logs[id]))
	}
	return math.Log(sum)
}
