package decode

import (
	"strings"

	"github.com/crossattn/xpipe/tokenize"
)

// stopWatch looks for stop strings in a text that grows token by token. It decodes each id once. A
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

// fork returns a copy that goes on by itself, for a beam that branches.
func (w *stopWatch) fork() *stopWatch {
	if w == nil {
		return nil
	}
	return &stopWatch{stops: w.stops, stream: w.stream.Clone(), tail: w.tail}
}

// add takes the next id and reports whether the text holds a stop string now. Bytes that the stream
// still holds back count as they would decode now.
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
