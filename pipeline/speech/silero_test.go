package speech

import (
	"encoding/json"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/crossattn/xpipe/audio"
	_ "github.com/crossattn/xpipe/audio/codecs"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/fallback"
	"github.com/crossattn/xpipe/pipeline/graph"
)

// sileroCase is what silero-vad makes of a sound, or of probabilities alone (testdata/speech/silero.py).
type sileroCase struct {
	Name          string
	Samples       int
	Probabilities []float64
	Spans         [][2]int
	Pause, Less   int // of a clip that is heard twice: zeros between, and samples less of the second
}

func sileroCases(t *testing.T) []sileroCase {
	t.Helper()
	data, err := os.ReadFile("../../testdata/speech/silero.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct{ Cases []sileroCase }
	if err := json.Unmarshal(data, &golden); err != nil {
		t.Fatal(err)
	}
	return golden.Cases
}

func (c *sileroCase) check(t *testing.T, spans []audio.Span) {
	t.Helper()
	var found [][2]int
	for _, s := range spans {
		found = append(found, [2]int{s.From, s.To})
	}
	if !slices.Equal(found, c.Spans) {
		t.Errorf("%s: %v, want %v", c.Name, found, c.Spans)
	}
}

// Probabilities make silero-vad's spans; each is there before much follows, and none begins before what
// was settled.
func TestSileroSpans(t *testing.T) {
	t.Parallel()
	for _, c := range sileroCases(t) {
		v := (&VoiceModel{}).detect(t.Context(), sileroRate)
		var all []audio.Span
		take := func(settled int) {
			for _, s := range v.Spans() {
				if s.From < settled || s.To-s.From > 30*sileroRate {
					t.Errorf("%s: %v, settled %d", c.Name, s, settled)
				}
				all = append(all, s)
			}
		}
		for i, p := range c.Probabilities {
			settled, _ := v.settled()
			v.add(p)
			take(settled)
			if now, _ := v.settled(); now < settled || now < (i+1)*sileroWindow-32*sileroRate {
				t.Errorf("%s: window %d: settled %d, then %d", c.Name, i, settled, now)
			}
		}
		v.end(c.Samples)
		take(0)
		c.check(t, all)
	}
}

// The Go engine's probabilities are ONNX Runtime's, and the spans are silero-vad's. The graph is no part
// of this repository: XPIPE_SILERO is the path of silero-vad 6.2.3's silero_vad.onnx, or its folder.
func TestSileroGraph(t *testing.T) {
	t.Parallel()
	path := os.Getenv("XPIPE_SILERO")
	if path == "" {
		t.Skip("XPIPE_SILERO does not name silero's graph; TestSileroSpans tests the rules without it")
	}
	m, err := OpenVoiceModel(t.Context(), fallback.New(), path, engine.Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	clip, err := audio.DecodeFile(t.Context(), "../../testdata/speech/jfk.flac", audio.WithoutFFmpeg())
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range sileroCases(t)[:2] {
		samples := clip.Samples
		if c.Pause > 0 {
			samples = slices.Concat(samples, make([]float32, c.Pause), samples[:len(samples)-c.Less])
		}
		v := m.detect(t.Context(), sileroRate)
		var worst float64
		for i, want := range c.Probabilities {
			v.input = append(v.input[:sileroContext], make([]float32, sileroWindow)...)
			copy(v.input[sileroContext:], samples[i*sileroWindow:])
			p, err := v.probability()
			if err != nil {
				t.Fatal(err)
			}
			worst = max(worst, math.Abs(p-want))
			v.input = append(v.input[:0], v.input[sileroWindow:]...)
			v.input = slices.Grow(v.input, sileroWindow)
		}
		t.Logf("%s: largest difference of a probability %.1e", c.Name, worst)
		if worst > 1e-4 {
			t.Errorf("%s: a probability differs by %v", c.Name, worst)
		}
		v = m.detect(t.Context(), sileroRate)
		for piece := range slices.Chunk(samples, 777) {
			v.Write(piece)
		}
		v.Close()
		if v.err != nil {
			t.Fatal(v.err)
		}
		c.check(t, v.Spans())
	}
}

// What is no graph of silero's, or hears another rate, is an error.
func TestSileroErrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, path := range []string{dir, filepath.Join(dir, "none.onnx")} {
		if _, err := OpenVoiceModel(t.Context(), fallback.New(), path, engine.Options{}); !errors.Is(err, graph.ErrBundle) {
			t.Errorf("%s: %v", path, err)
		}
	}
	from := newSource(t.Context(), 8000, &zeros{rest: 8000}, &VoiceModel{})
	defer from.close()
	if _, _, err := from.next(t.Context(), true); !errors.Is(err, graph.ErrUnsupported) {
		t.Errorf("8,000 samples a second: %v", err)
	}
}
