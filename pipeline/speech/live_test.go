package speech

import (
	"math"
	"slices"
	"strings"
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
	from := newSource(t.Context(), extractor.Rate(), &zeros{rest: 600 * 16000}, nil)
	from.extractor = extractor
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

// A window that has no more to hear moves on as one of a file does: to the piece that it may have cut off.
func TestLiveWindowEndsWithAWholePiece(t *testing.T) {
	t.Parallel()
	const first = 100 // the id of the time 0
	tokens := &family.Speech{FirstTime: first}
	extractor, err := audio.NewExtractor(nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		final, ids []int64
		count      int
		goesOn     float64
	}{
		{nil, []int64{first, 1, 2, first + 50, first + 60, 3}, 4, 1.2},               // the last piece has no end
		{nil, []int64{first, 1, 2, first + 50, first + 50}, 4, 1},                    // nor does what follows
		{nil, []int64{first, 1, first + 50, first + 60, 2, first + 90}, 6, 0},        // nothing is said behind
		{nil, []int64{first, 1, 2}, 3, 0},                                            // one piece fills the window
		{nil, []int64{1, 2, 3}, 3, 0},                                                // no times
		{nil, nil, 0, 0},                                                             // nothing
		{[]int64{first, 1, first + 50}, []int64{first + 60, 2}, 0, 1.2},              // between what is final and not
		{[]int64{first, 1, first + 50, first + 60, 2}, []int64{3}, 1, 0},             // before what is final
		{[]int64{first, 1}, []int64{2, first + 50, first + 60, 3, first + 90}, 5, 0}, // final, and an end
	} {
		l := &live{run: &run{Listener: &Listener{Extractor: extractor}, tokens: tokens}, final: c.final}
		l.samples = make([]float32, extractor.Window())
		if count := l.whole(c.ids); count != c.count || math.Abs(l.goesOn-c.goesOn) > 1e-9 {
			t.Errorf("%v %v: %d ids, on from %v; want %d, %v", c.final, c.ids, count, l.goesOn, c.count, c.goesOn)
		}
	}
	// At the end of the sound nothing cuts a piece off.
	l := &live{run: &run{Listener: &Listener{Extractor: extractor}, tokens: tokens}, samples: make([]float32, 16000)}
	if count := l.whole([]int64{first, 1, first + 30, first + 30, 2}); count != 5 || l.goesOn != 0 {
		t.Errorf("at the end: %d ids, on from %v", count, l.goesOn)
	}
}

// Words that become final take the punctuation beside them along.
func TestLiveWordsHaveTheirPunctuation(t *testing.T) {
	t.Parallel()
	got := marked([]word{
		{text: " \"", ids: []int64{1}, end: 1}, {text: " one", ids: []int64{2}, start: 1, end: 1.504},
		{text: ".", ids: []int64{3}, start: 1.5, end: 2},
	})
	if len(got) != 1 || got[0].Text != " \" one." || got[0].Start != 1 || got[0].End != 1.5 || len(got[0].IDs) != 3 {
		t.Errorf("%+v", got)
	}
}

// What is given out later does not begin with the mark behind a word that was given out before; the
// transcript has it.
func TestLiveLinesBeginWithWords(t *testing.T) {
	t.Parallel()
	var given []string
	l := &live{run: &run{}}
	texts := map[int64]string{1: " done", 2: ",", 3: " hang", 4: "."}
	l.decode = func(ids []int64) (text string) {
		for _, id := range ids {
			text += texts[id]
		}
		return text
	}
	l.tokens = &family.Speech{End: 49, Start: 50, FirstTime: 100}
	l.Emit = func(s Segment) bool {
		given = append(given, s.Text)
		if len(s.Words) > 1 {
			t.Errorf("words %+v", s.Words)
		}
		return true
	}
	l.give(Segment{Text: "done", IDs: []int64{1}}, true)
	l.give(Segment{Text: ", hang", IDs: []int64{2, 3}, Words: []Word{{Text: ","}, {Text: " hang"}}}, false)
	l.give(Segment{Text: ".", IDs: []int64{4}}, false)
	if want := []string{"done", "hang"}; !slices.Equal(given, want) {
		t.Errorf("given out %q, want %q", given, want)
	}
	if n := len(l.t.Segments); n != 1 || l.t.Segments[0].Text != "done, hang." || len(l.t.Segments[0].Words) != 2 {
		t.Errorf("the transcript: %+v", l.t.Segments)
	}
}

// A word behind a long silence does not begin with it.
func TestLiveWordBehindSilence(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ start, end, ended, want float64 }{
		{24, 40, 0, 39}, {39.5, 40, 0, 39.5}, {38.5, 40, 38.5, 38.5},
	} {
		w := word{start: c.start, end: c.end}
		if cutAtSilence(&w, c.ended, 0.5); w.start != c.want || w.end != c.end {
			t.Errorf("%+v: %v to %v", c, w.start, w.end)
		}
	}
}

// Words are final that two texts have, that ended long ago, or behind which nobody speaks; not those that
// are placed where nobody speaks.
func TestLiveFinalWords(t *testing.T) {
	t.Parallel()
	extractor, err := audio.NewExtractor(nil)
	if err != nil {
		t.Fatal(err)
	}
	const first = 100
	text := []int64{first, 1, 2, 3}
	at := func(times ...float64) (timed []word) {
		for i := 0; i < len(times); i += 2 {
			timed = append(timed, word{ids: []int64{int64(i/2 + 1)}, start: times[i], end: times[i+1]})
		}
		return timed
	}
	long := at(0.2, 0.6, 0.6, 1, 1, 3.8)
	for name, c := range map[string]struct {
		before []int64
		timed  []word
		ended  float64 // of the voice; 0: it goes on
		voice  *decided
		count  int
	}{
		"nothing":         {timed: at(2, 3, 3, 3.4, 3.4, 3.8), voice: &decided{speaking: true}},
		"agreed":          {before: []int64{1, 9}, timed: at(2, 3, 3, 3.4, 3.4, 3.8), voice: &decided{speaking: true}, count: 2},
		"long ago":        {timed: long, voice: &decided{speaking: true}, count: 3},
		"without place":   {timed: at(0.6, 0.6, 0.6, 1, 1, 3.8), voice: &decided{speaking: true}},
		"without times":   {before: []int64{1, 9}, voice: &decided{speaking: true}, count: 2},
		"a pause":         {timed: at(0.2, 0.6, 0.6, 1, 1, 1.4), ended: 2, voice: &decided{speaking: true}, count: 4},
		"behind a pause":  {timed: at(0.2, 0.6, 0.6, 1, 3, 3.4), ended: 2, voice: &decided{speaking: true}, count: 3},
		"without a voice": {before: []int64{1, 2, 3}, timed: at(0.2, 0.6, 0.6, 1, 3, 3.4), voice: &decided{}, count: 3},
	} {
		from := &source{voice: c.voice, spans: []audio.Span{{From: 0, To: 2 * 16000}}}
		l := &live{
			run:    &run{Listener: &Listener{Extractor: extractor}, source: from},
			before: c.before, samples: make([]float32, 4*16000),
		}
		l.tokens = &family.Speech{End: 49, Start: 50, FirstTime: first}
		l.decode = func(ids []int64) string { return strings.Repeat(" w", len(ids)) }
		if count := l.finals(text, c.timed, c.ended); count != c.count {
			t.Errorf("%s: %d ids are final, not %d", name, count, c.count)
		}
	}
}

// decided is a voice detector that has decided about all that it was given.
type decided struct{ speaking bool }

func (d *decided) Write([]float32)      {}
func (d *decided) Close()               {}
func (d *decided) Spans() []audio.Span  { return nil }
func (d *decided) Settled() (int, bool) { return math.MaxInt, d.speaking }

// A pause is where a voice ended and nobody has spoken for a while.
func TestLivePause(t *testing.T) {
	t.Parallel()
	extractor, err := audio.NewExtractor(nil)
	if err != nil {
		t.Fatal(err)
	}
	from := &source{voice: &decided{}, spans: []audio.Span{{From: 0, To: 2 * 16000}}}
	l := &live{run: &run{Listener: &Listener{Extractor: extractor}, source: from}}
	for _, c := range []struct{ seconds, ends, ended, until float64 }{
		{2.1, 0, 0, 0}, {2.5, 0, 2, 2.5}, {4, 1.8, 2, 4}, {4, 4.5, 0, 0},
	} {
		l.samples, l.ends = make([]float32, int(c.seconds*16000)), c.ends
		if ended, until := l.pause(); ended != c.ended || until != c.until {
			t.Errorf("%+v: a pause from %v to %v", c, ended, until)
		}
	}
	l.Everything = true
	if ended, _ := l.pause(); ended != 0 {
		t.Error("a pause where everything is heard")
	}
}
