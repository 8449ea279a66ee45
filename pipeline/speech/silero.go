package speech

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/pipeline/graph"
	"github.com/crossattn/xpipe/tensor"
)

// detector finds where somebody speaks, as *audio.Voice does, whose methods say more.
type detector interface {
	Write(samples []float32)
	Close()
	Spans() []audio.Span
	Settled() (sample int, speaking bool)
}

// VoiceModel is silero's voice detector: a graph that says of each 32 ms of a sound of 16,000 samples a
// second how probable speech is. The rules that make spans of it are those of get_speech_timestamps in
// silero-vad 6.2.3 (utils_vad.py) by its defaults, with spans of 30 s at most. It is safe for concurrent
// use.
type VoiceModel struct{ session engine.Session }

const (
	sileroRate    = 16000
	sileroWindow  = 512 // samples that a probability is of
	sileroContext = 64  // samples before them that the graph is given, too
	sileroState   = 128
)

// sileroNames are where a folder may have the graph: silero-vad's own, and those of the hub.
var sileroNames = []string{"silero_vad.onnx", "onnx/model.onnx", "model.onnx"}

// OpenVoiceModel opens silero's graph, a file or one in a folder. Errors wrap graph.ErrBundle, or are the
// engine's.
func OpenVoiceModel(ctx context.Context, eng engine.Engine, path string, opts engine.Options) (*VoiceModel, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("%w: voice model: %w", graph.ErrBundle, err)
	}
	if info.IsDir() {
		if path, err = sileroFile(path); err != nil {
			return nil, err
		}
	}
	session, err := eng.Open(ctx, engine.FileSource(path), opts)
	if err != nil {
		return nil, fmt.Errorf("voice model %s: %w", path, err)
	}
	has := map[string]bool{}
	for _, spec := range slices.Concat(session.Inputs(), session.Outputs()) {
		has[spec.Name] = true
	}
	if !has["input"] || !has["state"] || !has["sr"] || !has["output"] || !has["stateN"] {
		return nil, errors.Join(fmt.Errorf("%w: voice model %s: this is not silero's graph, which makes output "+
			"and stateN of input, state and sr", graph.ErrBundle, path), session.Close())
	}
	return &VoiceModel{session}, nil
}

func sileroFile(dir string) (string, error) {
	for _, name := range sileroNames {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if _, err := os.Stat(file); err == nil || !errors.Is(err, fs.ErrNotExist) {
			return file, nil
		}
	}
	return "", fmt.Errorf("%w: voice model: %s has none of the files %q", graph.ErrBundle, dir, sileroNames)
}

// Close closes the graph; that of none does nothing.
func (m *VoiceModel) Close() error {
	if m == nil {
		return nil
	}
	return m.session.Close()
}

// silero is the detector of one sound.
type silero struct {
	sileroSpans
	model  *VoiceModel
	ctx    context.Context // of the sound: Write has none
	input  []float32       // context and window, as far as it is known
	state  *tensor.Tensor  // [2,1,128]
	total  int             // samples written
	closed bool
	err    error // the first
}

// detect returns a detector of a sound. Its error says why it found no more.
func (m *VoiceModel) detect(ctx context.Context, rate int) *silero {
	s := &silero{sileroSpans: sileroSpans{start: -1, last: -2 * sileroPad}, model: m, ctx: ctx}
	if rate != sileroRate {
		s.err = fmt.Errorf("%w: the voice model hears %d samples a second, the model %d",
			graph.ErrUnsupported, sileroRate, rate)
	}
	s.input = make([]float32, sileroContext, sileroContext+sileroWindow)
	s.state = tensor.Must(tensor.New([]int{2, 1, sileroState}, make([]float32, 2*sileroState)))
	return s
}

func (s *silero) Write(samples []float32) {
	for len(samples) > 0 && !s.closed {
		n := min(len(samples), cap(s.input)-len(s.input))
		s.input = append(s.input, samples[:n]...)
		s.total += n
		samples = samples[n:]
		if len(s.input) == cap(s.input) {
			s.hear()
		}
	}
}

func (s *silero) Close() {
	if s.closed {
		return
	}
	s.closed = true
	if len(s.input) > sileroContext {
		s.input = append(s.input, make([]float32, cap(s.input)-len(s.input))...)
		s.hear()
	}
	s.end(s.total)
}

// Settled is audio.Voice's.
func (s *silero) Settled() (sample int, speaking bool) {
	if s.closed {
		return s.total, false
	}
	return s.settled()
}

// hear takes the probability of a window, and moves on to the next.
func (s *silero) hear() {
	if s.err == nil {
		var p float64
		if p, s.err = s.probability(); s.err == nil {
			s.add(p)
		}
	}
	s.input = append(s.input[:0], s.input[sileroWindow:]...)
}

func (s *silero) probability() (float64, error) {
	input := tensor.Must(tensor.New([]int{1, len(s.input)}, slices.Clone(s.input)))
	out, err := s.model.session.Run(s.ctx, map[string]*tensor.Tensor{
		"input": input, "state": s.state, "sr": tensor.Must(tensor.New(nil, []int64{sileroRate})),
	}, "output", "stateN")
	if err == nil {
		err = graph.CheckOutput("output", out["output"], 1, 1)
	}
	if err == nil {
		err = graph.CheckOutput("stateN", out["stateN"], s.state.Shape()...)
	}
	if err != nil {
		return 0, fmt.Errorf("voice model: %w", err)
	}
	s.state = out["stateN"]
	p := float64(out["output"].Float32s()[0])
	if !(p >= 0 && p <= 1) {
		return 0, fmt.Errorf("%w: voice model: %v is no probability", graph.ErrBundle, p)
	}
	return p, nil
}

// The rules of sileroSpans, in probabilities and samples.
const (
	sileroSpeech  = 0.5  // and above
	sileroSilence = 0.35 // and above goes on what was before
	sileroLeast   = sileroRate * 250 / 1000
	sileroPause   = sileroRate * 100 / 1000 // ends speech
	sileroCut     = sileroRate * 98 / 1000  // where speech that is too long is cut
	sileroPad     = sileroRate * 30 / 1000  // around speech
	sileroMost    = sileroRate*30 - sileroWindow - 2*sileroPad
)

// sileroSpans makes spans of probabilities.
type sileroSpans struct {
	windows int        // so far
	start   int        // of the speech that goes on; -1: nobody speaks
	pause   int        // where what may be its end begins; 0: it is not silent
	longest audio.Span // the longest pause in it; empty: none that it may be cut in
	last    int        // where the last span ended
	waiting *audio.Span
	spans   []audio.Span
}

// add takes the probability of the next window.
func (v *sileroSpans) add(p float64) {
	at := v.windows * sileroWindow
	v.windows++
	if p >= sileroSpeech && v.pause > 0 {
		if n := at - v.pause; n > max(sileroCut, v.longest.To-v.longest.From) {
			v.longest = audio.Span{From: v.pause, To: at}
		}
		v.pause = 0
	}
	switch {
	case v.start < 0 && p >= sileroSpeech:
		v.start = at
	case v.start < 0:
	case at-v.start > sileroMost && v.longest.To == 0:
		v.keep(at)
		v.start, v.pause = -1, 0
	default:
		if at-v.start > sileroMost {
			v.keep(v.longest.From)
			v.start, v.pause, v.longest = v.longest.To, 0, audio.Span{}
		}
		if p < sileroSilence {
			v.hush(at)
		}
	}
	v.release()
}

// hush takes a silent window in speech.
func (v *sileroSpans) hush(at int) {
	if v.pause == 0 {
		v.pause = at
	}
	if at-v.pause < sileroPause {
		return
	}
	if v.pause-v.start > sileroLeast {
		v.keep(v.pause)
	}
	v.start, v.pause, v.longest = -1, 0, audio.Span{}
}

// pad is how much is added to both sides of the pause between the last span and speech from a sample on.
func (v *sileroSpans) pad(from int) int { return min(sileroPad, (from-v.last)/2) }

// keep makes a span of the speech up to a sample. Its own pad behind waits for what follows.
func (v *sileroSpans) keep(to int) {
	pad := v.pad(v.start)
	v.flush(v.last + pad)
	v.waiting, v.last = &audio.Span{From: max(0, v.start-pad), To: to}, to
}

// release lets the span that waits go once nothing that follows can change it.
func (v *sileroSpans) release() {
	next, kept := v.windows*sileroWindow, false
	if v.start >= 0 {
		least := (v.windows - 1) * sileroWindow // where this speech may end
		if v.pause > 0 {
			least = v.pause
		}
		next, kept = v.start, least-v.start > sileroLeast
	}
	if pad := v.pad(next); kept || pad == sileroPad {
		v.flush(v.last + pad)
	}
}

func (v *sileroSpans) flush(to int) {
	if v.waiting != nil {
		v.spans = append(v.spans, audio.Span{From: v.waiting.From, To: to})
		v.waiting = nil
	}
}

// end ends a sound of so many samples.
func (v *sileroSpans) end(total int) {
	if v.start >= 0 && total-v.start > sileroLeast {
		v.keep(total)
	}
	v.flush(min(total, v.last+sileroPad))
	v.start = -1
}

// Spans is audio.Voice's.
func (v *sileroSpans) Spans() []audio.Span {
	found := v.spans
	v.spans = nil
	return found
}

func (v *sileroSpans) settled() (sample int, speaking bool) {
	switch {
	case v.waiting != nil:
		return v.waiting.From, true
	case v.start >= 0:
		return max(0, v.start-v.pad(v.start)), true
	}
	return max(0, v.windows*sileroWindow-sileroPad), false
}
