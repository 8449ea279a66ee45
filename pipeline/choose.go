package pipeline

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tokenize"
)

// Choice is one of several answers with its scores.
type Choice struct {
	Text string `json:"choice"`
	// LogProb is the natural logarithm of the probability that the model writes exactly this text
	// and ends.
	LogProb float64 `json:"logprob"`
	// Probability is LogProb's share among the choices given.
	Probability float64 `json:"probability"`
	// Calibrated is Probability without what the model would say unseen: each probability is divided
	// by that for a grey picture in place of the request's last one, and all are scaled to a sum of
	// 1 (contextual calibration, Zhao et al., 2102.09690). Without a picture it is Probability.
	Calibrated float64 `json:"calibrated"`
}

// Choose scores given answers to a request by their probabilities under the model: multiple choice,
// or yes and no. The result has the order of choices. The picture is encoded once for all of them.
// Fewer than two choices, or an empty one, give ErrPrompt.
func (p *Pipeline) Choose(
	ctx context.Context, request Request, choices ...string,
) ([]Choice, error) {
	return one(p.ChooseBatch(ctx, []Request{request}, choices...))
}

// ChooseBatch is Choose for several requests with the same answers. A picture that several of them
// share is encoded once, and so is the grey one beside it. Requests that the model cannot take give
// nil, and an ItemError each.
func (p *Pipeline) ChooseBatch(
	ctx context.Context, requests []Request, choices ...string,
) (scored [][]Choice, err error) {
	ctx, leave, err := p.enter(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { leave(&err) }()
	model, ok := p.model.(family.Writer)
	if !ok {
		return nil, p.unsupported("compare answers of its own writing")
	}
	if len(choices) < 2 {
		return nil, fmt.Errorf("%w: there is nothing to choose with fewer than two answers",
			ErrPrompt)
	}
	if err := checkTexts(choices); err != nil {
		return nil, err
	}
	if err := graph.CheckLimit("Batch", "choices", len(choices), p.limits.Batch); err != nil {
		return nil, err
	}
	prompts := make([]prompt, len(requests))
	check := func(i int) error {
		one, err := p.prompts(requests[i : i+1])
		if err != nil {
			return err
		}
		if prompts[i] = one[0]; len(one[0].items) == 0 {
			return fmt.Errorf("%w: there is no picture", ErrImage)
		}
		return nil
	}
	return inBatch("request", len(requests), check, func(at []int) ([][]Choice, error) {
		some := pick(prompts, at)
		encoded, err := p.encode(ctx, model, itemsOf(some), new(Stats))
		if err != nil {
			return nil, err
		}
		scored := make([][]Choice, len(some))
		for i, q := range some {
			if scored[i], err = p.choose(ctx, model, q, encoded[i], choices); err != nil {
				return nil, err
			}
		}
		return scored, nil
	})
}

// choose scores the choices for one prompt whose items are encoded.
func (p *Pipeline) choose(
	ctx context.Context, model family.Writer, q prompt, encoded []*Encoded, choices []string,
) ([]Choice, error) {
	logProbs, err := p.choiceLogProbs(ctx, model, q, encoded, choices)
	if err != nil {
		return nil, err
	}
	bias := make([]float64, len(choices))
	last := len(encoded) - 1
	for last >= 0 && encoded[last].kind == media.Sounds {
		last--
	}
	if last >= 0 {
		blank := slices.Clone(encoded)
		if blank[last], err = p.withoutContent(ctx, model, blank[last]); err != nil {
			return nil, err
		}
		if bias, err = p.choiceLogProbs(ctx, model, q, blank, choices); err != nil {
			return nil, err
		}
	}
	logits, calibrated := make([]float32, len(choices)), make([]float32, len(choices))
	for i := range choices {
		logits[i] = float32(logProbs[i])
		calibrated[i] = float32(logProbs[i] - bias[i])
	}
	probs, fair := decode.Softmax(logits), decode.Softmax(calibrated)
	scored := make([]Choice, len(choices))
	for i, text := range choices {
		scored[i] = Choice{text, logProbs[i], probs[i], fair[i]}
	}
	return scored, nil
}

// choiceLogProbs returns the log-probability of each choice as the whole text.
func (p *Pipeline) choiceLogProbs(
	ctx context.Context, model family.Writer, q prompt, encoded []*Encoded, choices []string,
) ([]float64, error) {
	batch, texts, err := p.beginGiven(ctx, model, q, encoded, choices)
	if err != nil {
		return nil, err
	}
	return decode.Forced(ctx, batch, texts, p.defaults.EOS)
}

// beginGiven starts a prompt's sequence and returns the ids of the texts to force on it. A text
// that does not fit the model's positions is an error.
func (p *Pipeline) beginGiven(
	ctx context.Context, model family.Writer, q prompt, encoded []*Encoded, texts []string,
) (decode.Sequences, [][]int64, error) {
	segments, err := model.Compose(q.parts, states(encoded))
	if err != nil {
		return nil, nil, err
	}
	batch, err := model.Begin(ctx, [][]family.Segment{segments})
	if err != nil {
		return nil, nil, err
	}
	before := ""
	if !model.StartsAfresh() {
		for _, s := range segments {
			before += s.Text
		}
	}
	ids, err := p.idsBehind(before, texts)
	if err != nil {
		return nil, nil, err
	}
	for i, text := range texts {
		if len(ids[i]) > batch.Room() {
			return nil, nil, fmt.Errorf("%w: %q is longer than the model's positions allow",
				ErrPrompt, text)
		}
	}
	return batch, ids, nil
}

// idsBehind returns the ids that the model would write for each text behind the prompt. The prompt
// is "" for a decoder that starts afresh and writes the text alone.
func (p *Pipeline) idsBehind(prompt string, texts []string) ([][]int64, error) {
	prompt = strings.TrimRight(prompt, " ")
	encode := func(text string) ([]int64, error) {
		if err := p.texts.Check(text); err != nil {
			return nil, err
		}
		encoding, err := p.texts.Encode(text, tokenize.WithoutSpecialTokens())
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrPrompt, err)
		}
		return encoding.IDs, nil
	}
	before, err := encode(prompt)
	if err != nil {
		return nil, err
	}
	ids := make([][]int64, len(texts))
	for i, text := range texts {
		// A chat template ends the line before the answer.
		if text = strings.TrimSpace(text); prompt != "" && !strings.HasSuffix(prompt, "\n") {
			text = " " + text
		}
		whole, err := encode(prompt + text)
		if err != nil {
			return nil, err
		}
		n := len(before)
		if len(whole) <= n || !slices.Equal(whole[:n], before) {
			return nil, fmt.Errorf(
				"%w: the tokenizer does not write %q behind the prompt as a text of its own",
				ErrPrompt, text)
		}
		ids[i] = whole[n:]
	}
	return ids, nil
}
