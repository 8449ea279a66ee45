package speech

import (
	"math"
	"testing"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/pipeline/family"
)

// A sound that comes faster than it is heard is taken a window at a time, so that its text comes, too,
// and memory does not grow with its length.
func TestLiveTakesNoMoreThanAWindow(t *testing.T) {
	t.Parallel()
	extractor, err := audio.NewExtractor(nil)
	if err != nil {
		t.Fatal(err)
	}
	from := newSource(t.Context(), extractor, &zeros{rest: 600 * 16000}, math.Inf(-1))
	defer from.close()
	listener := &Listener{Extractor: extractor, Model: deaf{speech: &family.Speech{Positions: 448}}}
	r, err := listener.begin(from, DefaultOptions())
	if err != nil {
		t.Fatal(err)
	}
	l := &live{run: r}
	for rounds := 0; !from.ended; rounds++ {
		if err := l.listen(t.Context()); err != nil {
			t.Fatal(err)
		}
		if most := extractor.Window() + pieceSamples; len(l.samples) > most {
			t.Fatalf("round %d: %d samples are held, more than %d", rounds, len(l.samples), most)
		}
		l.moveOn(l.seconds(), 0)
	}
	if got := l.begins; math.Abs(got-600) > 1e-3 {
		t.Errorf("%v s were heard, not 600", got)
	}
}
