package speech

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tokenize"
)

// Listener writes down what a model hears. It is safe for concurrent use.
type Listener struct {
	Model     family.Hearer
	Texts     family.Texts
	Extractor *audio.Extractor
	Decoding  decode.Options // the model's own
	Turn      Turn           // of a window's work
	// Voice finds where somebody speaks; nil: audio.Voice does.
	Voice *VoiceModel
}

// Turn, where it is not nil, waits until it is a sound's turn. leave ends the turn.
type Turn func(context.Context) (turn context.Context, leave func(*error), err error)

// take does work once it is a sound's turn.
func (t Turn) take(ctx context.Context, work func(context.Context) error) (err error) {
	if t == nil {
		return work(ctx)
	}
	turn, leave, err := t(ctx)
	if err != nil {
		return err
	}
	defer func() { leave(&err) }()
	return work(turn)
}

// Transcribe writes down what is said in a sound. loudest is Spectrogram.Loudest of the whole; minus
// infinity where it is not known. Errors wrap graph.ErrOption, graph.ErrUnsupported, graph.ErrPrompt or
// audio.ErrSound, or are those of the graphs and of sound. A context that ends leaves sound in the
// middle of a Read, where it is waiting for samples.
func (l *Listener) Transcribe(
	ctx context.Context, sound audio.Reader, loudest float64, o Options,
) (*Transcript, error) {
	from := newSource(ctx, l.Extractor.Rate(), sound, l.Voice)
	defer from.close()
	from.extractor, from.loudest = l.Extractor, loudest
	r, err := l.begin(from, o)
	if err != nil {
		return nil, err
	}
	hear := r.sequential
	switch {
	case o.Live:
		hear = r.live
	case o.Batched > 0:
		hear = r.batched
	}
	if err := hear(ctx); err != nil {
		return nil, err
	}
	return r.end(), nil
}

// run is a sound that is being written down.
type run struct {
	*Listener
	Options
	tokens  *family.Speech
	aligner family.Aligner // nil of a model that does not time words
	source  *source
	lead    []int64 // what the text behind Start begins with; nil until the language is known
	history []int64 // the tokens so far, those of the prompt too
	given   int     // of history, those of the prompt
	fresh   int     // of history, those that later windows do not read
	seek    int     // the frame where the next window begins
	windows int     // so far
	spoken  float64 // until when something was said
	stopped bool    // by Emit
	t       Transcript

	try    func(ctx context.Context, begin family.Begin, temperature float64) (written, error)
	decode func(ids []int64) string
}

// begin checks the options and makes the prompt ready.
func (l *Listener) begin(from *source, o Options) (*run, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	tokens, err := l.Model.Speech()
	if err != nil {
		return nil, err
	}
	r := &run{Listener: l, Options: o, tokens: tokens, source: from, t: Transcript{NoSpeech: 1}}
	r.try, r.decode = r.writeAt, func(ids []int64) string { return l.Texts.Decode(ids, true) }
	if err := r.checkLanguage(); err != nil {
		return nil, err
	}
	if r.aligner, _ = l.Model.(family.Aligner); o.Words && r.aligner == nil {
		return nil, fmt.Errorf("%w: this model does not tell the times of words", graph.ErrUnsupported)
	}
	if prompt := strings.TrimSpace(o.Prompt); prompt != "" {
		ids, err := l.Texts.Read(" "+prompt, tokenize.WithoutSpecialTokens())
		if err != nil {
			return nil, err
		}
		if tokens.Previous < 0 {
			return nil, fmt.Errorf("%w: this model takes no prompt: it has no token <|startofprev|>",
				graph.ErrUnsupported)
		}
		r.history, r.given = ids, len(ids)
	}
	return r, nil
}

// checkLanguage refuses languages and tasks that the model does not have.
func (r *run) checkLanguage() error {
	name := r.Language
	if r.Language = family.LanguageCode(name); name != "" && r.Language == "" {
		r.Language = name // of a model with languages of its own
	}
	if r.tokens.Languages == nil {
		if r.Task == Translate {
			return fmt.Errorf("%w: this model hears English alone and does not translate",
				graph.ErrUnsupported)
		}
		if r.Language != "" && r.Language != "en" {
			return fmt.Errorf("%w: language %q: this model hears English alone", graph.ErrUnsupported, name)
		}
		r.Language = "en"
		r.setLead(-1)
		return nil
	}
	if r.Language == "" {
		return nil
	}
	id, ok := r.tokens.Languages[r.Language]
	if !ok {
		return fmt.Errorf("%w: language %q is none of the model's: %s",
			graph.ErrOption, name, strings.Join(r.tokens.Codes(), " "))
	}
	r.setLead(id)
	return nil
}

// setLead sets what the text behind Start begins with: the language, the task, and whether there are
// no times.
func (r *run) setLead(language int64) {
	r.lead = []int64{}
	if language >= 0 {
		r.lead = append(r.lead, language)
		task := r.tokens.Write
		if r.Task == Translate {
			task = r.tokens.Translate
		}
		if task >= 0 {
			r.lead = append(r.lead, task)
		}
	}
	if r.WithoutTimes {
		r.lead = append(r.lead, r.tokens.NoTimes)
	}
	r.t.Language = r.Language
}

// isText reports whether an id is of a text, rather than a time or another mark.
func (r *run) isText(id int64) bool { return r.tokens.IsText(id) }

// words returns the ids of a text without its times.
func (r *run) words(ids []int64) []int64 {
	return slices.DeleteFunc(slices.Clone(ids), func(id int64) bool { return !r.isText(id) })
}

// text returns the text of ids, those of times left out.
func (r *run) text(ids []int64) string { return r.decode(r.words(ids)) }

// end returns the transcript.
func (r *run) end() *Transcript {
	r.t.IDs = slices.Clone(r.history[r.given:])
	r.t.Text = strings.TrimSpace(r.text(r.t.IDs))
	r.t.Seconds = r.source.seconds
	return &r.t
}
