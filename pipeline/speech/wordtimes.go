package speech

import (
	"context"
	"math"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/pipeline/family"
)

// wordTimer finds the times of the words that a window's segments are made of.
type wordTimer struct {
	// align has the model read the window's text, whose sound it has encoded.
	align    func(ctx context.Context, text []int64) (*family.Alignment, error)
	decode   func(ids []int64) string // the text of tokens
	isText   func(id int64) bool      // whether a token is of a text, rather than a time
	language string
}

// sentence ends are marks behind which a long word is a pause.
const sentenceEnds = ".。!！?？"

// longestMedian bounds what counts as a usual word, in seconds.
const longestMedian = 0.7

// add gives the segments of one window their words, and takes from those the segments' times. states is
// how many of the encoder's states hold sound, start when the window begins, and lastSpeech when the
// speech before it ended. It returns when speech ends in these segments (see lastEnd). Source:
// add_word_timestamps of timing.py, openai-whisper 20250625.
func (t *wordTimer) add(
	ctx context.Context, segments []Segment, states int, start, lastSpeech float64,
) (float64, error) {
	if len(segments) == 0 {
		return lastSpeech, nil
	}
	lengths := make([]int, len(segments)) // of their texts, in tokens
	var text []int64
	for i, s := range segments {
		for _, id := range s.IDs {
			if t.isText(id) {
				text = append(text, id)
				lengths[i]++
			}
		}
	}
	words, err := t.timed(ctx, text, states)
	if err != nil {
		return lastSpeech, err
	}
	hand(segments, lengths, words, start, lastSpeech)
	return lastEnd(segments), nil
}

// lastEnd returns when the last word of segments ends or, where they have none, the last of them.
func lastEnd(segments []Segment) float64 {
	for _, s := range slices.Backward(segments) {
		if n := len(s.Words); n > 0 {
			return s.Words[n-1].End
		}
	}
	return segments[len(segments)-1].End
}

// hand gives the words of a window to its segments, whose texts have so many tokens each. It changes the
// words.
func hand(segments []Segment, lengths []int, words []word, start, lastSpeech float64) {
	usual := usualDuration(words)
	cutAtSentences(words, 2*usual)
	mergePunctuation(words)
	for i := range segments {
		s := &segments[i]
		s.Words = nil
		for taken := 0; len(words) > 0 && taken < lengths[i]; words = words[1:] {
			w := words[0]
			if taken += len(w.ids); w.text != "" {
				s.Words = append(s.Words, Word{
					Start: hundredths(start + w.start), End: hundredths(start + w.end),
					Text: w.text, Probability: w.p, IDs: w.ids,
				})
			}
		}
		if len(s.Words) > 0 {
			cutAtPauses(s, lastSpeech, usual)
			lastSpeech = s.End
		}
	}
}

// timed returns the words of a window's text with their times.
func (t *wordTimer) timed(ctx context.Context, text []int64, states int) ([]word, error) {
	if len(text) == 0 {
		return nil, nil
	}
	a, err := t.align(ctx, text)
	if err != nil {
		return nil, err
	}
	words := splitWords(text, t.language, t.decode)
	setTimes(words, tokenTimes(a, len(text), states), a.Probabilities)
	return words, nil
}

// setTimes gives words the times at which their tokens start, of which there is one more, and the means
// of their tokens' probabilities, where these are known.
func setTimes(words []word, times, probabilities []float64) {
	at := 0
	for i := range words {
		w := &words[i]
		next := at + len(w.ids)
		if probabilities != nil {
			w.p = mean(probabilities[at:next])
		}
		w.start, w.end = times[at], times[next]
		at = next
	}
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, v := range values {
		sum += v / float64(len(values))
	}
	return sum
}

// usualDuration returns the median of the words' durations, at most longestMedian; 0 without words.
func usualDuration(words []word) float64 {
	var durations []float64
	for _, w := range words {
		if d := w.end - w.start; d != 0 {
			durations = append(durations, d)
		}
	}
	if len(durations) == 0 {
		return 0
	}
	slices.Sort(durations)
	n := len(durations)
	return min(longestMedian, (durations[(n-1)/2]+durations[n/2])/2)
}

// cutAtSentences shortens words at the ends and the beginnings of sentences to most seconds: the rest
// is the pause between.
func cutAtSentences(words []word, most float64) {
	if most == 0 {
		return
	}
	ends := func(w word) bool { return strings.Contains(sentenceEnds, w.text) }
	for i := 1; i < len(words); i++ {
		switch w := &words[i]; {
		case w.end-w.start <= most:
		case ends(*w):
			w.end = w.start + most
		case ends(words[i-1]):
			w.start = w.end - most
		}
	}
}

// cutAtPauses shortens the first and the last word of a segment where they are longer than words
// usually are and something speaks for a pause: that it is long since speech ended, or the segment's own
// times. The segment takes its times from its words, or a word from the segment.
func cutAtPauses(s *Segment, lastSpeech, usual float64) {
	most := 2 * usual
	first, last := &s.Words[0], &s.Words[len(s.Words)-1]
	var second *Word
	if len(s.Words) > 1 {
		second = &s.Words[1]
	}
	if first.End-lastSpeech > 4*usual &&
		(first.End-first.Start > most || second != nil && second.End-first.Start > 2*most) {
		if second != nil && second.End-second.Start > most {
			first.End = max(second.End/2, second.End-most)
			second.Start = first.End
		}
		first.Start = max(0, first.End-most)
	}
	if s.Start < first.End && s.Start-0.5 > first.Start {
		first.Start = max(0, min(first.End-usual, s.Start))
	} else {
		s.Start = first.Start
	}
	if s.End > last.Start && s.End+0.5 < last.End {
		last.End = max(last.Start+usual, s.End)
	} else {
		s.End = last.End
	}
}

// hundredths rounds to 0.01 s.
func hundredths(seconds float64) float64 { return math.RoundToEven(seconds*100) / 100 }
