package speech

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/graph"
)

// Pieces writes down what a model hears that has no windows and tells no times: a segment for each
// stretch of a sound in which somebody speaks. It is safe for concurrent use.
type Pieces struct {
	Model    family.PieceHearer
	Texts    family.Texts
	Waves    *audio.Waves
	Decoding decode.Options // the model's own
	Turn     Turn           // of a piece's work
	Voice    *VoiceModel    // finds where somebody speaks; nil: audio.Voice does
}

// Transcribe writes down what is said in a sound; how loud it is counts for nothing. Pieces end where
// nothing is said for 2 s or where they are as long as the model hears, and with Live in each pause.
// Errors wrap graph.ErrOption, graph.ErrUnsupported, of options that mean nothing to such a model, or
// audio.ErrSound, or are those of the graphs and of sound.
func (p *Pieces) Transcribe(
	ctx context.Context, sound audio.Reader, _ float64, o Options,
) (*Transcript, error) {
	if err := p.check(o); err != nil {
		return nil, err
	}
	from := newSource(ctx, p.Waves.Rate(), sound, p.Voice)
	defer from.close()
	if from.voice == nil {
		return nil, fmt.Errorf("%w: pieces need sounds of 8,000 samples a second or more", graph.ErrUnsupported)
	}
	longest := int(p.Model.Pieces().Longest * float64(from.rate))
	cut := &cutter{source: from, longest: longest, hop: 1, gap: cutGap}
	if o.Live {
		cut.gap = -1
	}
	t := &Transcript{Language: "en", NoSpeech: 1}
	for {
		piece, ok, err := cut.next(ctx)
		if err != nil {
			return nil, err
		}
		if !ok {
			break
		}
		s, err := p.segment(ctx, piece, o)
		if err != nil {
			return nil, err
		}
		if o.Progress != nil {
			o.Progress(s.End)
		}
		if s.Text == "" {
			continue
		}
		t.NoSpeech = 0
		t.Segments, t.IDs = append(t.Segments, s), append(t.IDs, s.IDs...)
		if o.Emit != nil && !o.Emit(s) {
			break
		}
	}
	var texts []string
	for _, s := range t.Segments {
		texts = append(texts, s.Text)
	}
	t.Text, t.Seconds = strings.Join(texts, " "), from.seconds
	return t, nil
}

// segment writes down a piece, once it is its turn.
func (p *Pieces) segment(ctx context.Context, piece stretch, o Options) (s Segment, err error) {
	rate := float64(p.Waves.Rate())
	s.Start, s.End = float64(piece.from)/rate, float64(piece.from+len(piece.samples))/rate
	err = p.Turn.take(ctx, func(ctx context.Context) error {
		text, err := p.write(ctx, piece.samples, o)
		if err != nil {
			return err
		}
		s.IDs, s.LogProb, s.CompressionRatio = text.ids, text.logProb, text.repeats
		s.Text = strings.TrimSpace(p.Texts.Decode(text.ids, true))
		return nil
	})
	return s, err
}

// write writes the text of samples, with silence behind those that are too few.
func (p *Pieces) write(ctx context.Context, samples []float32, o Options) (w written, err error) {
	pieces := p.Model.Pieces()
	if lacking := pieces.Least - len(samples); lacking > 0 {
		samples = append(slices.Clip(samples), make([]float32, lacking)...)
	}
	sound := &audio.Sound{Rate: p.Waves.Rate(), Samples: samples}
	prepared, err := p.Waves.Prepare(ctx, []media.Item{sound})
	if err != nil {
		return w, err
	}
	states, err := p.Model.Encode(ctx, prepared)
	if err != nil {
		return w, err
	}
	prompt, err := p.Model.Compose([]family.Part{{Item: sound}}, states)
	if err != nil {
		return w, err
	}
	batch, err := p.Model.Begin(ctx, [][]family.Segment{prompt})
	if err != nil {
		return w, err
	}
	search := decode.Search{Options: p.Decoding, Tokenizer: p.Texts.Tokenizer}
	usual := int(math.Ceil(pieces.Tokens * float64(len(samples)) / float64(sound.Rate)))
	search.MaxNewTokens, search.MaxLength = cmp.Or(o.MaxNewTokens, usual), 0
	search.NumBeams, search.NumReturnSequences, search.DoSample = o.NumBeams, 1, false
	found, err := search.Run(ctx, batch)
	if err != nil {
		return w, err
	}
	return judge(found[0], o.NumBeams, p.Texts.Decode(found[0].IDs, true)), nil
}

// check refuses options out of range and those that mean nothing where each text is written once, by
// itself. Forgetful and WithoutTimes say what is so anyway.
func (p *Pieces) check(o Options) error {
	if err := o.Check(); err != nil {
		return err
	}
	usual := DefaultOptions()
	other := func(is, was float64) bool { return is != was && !math.IsNaN(is) }
	const once = "it writes each text once, at temperature 0"
	for _, option := range []struct {
		name string
		set  bool
		why  string
	}{
		{"words", o.Words, "it does not tell the times of words"},
		{"task", o.Task == Translate, "it does not translate"},
		{"language", o.Language != "" && family.LanguageCode(o.Language) != "en", "it hears English alone"},
		{"prompt", strings.TrimSpace(o.Prompt) != "", "it reads no text before the sound"},
		{"temperature", !slices.Equal(o.Temperatures, usual.Temperatures) && !slices.Equal(o.Temperatures, []float64{0}), once},
		{"best_of", o.BestOf != usual.BestOf, once},
		{"seed", o.Seed != usual.Seed, once},
		{"compression_ratio_threshold", other(o.MostRepeats, usual.MostRepeats), once},
		{"logprob_threshold", other(o.LeastLogProb, usual.LeastLogProb), once},
		{"no_speech_threshold", other(o.NoSpeech, usual.NoSpeech), "it does not tell how likely speech is"},
		{"voice_check", o.Everything, "it hears the pieces in which somebody speaks"},
		{"batched", o.Batched > 0, "it hears pieces of different lengths, one at a time"},
	} {
		if option.set {
			return fmt.Errorf("%w: %s: this model has no such option: %s", graph.ErrUnsupported, option.name, option.why)
		}
	}
	return nil
}
