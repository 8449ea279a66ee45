package decode

import (
	"strings"

	"github.com/crossattn/xpipe/tokenize"
)

// stopWatch looks for stop strings in a text that grows token by token. Each id is decoded once. A
// nil stopWatch finds none.
type stopWatch struct {
	stops  []string
	stream *tokenize.Stream
	tail   string // the end of the text, in which a stop string may have begun
}

// watchStops returns nil where there are no stop strings.
func (s *Search) watchStops() *stopWatch {
	if len(s.StopStrings) == 0 {
		return nil
	}
	return &stopWatch{stops: s.StopStrings, stream: s.Tokenizer.NewStream(true)}
}

// fork is a watch that goes on from here on its own, as beams do.
func (w *stopWatch) fork() *stopWatch {
	if w == nil {
		return nil
	}
	return &stopWatch{stops: w.stops, stream: w.stream.Clone(), tail: w.tail}
}

// add takes the next id and reports whether the text holds a stop string now. What the stream
// still holds back counts as decoding the ids so far would show it.
func (w *stopWatch) add(id int64) bool {
	if w == nil {
		return false
	}
	w.tail += w.stream.Push(id)
	text := w.tail + w.stream.Clone().Flush()
	longest, found := 0, false
	for _, stop := range w.stops {
		found = found || strings.Contains(text, stop)
		longest = max(longest, len(stop))
	}
	w.tail = w.tail[max(0, len(w.tail)-longest):]
	return found
}
