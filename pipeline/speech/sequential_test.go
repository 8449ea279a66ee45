package speech

import (
	"context"
	"encoding/json"
	"io"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/internal/sweep"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline/family"
)

// sequentialGolden is what openai-whisper's transcribe makes of windows whose texts are given;
// testdata/speech/sequential.py makes it.
type sequentialGolden struct {
	Eot, First int64
	Vocabulary map[string]string
	Cases      []struct {
		Seconds                 float64
		Prompt                  []int64
		Temperatures            []float64
		Forgetful, WithoutTimes bool
		Thresholds              map[string]*float64
		Calls                   []struct {
			Prompt, IDs                             []int64
			Temperature, LogProb, NoSpeech, Repeats float64
		}
		Segments []struct {
			Start, End, Temperature float64
			IDs                     []int64
			Text                    string
		}
		Text string
	}
}

// deaf is a model whose texts a test gives.
type deaf struct {
	family.Hearer
	speech *family.Speech
}

func (d deaf) Speech() (*family.Speech, error) { return d.speech, nil }

func (deaf) Encode(context.Context, media.Prepared) ([]family.Encoded, error) {
	return make([]family.Encoded, 1), nil
}

func (deaf) Hear(context.Context, ...family.Encoded) (family.Begin, error) { return nil, nil }

// Windows begin where openai-whisper's do, read the prompts that its do, and give its segments.
func TestSequential(t *testing.T) {
	t.Parallel()
	var g sequentialGolden
	data, err := os.ReadFile("../../testdata/speech/sequential.json")
	if err == nil {
		err = json.Unmarshal(data, &g)
	}
	if err != nil {
		t.Fatal(err)
	}
	extractor, err := audio.NewExtractor(nil)
	if err != nil {
		t.Fatal(err)
	}
	const previous, start = 1 << 20, 1<<20 + 1
	l := &Listener{Extractor: extractor, Model: deaf{speech: &family.Speech{
		Start: start, Previous: previous, End: g.Eot, NoTimes: g.First - 1, FirstTime: g.First, Positions: 448,
	}}}
	for number, c := range g.Cases {
		if !sweep.Keeps(number, 3) {
			continue
		}
		t.Run(strconv.Itoa(number), func(t *testing.T) {
			t.Parallel()
			o := DefaultOptions()
			o.Temperatures, o.Forgetful, o.WithoutTimes = c.Temperatures, c.Forgetful, c.WithoutTimes
			o.Everything = true // silence stands for sound
			for name, field := range map[string]*float64{
				"no_speech_threshold": &o.NoSpeech, "logprob_threshold": &o.LeastLogProb,
				"compression_ratio_threshold": &o.MostRepeats,
			} {
				if value, ok := c.Thresholds[name]; ok && value == nil {
					*field = math.NaN()
				}
			}
			sound := &zeros{rest: int(c.Seconds * 16000)}
			from := newSource(t.Context(), extractor.Rate(), sound, nil)
			from.extractor, from.loudest = extractor, math.Inf(-1)
			defer from.close()
			r, err := l.begin(from, o)
			if err != nil {
				t.Fatal(err)
			}
			r.history, r.given = slices.Clone(c.Prompt), len(c.Prompt)
			r.decode = func(ids []int64) string {
				var text strings.Builder
				for _, id := range ids {
					text.WriteString(g.Vocabulary[strconv.FormatInt(id, 10)])
				}
				return text.String()
			}
			calls := c.Calls
			r.try = func(_ context.Context, _ family.Begin, temperature float64) (written, error) {
				if len(calls) == 0 {
					t.Fatal("a window more than openai-whisper hears")
				}
				call := calls[0]
				calls = calls[1:]
				prompt := r.prompt()
				if n := len(prompt); n > 1 {
					prompt = prompt[1 : n-1]
				} else {
					prompt = nil
				}
				if !slices.Equal(prompt, call.Prompt) || temperature != call.Temperature {
					t.Fatalf("call %d: prompt %v at %v, want %v at %v",
						len(c.Calls)-len(calls), prompt, temperature, call.Prompt, call.Temperature)
				}
				return written{nil, call.IDs, temperature, call.LogProb, call.Repeats, call.NoSpeech}, nil
			}
			if err := r.sequential(t.Context()); err != nil {
				t.Fatal(err)
			}
			got := r.end()
			if len(calls) > 0 || len(got.Segments) != len(c.Segments) || got.Text != c.Text {
				t.Fatalf("%d windows left; %d segments, want %d; text %q, want %q",
					len(calls), len(got.Segments), len(c.Segments), got.Text, c.Text)
			}
			for i, want := range c.Segments {
				s := got.Segments[i]
				if math.Abs(s.Start-want.Start) > 1e-9 || math.Abs(s.End-want.End) > 1e-9 || s.Text != want.Text ||
					s.Temperature != want.Temperature || !slices.Equal(s.IDs, want.IDs) {
					t.Errorf("segment %d: %+v, want %+v", i, s, want)
				}
			}
		})
	}
}

// zeros is a silent sound.
type zeros struct{ rest int }

func (z *zeros) Read(dst []float32) (int, error) {
	n := min(len(dst), z.rest)
	clear(dst[:n])
	if z.rest -= n; z.rest == 0 {
		return n, io.EOF
	}
	return n, nil
}

// A segment whose words have no length keeps its text, at its own times.
func TestWordsWithoutLength(t *testing.T) {
	t.Parallel()
	timed := func(start, end float64) Segment {
		return Segment{Start: start, End: end, Words: []Word{{Start: start, End: end}}}
	}
	own := []Segment{{Start: 0, End: 2}, {Start: 2, End: 3}, {Start: 3, End: 4}, {Start: 4, End: 4}}
	segments := []Segment{timed(0, 2.1), timed(2.6, 2.6), timed(2.9, 3.5), timed(3.8, 3.8)}
	widen(segments, own, 0)
	for i, want := range []Segment{timed(0, 2.1), timed(2.1, 2.9), timed(2.9, 3.5), timed(3.8, 4)} {
		if s := segments[i]; s.Start != want.Start || s.End != want.End || s.Words[0].Start != want.Start ||
			s.Words[0].End != want.End {
			t.Errorf("segment %d: %+v, want %+v", i, s, want)
		}
	}
}

// Times of a batched window that lie behind it are its end: the next window may begin there.
func TestBatchedTimesLieInTheWindow(t *testing.T) {
	t.Parallel()
	extractor, err := audio.NewExtractor(nil)
	if err != nil {
		t.Fatal(err)
	}
	const first = 100
	r := &run{
		Listener: &Listener{Extractor: extractor}, Options: Options{Batched: 1},
		tokens: &family.Speech{Start: 50, End: 49, FirstTime: first}, decode: func([]int64) string { return "text" },
	}
	segments, next, _ := r.cut(written{ids: []int64{first, 1, first + 100, first + 200, 2, first + 250, first + 250}}, 300)
	if len(segments) != 2 || segments[0].End != 2 || segments[1].Start != 3 || segments[1].End != 3 || next != 300 {
		t.Errorf("next %d: %+v", next, segments)
	}
}
