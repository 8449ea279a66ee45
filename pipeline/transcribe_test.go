package pipeline

import (
	"context"
	"errors"
	"math"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/crossattn/xpipe/audio"
	_ "github.com/crossattn/xpipe/audio/codecs"
	"github.com/crossattn/xpipe/pipeline/family"
)

// openTiny opens a model that hears nothing sensible, in windows of less than a second.
func openTiny(t *testing.T, opts ...Option) *Pipeline {
	t.Helper()
	p, err := Open(t.Context(), layoutDir(t, "whisper-transformersjs"), opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// quickly has a text of the tiny model end soon, and be taken.
func quickly(o *Transcription) {
	o.Temperatures, o.NoSpeech, o.MaxNewTokens, o.Language = []float64{0}, math.NaN(), 8, "en"
}

// spoken is a clip in which somebody speaks.
func spoken(t *testing.T) *audio.Sound {
	t.Helper()
	sound, err := audio.DecodeFile(t.Context(), "../testdata/speech/jfk.flac", audio.WithoutFFmpeg())
	if err != nil {
		t.Fatal(err)
	}
	return sound
}

// ways are the ways to write down a sound.
var ways = map[string]TranscribeOption{
	"sequential": func(*Transcription) {},
	"batched":    func(o *Transcription) { o.Batched = 2 },
	"live":       func(o *Transcription) { o.Live = true },
}

// A transcript can be ended at its first segment or cancelled in the middle, while several are written
// on one pipeline, and nothing goes on behind it.
func TestTranscribeEnds(t *testing.T) {
	before := runtime.NumGoroutine()
	p := openTiny(t)
	sound := spoken(t)
	sound.Samples = slices.Concat(sound.Samples, sound.Samples)
	var all sync.WaitGroup
	for name, way := range ways {
		for _, cancelled := range []bool{false, true} {
			all.Go(func() {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				segments := 0
				heard, err := p.Transcribe(ctx, sound, quickly, way, func(o *Transcription) {
					o.Progress = func(float64) {}
					o.Emit = func(Segment) bool {
						if segments++; cancelled {
							cancel()
						}
						return cancelled
					}
				})
				switch {
				case segments == 0:
					t.Errorf("%s: no segment", name)
				case cancelled && !errors.Is(err, context.Canceled):
					t.Errorf("%s, cancelled: %v", name, err)
				case !cancelled && err != nil:
					t.Errorf("%s: %v", name, err)
				case !cancelled && segments > 1:
					t.Errorf("%s: %d segments after the end, of %d", name, segments, len(heard.Segments))
				}
			})
		}
	}
	all.Wait()
	p.Close()
	for range 100 {
		if runtime.NumGoroutine() <= before {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	stacks := make([]byte, 1<<16)
	t.Errorf("goroutines are left:\n%s", stacks[:runtime.Stack(stacks, true)])
}

// What cannot be written down is an error of its kind.
func TestTranscribeErrors(t *testing.T) {
	t.Parallel()
	p, sound := openTiny(t), spoken(t)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	closed := openTiny(t)
	closed.Close()
	slow := openTiny(t, WithLimits(Limits{Time: 1}))
	blind, err := Open(t.Context(), layoutDir(t, "clip-transformersjs"))
	if err != nil {
		t.Fatal(err)
	}
	defer blind.Close()
	for name, way := range ways {
		for _, c := range []struct {
			what  string
			p     *Pipeline
			ctx   context.Context
			sound *audio.Sound
			want  error
		}{
			{"no sound", p, t.Context(), nil, ErrSound},
			{"another rate", p, t.Context(), &audio.Sound{Rate: 8000, Samples: sound.Samples}, ErrSound},
			{"no rate", p, t.Context(), &audio.Sound{Samples: sound.Samples}, ErrSound},
			{"not a number", p, t.Context(), &audio.Sound{Rate: 16000, Samples: []float32{float32(math.NaN())}}, ErrSound},
			{"a context that is over", p, over, sound, context.Canceled},
			{"a closed pipeline", closed, t.Context(), sound, ErrClosed},
			{"a model of pictures", blind, t.Context(), sound, ErrUnsupported},
			{"too little time", slow, t.Context(), sound, ErrLimit},
		} {
			if _, err := c.p.Transcribe(c.ctx, c.sound, quickly, way); !errors.Is(err, c.want) {
				t.Errorf("%s, %s: %v, want %v", name, c.what, err, c.want)
			}
		}
		heard, err := p.Transcribe(t.Context(), &audio.Sound{Rate: 16000}, quickly, way)
		if err != nil || len(heard.Segments) > 0 {
			t.Errorf("%s, no samples: %+v, %v", name, heard, err)
		}
	}
}

// The text, the ids and the segments of a transcript agree, however it is made.
func TestTranscriptAgrees(t *testing.T) {
	t.Parallel()
	p, sound := openTiny(t), spoken(t)
	tokens, err := p.model.(family.Hearer).Speech()
	if err != nil {
		t.Fatal(err)
	}
	for name, way := range ways {
		for _, timeless := range []bool{false, true} {
			heard, err := p.Transcribe(t.Context(), sound, quickly, way, func(o *Transcription) {
				o.WithoutTimes, o.Prompt = timeless, "hello"
			})
			if err != nil {
				t.Fatal(name, err)
			}
			var ids []int64
			last := 0.0
			for _, s := range heard.Segments {
				ids = append(ids, s.IDs...)
				if s.Start < last || s.End < s.Start || s.Start > heard.Seconds {
					t.Errorf("%s: a segment from %v to %v behind %v, of %v s", name, s.Start, s.End, last, heard.Seconds)
				}
				last = s.Start
			}
			isTime := func(id int64) bool { return id >= tokens.FirstTime }
			words := func(ids []int64) []int64 { return slices.DeleteFunc(slices.Clone(ids), isTime) }
			if len(ids) == 0 || !slices.Equal(words(ids), words(heard.IDs)) {
				t.Errorf("%s: segments have the ids %v, the transcript %v", name, ids, heard.IDs)
			}
		}
	}
}
