package speech

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/pipeline/family"
)

var minusInf = math.Inf(-1)

// step is the time between two of the model's times, and between two states of its encoder, in seconds.
const step = 0.02

// sequential writes down one window after the other.
func (r *run) sequential(ctx context.Context) (err error) {
	for going := true; going && err == nil; {
		err = r.Turn.take(ctx, func(ctx context.Context) (err error) {
			going, err = r.window(ctx)
			return err
		})
	}
	return err
}

// window writes down the next window of up to 30 s and moves on: behind it or, where its last piece has
// no end, to the beginning of that piece. It reports whether there may be more. Source: transcribe of
// openai-whisper 20250625 (transcribe.py).
func (r *run) window(ctx context.Context) (going bool, err error) {
	full := r.Extractor.Window() / r.Extractor.Hop()
	known, err := r.source.upTo(ctx, r.seek+full)
	content := known - r.seek
	if err != nil || content <= 0 || r.stopped {
		return false, err
	}
	if next, ok := r.silentUntil(r.seek + content); ok {
		r.moveTo(next)
		return true, nil
	}
	features, err := r.source.window(ctx, r.seek, content)
	if err != nil {
		return false, err
	}
	begin, err := r.hear(ctx, features)
	if err != nil {
		return false, err
	}
	text, err := r.write(ctx, begin, r.Temperatures)
	if err != nil {
		return false, err
	}
	next, err := r.take(ctx, begin, text, content)
	r.moveTo(next)
	return true, err
}

// silentUntil returns the frame where the next window begins, if nobody speaks in the one that ends with
// a frame.
func (r *run) silentUntil(end int) (next int, ok bool) {
	if r.Everything {
		return 0, false
	}
	hop := r.Extractor.Hop()
	until, ok := r.source.silentUntil(r.seek*hop, end*hop)
	if next = until / hop; next >= end {
		next = end
	}
	return next, ok && next > r.seek
}

// take makes segments of the text of a window of so many frames, and returns the frame where the next
// window begins.
func (r *run) take(ctx context.Context, begin family.Begin, text written, content int) (next int, err error) {
	r.windows++
	r.t.NoSpeech = min(r.t.NoSpeech, text.noSpeech)
	if r.silent(text) {
		return r.seek + content, nil
	}
	segments, next, ended := r.cut(text, content)
	if r.Words {
		if err := r.time(ctx, begin, segments, content); err != nil {
			return 0, err
		}
		if end := r.frame(r.spoken); !ended && end > r.seek {
			next = end
		}
	}
	r.add(segments, text)
	return next, nil
}

// time gives a window's segments their words.
func (r *run) time(ctx context.Context, begin family.Begin, segments []Segment, content int) error {
	own, before := slices.Clone(segments), r.spoken
	timer := r.timer(begin, family.AlignOptions{})
	spoken, err := timer.add(ctx, segments, content/framesOfState, r.second(r.seek), r.spoken)
	r.spoken = spoken
	widen(segments, own, before)
	return err
}

// widen gives segments whose words have no length, as the first one behind a sentence may have none, their
// own times, as far as the others leave room. openai-whisper loses their text.
func widen(segments, own []Segment, before float64) {
	for i := range segments {
		s := &segments[i]
		from, to := hundredths(max(own[i].Start, before)), own[i].End
		if i+1 < len(segments) {
			to = min(to, segments[i+1].Start)
		}
		from, to = min(from, s.Start), max(hundredths(to), s.End)
		if n := len(s.Words); n > 0 && s.Start == s.End && from < to {
			s.Start, s.End, s.Words[0].Start, s.Words[n-1].End = from, to, from, to
		}
		before = s.End
	}
}

// timer returns what times the words of the window that begin is for.
func (r *run) timer(begin family.Begin, o family.AlignOptions) *wordTimer {
	prompt := append([]int64{r.tokens.Start}, r.lead...)
	if !r.WithoutTimes {
		prompt = append(prompt, r.tokens.NoTimes)
	}
	return &wordTimer{
		align: func(ctx context.Context, text []int64) (*family.Alignment, error) {
			return r.aligner.Align(ctx, begin, prompt, text, o)
		},
		decode: r.text, isText: r.isText, language: r.Language,
	}
}

// framesOfState is how many frames a state of the encoder hears anew: its second convolution has a
// stride of 2.
const framesOfState = 2

// cut makes segments of a window's text, and returns the frame where the next window begins. ended says
// that nothing is said behind the last time of the text.
func (r *run) cut(text written, content int) (segments []Segment, next int, ended bool) {
	offset := r.second(r.seek)
	ids := text.ids
	isTime := func(i int) bool { return i >= 0 && i < len(ids) && ids[i] >= r.tokens.FirstTime }
	at := func(i int) int { return int(ids[i] - r.tokens.FirstTime) }
	length := r.second(content)
	add := func(ids []int64, from, to float64) {
		if r.Batched > 0 { // openai-whisper's may lie behind the sound; the next window would begin before
			from, to = min(from, length), min(to, length)
		}
		segments = append(segments, Segment{
			Start: offset + from, End: offset + to, Text: strings.TrimSpace(r.text(ids)), IDs: slices.Clone(ids),
			Temperature: text.temperature, LogProb: text.logProb, CompressionRatio: text.repeats, NoSpeech: text.noSpeech,
		})
	}
	var cuts []int
	for i := 1; i < len(ids); i++ {
		if isTime(i-1) && isTime(i) {
			cuts = append(cuts, i)
		}
	}
	ended = len(ids) > 1 && isTime(len(ids)-1) && !isTime(len(ids)-2)
	if len(cuts) == 0 {
		for i := len(ids) - 1; i >= 0; i-- {
			if isTime(i) {
				if at(i) > 0 {
					length = float64(at(i)) * step
				}
				break
			}
		}
		add(ids, 0, length)
		return segments, r.seek + content, ended
	}
	if ended {
		cuts = append(cuts, len(ids))
	}
	last := 0
	for _, c := range cuts {
		add(ids[last:c], float64(at(last))*step, float64(at(c-1))*step)
		last = c
	}
	if ended {
		return segments, r.seek + content, ended
	}
	next = r.seek + r.frame(float64(at(last-1))*step)
	if r.Batched > 0 {
		next = min(next, r.seek+content)
	}
	return segments, next, false
}

// add takes a window's segments, but for those without text or length.
func (r *run) add(segments []Segment, text written) {
	for _, s := range segments {
		if s.Start == s.End || s.Text == "" {
			continue
		}
		r.t.Segments = append(r.t.Segments, s)
		r.history = append(r.history, s.IDs...)
		if r.Emit != nil && !r.stopped {
			r.stopped = !r.Emit(s)
		}
	}
	// What was drawn at a high temperature would lead later windows astray.
	if r.Forgetful || text.temperature > 0.5 {
		r.fresh = len(r.history)
	}
}

// moveTo goes on to a frame.
func (r *run) moveTo(frame int) {
	r.seek = frame
	r.source.drop(frame)
	if r.Progress == nil {
		return
	}
	heard := r.second(frame)
	if r.Batched == 0 { // batched windows lie within the sound, which is read on meanwhile
		heard = min(heard, r.source.seconds)
	}
	r.Progress(heard)
}

// second returns the time of a frame, frame the frame of a time.
func (r *run) second(frame int) float64 {
	return float64(frame*r.Extractor.Hop()) / float64(r.Extractor.Rate())
}

func (r *run) frame(second float64) int {
	return int(math.Round(second * float64(r.Extractor.Rate()) / float64(r.Extractor.Hop())))
}
