package speech

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// written is the text of a window.
type written struct {
	logProbs                                []float64 // of ids
	ids                                     []int64
	temperature, logProb, repeats, noSpeech float64
}

// hear runs the encoder over the features of a window, and returns what texts about it begin with.
func (r *run) hear(ctx context.Context, window *tensor.Tensor) (family.Begin, error) {
	states, err := r.Model.Encode(ctx, media.Prepared{
		Tensors: map[string]*tensor.Tensor{features: window}, Rows: [][2]int{{0, 1}},
	})
	if err != nil {
		return nil, err
	}
	begin, err := r.Model.Hear(ctx, states...)
	if err != nil {
		return nil, err
	}
	return begin, r.detect(ctx, begin)
}

// detect finds out the language of a window, where it is not known: the likeliest of the model's behind
// Start. openai-whisper pads the window with silence for this, and not with zeros as for its text.
func (r *run) detect(ctx context.Context, begin family.Begin) error {
	if r.lead != nil {
		return nil
	}
	sequence, err := begin(ctx, [][]int64{{r.tokens.Start}})
	if err != nil {
		return err
	}
	logits, err := sequence.Prefill(ctx)
	if err != nil {
		return err
	}
	row := graph.Row(logits, 0)
	score := func(code string) float32 {
		if id := r.tokens.Languages[code]; id >= 0 && id < int64(len(row)) {
			return row[id]
		}
		return float32(minusInf)
	}
	codes := r.tokens.Codes()
	r.Language = slices.MaxFunc(codes, func(a, b string) int { return cmp.Compare(score(a), score(b)) })
	r.setLead(r.tokens.Languages[r.Language])
	return nil
}

// write writes a window's text, at one temperature after the other until one is good enough.
func (r *run) write(ctx context.Context, begin family.Begin, temperatures []float64) (best written, err error) {
	for _, t := range temperatures {
		if best, err = r.try(ctx, begin, t); err != nil || r.fits(best) {
			break
		}
	}
	return best, err
}

// fits reports whether a text is good enough, or none is to be written.
func (r *run) fits(w written) bool {
	if w.logProb < r.LeastLogProb {
		return w.noSpeech > r.NoSpeech
	}
	return !r.loops(w)
}

// loops reports whether a text repeats itself.
func (r *run) loops(w written) bool { return w.repeats > r.MostRepeats }

// silent reports whether a text is none: where there is likely no speech, and the text is unlikely.
func (r *run) silent(w written) bool {
	return w.noSpeech > r.NoSpeech && !(w.logProb > r.LeastLogProb)
}

// prompt returns what a window's text is written behind: the text before the window, and Start.
func (r *run) prompt() []int64 {
	before := r.history[r.fresh:]
	if r.Batched > 0 {
		before = r.history[:r.given]
	}
	// Half of the positions are the text's, as openai-whisper has it.
	if most := r.tokens.Positions/2 - 1; len(before) > most {
		before = before[len(before)-most:]
	}
	var ids []int64
	if len(before) > 0 && r.tokens.Previous >= 0 {
		ids = append([]int64{r.tokens.Previous}, before...)
	}
	return append(ids, r.tokens.Start)
}

func (r *run) writeAt(ctx context.Context, begin family.Begin, temperature float64) (written, error) {
	all, err := r.writeAll(ctx, begin, 1, temperature)
	if err != nil {
		return written{}, err
	}
	return all[0], nil
}

// writeAll writes the texts of so many windows at once, at one temperature.
func (r *run) writeAll(ctx context.Context, begin family.Begin, windows int, temperature float64) ([]written, error) {
	sequences, err := begin(ctx, slices.Repeat([][]int64{r.prompt()}, windows))
	if err != nil {
		return nil, err
	}
	batch := &begun{Sequences: sequences, rest: r.lead, noSpeech: r.tokens.NoSpeech}
	all, err := r.search(ctx, batch, r.decoding(temperature))
	if err != nil {
		return nil, err
	}
	for i := range all {
		all[i].temperature, all[i].noSpeech = temperature, batch.silence[i]
	}
	return all, nil
}

// search writes a text behind each prompt of a batch: the likeliest, where several are drawn.
func (r *run) search(ctx context.Context, batch decode.Sequences, o decode.Options) ([]written, error) {
	search := decode.Search{Options: o, Tokenizer: r.Texts.Tokenizer}
	found, err := search.Run(ctx, batch)
	if err != nil {
		return nil, err
	}
	var all []written
	for drawn := range slices.Chunk(found, o.NumReturnSequences) {
		best := slices.MaxFunc(drawn, func(a, b decode.Sequence) int {
			return cmp.Compare(a.Allowed/float64(len(a.IDs)), b.Allowed/float64(len(b.IDs)))
		})
		all = append(all, judge(best, o.NumBeams, r.text(best.IDs)))
	}
	return all, nil
}

// judge says how good a text is that was found with so many beams.
func judge(s decode.Sequence, beams int, text string) written {
	w := written{ids: s.IDs, logProbs: s.LogProbs, logProb: s.Allowed / float64(len(s.IDs)+1)}
	if beams > 1 {
		w.logProb = s.Score
	}
	w.repeats = repeats(strings.TrimSpace(text))
	return w
}

// decoding returns the parameters of a text at a temperature.
func (r *run) decoding(temperature float64) decode.Options {
	o := r.Decoding
	o.MaxNewTokens, o.MaxLength = cmp.Or(r.MaxNewTokens, r.tokens.Positions/2), 0
	o.NumBeams, o.NumReturnSequences, o.DoSample = r.NumBeams, 1, false
	o.EOS, o.ForcedBOS, o.ForcedEOS = []int64{r.tokens.End}, nil, nil
	o.SuppressTokens, o.BeginSuppressTokens = r.tokens.Suppressed, r.tokens.BeginSuppressed
	if !r.WithoutTimes {
		o.Times = &decode.Times{
			First: r.tokens.FirstTime, End: r.tokens.End, None: r.tokens.NoTimes, MostAtFirst: latestBegin,
		}
	}
	if temperature > 0 {
		o.NumBeams, o.NumReturnSequences, o.DoSample = 1, r.BestOf, true
		o.Temperature, o.TopK, o.TopP, o.MinP, o.TypicalP = temperature, 0, 1, 0, 1
		o.Seed = r.Seed + uint64(r.windows)
	}
	return o
}

// latestBegin is the latest time, in steps of 0.02 s, at which the first piece of a window may begin:
// max_initial_timestamp of openai-whisper's decoding.py.
const latestBegin = 50

// begun is a batch of prompts that end with Start. It reads what stands behind that in all of them, and
// notes how likely there is no speech.
type begun struct {
	decode.Sequences
	rest     []int64
	noSpeech int64
	silence  []float64 // the probability of noSpeech behind Start, of each prompt
}

func (b *begun) Prefill(ctx context.Context) (*tensor.Tensor, error) {
	logits, err := b.Sequences.Prefill(ctx)
	if err != nil {
		return nil, err
	}
	rows := logits.Dim(0)
	for i := range rows {
		row := graph.Row(logits, i)
		if b.noSpeech < 0 || b.noSpeech >= int64(len(row)) {
			return nil, fmt.Errorf("%w: the id of <|nospeech|> is %d, and the decoder gives logits for %d",
				graph.ErrBundle, b.noSpeech, len(row))
		}
		b.silence = append(b.silence, decode.Probability(row, b.noSpeech))
	}
	for _, id := range b.rest {
		if logits, err = b.Step(ctx, slices.Repeat([]int64{id}, rows)); err != nil {
			return nil, err
		}
	}
	return logits, nil
}

func (b *begun) Prompts() [][]int64 {
	prompts := b.Sequences.Prompts()
	whole := make([][]int64, len(prompts))
	for i, p := range prompts {
		whole[i] = slices.Concat(p, b.rest)
	}
	return whole
}

func (b *begun) Room() int { return b.Sequences.Room() - len(b.rest) }
