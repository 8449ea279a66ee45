package speech

import (
	"context"
	"errors"
	"math"
	"slices"
	"strings"
	"unicode"

	"github.com/crossattn/xpipe/pipeline/family"
	"github.com/crossattn/xpipe/pipeline/graph"
)

const (
	// liveHop is the seconds of new sound that a new text waits for.
	liveHop = 0.5
	// livePause is how many seconds before the end of what is heard a last word has to end to be whole.
	livePause = 0.5
	// liveLate is how many seconds before the end of what is heard a word has to end to be final whatever
	// the next text says: texts may disagree for long about how a sentence begins.
	liveLate = 1.5
	// shortestWord is the seconds that a word takes at least that is final so.
	shortestWord = 0.06
	// liveStuck is how many seconds may be said behind what is final without a word in the window's text:
	// a model that has written a whole sentence may hold its text for ended.
	liveStuck = 1.0
	// liveRest is how many seconds of silence behind what the voice detector takes for speech end a window.
	liveRest = 0.3
	// liveWindow is the seconds after which a window moves on to the last sentence that is final, and
	// liveMost those after which it moves on wherever it is, keeping liveTail where nothing is final.
	liveWindow, liveMost, liveTail = 12.0, 26.0, 2.0
	// liveQuiet is the loudest sample of a microphone that hears nothing, -50 dB.
	liveQuiet = 0.003
)

// live writes down a sound while it comes. The sound since what is final is heard again and again as it
// grows, and words become final once two texts one after the other have them: local agreement, as
// Macháček et al. do it with Whisper (2307.14743), once liveLate has gone by, or once nobody speaks any
// more. What is final of a window leads its next text.
type live struct {
	*run
	samples []float32 // from the window's beginning on
	begins  float64   // the window, in seconds of the sound
	final   []int64   // the window's text so far, with its times
	before  []int64   // the words behind final in the text before
	ends    float64   // what is final, in seconds of the sound
	open    bool      // the transcript's last segment may go on
	silence float64   // the probability that the window holds no speech
	goesOn  float64   // where in a whole window the piece begins that is not whole; 0: none
	rests   float64   // where in a window the next one begins, since nobody speaks before; 0: it goes on
}

func (r *run) live(ctx context.Context) error {
	l := &live{run: r}
	for going := true; going; {
		if err := l.listen(ctx); err != nil {
			return err
		}
		going = !r.source.ended && !r.stopped
		if err := r.Turn.take(ctx, l.catchUp); err != nil {
			return err
		}
	}
	r.history = append(r.history, l.final...)
	return nil
}

// listen waits for new sound, and takes all that there is, up to a window and little more: a sound that
// comes faster than it is heard has no end to wait for.
func (l *live) listen(ctx context.Context) error {
	enough := len(l.samples) + int(liveHop*float64(l.Extractor.Rate()))
	for !l.source.ended && len(l.samples) <= l.Extractor.Window() {
		samples, ok, err := l.source.next(ctx, len(l.samples) < enough)
		if err != nil || !ok {
			return err
		}
		l.samples = append(l.samples, samples...)
	}
	return nil
}

// catchUp writes the text of what is heard. What came while it was slow fills windows of its own, and so
// does what is left at the end; they move on as those of a file do.
func (l *live) catchUp(ctx context.Context) error {
	full := l.Extractor.Window()
	for (len(l.samples) > full || l.source.ended && l.seconds() > 0) && !l.stopped {
		all := l.samples
		l.samples = all[:min(full, len(all))]
		if err := l.round(ctx, true); err != nil {
			return err
		}
		next := l.seconds()
		if l.goesOn > 0 {
			next = l.goesOn
		}
		l.samples = all
		l.moveOn(next, len(l.final))
		l.final, l.before = nil, nil
	}
	if until := l.silentUntil(); len(l.final) == 0 && until > 0 {
		l.moveOn(until, 0) // silence before a voice invites inventions
		l.before = nil
	}
	if l.stopped || l.seconds() < liveHop {
		return nil // the beginning of a window is worth no text yet
	}
	if err := l.round(ctx, false); err != nil {
		return err
	}
	if l.rests > 0 {
		l.moveOn(l.rests, len(l.final))
		l.final, l.before = nil, nil
		return nil
	}
	if l.stuck() {
		l.moveOn(l.ends-l.begins, len(l.final))
		l.final, l.fresh = nil, len(l.history)
		if err := l.round(ctx, false); err != nil {
			return err
		}
	}
	l.advance()
	return nil
}

// stuck reports whether the text ends with what is final, though the sound goes on.
// seconds returns how long the window is so far.
func (l *live) seconds() float64 { return float64(len(l.samples)) / float64(l.Extractor.Rate()) }

// round writes the window's text anew, and makes final what can be: all of it where the window hears no
// more.
func (l *live) round(ctx context.Context, all bool) error {
	l.goesOn, l.rests = 0, 0
	silent := l.silentUntil() > 0
	if len(l.samples) < l.Extractor.Hop() || silent && l.quiet() {
		return nil
	}
	window, err := windowOf(ctx, l.Extractor, l.samples)
	if err != nil {
		return err
	}
	begin, err := l.hear(ctx, window)
	if err != nil {
		return err
	}
	text, err := l.goOn(ctx, begin)
	if err != nil {
		return err
	}
	l.windows++
	ended, until := l.pause()
	loops := l.loops(text)
	if ended > 0 && !loops {
		l.rests = until - l.begins
	}
	if loops || l.silent(text) {
		l.before = nil
		return nil
	}
	words, count := l.words(text.ids), 0
	if !silent && len(words) > 0 { // a voice is found a moment after there is a text
		timed, err := l.times(ctx, begin, text)
		if err != nil {
			return err
		}
		if all {
			count = min(l.whole(text.ids), l.heard(text.ids, timed, 0))
		} else {
			count = l.finals(text.ids, timed, ended)
		}
		l.settle(timed, text, count)
	}
	l.before = words[len(l.words(text.ids[:count])):]
	if l.Progress != nil {
		l.Progress(l.source.seconds)
	}
	return nil
}

// finals returns how many of a text's ids are final where the window goes on: those that the text before
// has, too, and those of words that ended liveLate ago; or all where somebody spoke up to a time and no
// longer.
// heard returns how many of a text's ids there are before the first word that is placed where nobody
// speaks, or behind a time that is not 0: it is invented.
// spoken reports whether somebody speaks behind a second of the sound, as far as it is decided.
// pause returns where somebody stopped speaking in the window, and up to which nobody has spoken since, in
// seconds of the sound; zeros where somebody may still be speaking.
// upTo returns how many of a text's ids its first n ids of words and the times between them are.
// silentUntil returns up to which second of the window nobody speaks, if nobody seems to speak in it at all;
// else 0.
func (l *live) silentUntil() float64 {
	if l.Everything {
		return 0
	}
	from, to := l.span()
	until, _ := l.source.silentUntil(from, to)
	return float64(max(0, until-from)) / float64(l.Extractor.Rate())
}

// span returns the samples of the sound that the window begins and ends with.
func (l *live) span() (from, to int) {
	from = int(math.Round(l.begins * float64(l.Extractor.Rate())))
	return from, from + len(l.samples)
}

// quiet reports whether the end of the window, about which the voice detector has not decided, is silent.
func (l *live) quiet() bool {
	rest := l.samples[max(0, len(l.samples)-int(undecided*float64(l.Extractor.Rate()))):]
	return !slices.ContainsFunc(rest, func(v float32) bool { return v > liveQuiet || v < -liveQuiet })
}

// goOn writes the window's text behind what is final of it.
func (l *live) goOn(ctx context.Context, begin family.Begin) (w written, err error) {
	if len(l.final) == 0 {
		if w, err = l.writeAt(ctx, begin, 0); err == nil {
			l.silence = w.noSpeech
			l.t.NoSpeech = min(l.t.NoSpeech, w.noSpeech)
		}
		return w, err
	}
	prompt := slices.Concat(l.prompt(), l.lead, l.final)
	sequences, err := begin(ctx, [][]int64{prompt})
	if err != nil {
		return w, err
	}
	o := l.decoding(0)
	o.BeginSuppressTokens = nil // the text has begun
	if o.Times != nil {
		o.Times.Begun = len(l.final)
	}
	all, err := l.search(ctx, sequences, o)
	if err != nil {
		return w, err
	}
	all[0].noSpeech = l.silence
	return all[0], nil
}

// agreed returns how many of a text's ids are final: the words that the text before has, too, but for one
// that may not be whole.
// whole returns how many of a text's ids are of whole pieces, and notes where the next one begins: the
// window may have cut it off. A text without several pieces is whole, and so are one that says how it ends
// and one that ends with the sound, but for a long rest.
// paused reports whether a text says that nothing is said at the end of the window.
// settle makes the first so many of a text's ids final; timed are its words.
func (l *live) settle(timed []word, text written, count int) {
	for ids := text.ids[:count]; len(ids) > 0; {
		// A piece is the times before it and its words.
		at := slices.IndexFunc(ids, l.isText)
		if at < 0 {
			l.final = append(l.final, ids...)
			break
		}
		end := len(ids)
		if next := slices.IndexFunc(ids[at:], func(id int64) bool { return !l.isText(id) }); next >= 0 {
			end = at + next
		}
		s := Segment{
			Start: l.ends, End: l.begins + l.seconds(), Text: strings.TrimSpace(l.text(ids[at:end])),
			IDs: slices.Clone(ids[:end]), LogProb: text.logProb, CompressionRatio: text.repeats, NoSpeech: l.silence,
		}
		words := 0
		for n := end - at; n > 0 && words < len(timed); words++ {
			n -= len(timed[words].ids)
		}
		s.Words, timed = marked(timed[:words]), timed[words:]
		if n := len(s.Words); n > 0 {
			s.Start, s.End = s.Words[0].Start, s.Words[n-1].End
		}
		if !l.Words {
			s.Words = nil
		}
		l.ends = s.End
		l.final = append(l.final, ids[:end]...)
		l.give(s, at > 0)
		ids = ids[end:]
	}
}

// marked returns words with the punctuation beside them. It changes those that it is given.
func marked(words []word) (list []Word) {
	mergePunctuation(words)
	for _, w := range words {
		if w.text != "" {
			list = append(list, Word{
				Start: hundredths(w.start), End: hundredths(w.end), Text: w.text, Probability: w.p, IDs: w.ids,
			})
		}
	}
	return list
}

// times returns the words of a text behind what is final, with their times in the sound; nil where the
// model does not time words. Their probabilities are those with which they were written.
func (l *live) times(ctx context.Context, begin family.Begin, text written) ([]word, error) {
	if l.aligner == nil {
		return nil, nil
	}
	known := l.words(l.final)
	states := len(l.samples) / l.Extractor.Hop() / framesOfState
	timer := l.timer(begin, family.AlignOptions{MapsAlone: true})
	words, err := timer.timed(ctx, append(known, l.words(text.ids)...), states)
	if errors.Is(err, graph.ErrUnsupported) && !l.Words {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	usual := usualDuration(words)
	cutAtSentences(words, 2*usual)
	var probabilities []float64
	for i, id := range text.ids {
		if l.isText(id) {
			probabilities = append(probabilities, math.Exp(text.logProbs[i]))
		}
	}
	skip := len(known)
	var timed []word
	for _, w := range words {
		if skip -= len(w.ids); skip >= 0 {
			continue
		}
		n := min(-skip, len(w.ids)) // of a word that began before, what is new
		w.start, w.end, w.p = l.begins+w.start, l.begins+w.end, mean(probabilities[:n])
		probabilities = probabilities[n:]
		skip = 0
		timed = append(timed, w)
	}
	if len(timed) > 0 {
		cutAtSilence(&timed[0], l.ends, usual)
	}
	return timed, nil
}

// cutAtSilence shortens a word that is much longer than words usually are, and much later than what was
// said before: it begins with the silence between. cutAtPauses does so with words of files.
func cutAtSilence(w *word, ended, usual float64) {
	if most := 2 * usual; usual > 0 && w.end-w.start > most && w.end-ended > 2*most {
		w.start = w.end - most
	}
}

// give gives out what has become final. The transcript joins what belongs to one sentence.
func (l *live) give(s Segment, begins bool) {
	if n := len(l.t.Segments); n > 0 && l.open && !begins {
		last := &l.t.Segments[n-1]
		last.IDs = append(last.IDs, s.IDs...)
		last.Text, last.End = strings.TrimSpace(l.text(last.IDs)), s.End
		last.Words = append(last.Words, s.Words...)
	} else {
		l.t.Segments = append(l.t.Segments, s)
		l.t.Segments[n].IDs, l.t.Segments[n].Words = slices.Clone(s.IDs), slices.Clone(s.Words)
	}
	l.open = true
	if !begins { // so a line does not begin with the mark behind a word that was given out before
		s.Text = strings.TrimLeft(s.Text, marks+" ")
		for len(s.Words) > 0 && strings.Trim(s.Words[0].Text, marks+" ") == "" {
			s.Words = s.Words[1:]
		}
	}
	if !strings.ContainsFunc(s.Text, isLetter) {
		return // it was such a mark
	}
	if l.Emit != nil && !l.stopped {
		l.stopped = !l.Emit(s)
	}
}

// marks stand behind the word that they belong to.
const marks = ".,;:!?…。，、！？：；"

func isLetter(r rune) bool { return unicode.IsLetter(r) || unicode.IsNumber(r) }

// advance moves a window that has become long on: to the last sentence that begins in what is final or,
// where it is too long, to the end of what is final.
func (l *live) advance() {
	length := l.seconds()
	if length < liveWindow {
		return
	}
	isTime := func(i int) bool { return i > 0 && i < len(l.final) && !l.isText(l.final[i]) }
	for i := len(l.final) - 1; i > 0; i-- {
		if isTime(i) && isTime(i-1) {
			l.moveOn(float64(l.final[i]-l.tokens.FirstTime)*step, i)
			if rest := l.final[i:]; len(rest) > 0 {
				l.final = append([]int64{l.tokens.FirstTime}, rest[1:]...)
			}
			return
		}
	}
	if length < liveMost {
		return
	}
	to := l.ends - l.begins
	if len(l.words(l.final)) == 0 {
		to = length - liveTail
		l.before = nil
	}
	l.moveOn(to, len(l.final))
	l.final = nil
}

// moveOn has the window begin so many seconds later, behind the first so many of the final ids.
func (l *live) moveOn(seconds float64, count int) {
	seconds = max(0, min(seconds, l.seconds()))
	l.history = append(l.history, l.final[:count]...)
	l.begins += seconds
	l.samples = slices.Clone(l.samples[int(math.Round(seconds*float64(l.Extractor.Rate()))):])
	if l.Forgetful {
		l.fresh = len(l.history)
	}
}
