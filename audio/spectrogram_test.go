package audio_test

import (
	"context"
	"errors"
	"io"
	"math"
	"path/filepath"
	"testing"

	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/tensor"
)

// spectrogram writes a sound piece by piece and closes it.
func spectrogram(t *testing.T, samples []float32, pieces ...int) *audio.Spectrogram {
	t.Helper()
	e, err := audio.NewExtractor(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := e.NewSpectrogram()
	for i := 0; len(samples) > 0; i++ {
		n := min(pieces[i%len(pieces)], len(samples))
		s.Write(samples[:n])
		samples = samples[n:]
	}
	s.Close()
	return s
}

// window returns the values of a window [mels,3000].
func window(t *testing.T, s *audio.Spectrogram, from, frames int) []float32 {
	t.Helper()
	w, err := s.Window(from, frames)
	if err != nil {
		t.Fatal(err)
	}
	if shape := w.Shape(); len(shape) != 3 || shape[0] != 1 || shape[2] != 3000 {
		t.Fatal(shape)
	}
	return tensor.Data[float32](w)
}

// longSound is the formula of testdata/audio/openai.py.
func longSound() []float32 {
	samples := make([]float32, 33*16000+77)
	for i := range samples {
		samples[i] = float32(0.5 * math.Sin(float64(i)*0.05) * math.Sin(float64(i)*0.0007))
	}
	return samples
}

// Windows are cut from openai-whisper's spectrogram of the whole sound, and zeros behind it.
func TestSpectrogramEqualsOpenAI(t *testing.T) {
	t.Parallel()
	arrays := readArrays(t, filepath.Join(soundsDir, "openai.npz"))
	for _, name := range []string{"voice", "end", "short", "silence", "long"} {
		samples, every := longSound(), 97
		if name != "long" {
			samples, every = tensor.Data[float32](arrays["sound/"+name]), 1
		}
		s := spectrogram(t, samples, 5000)
		if s.Frames() != len(samples)/160 {
			t.Errorf("%s: %d frames of %d samples", name, s.Frames(), len(samples))
		}
		if want := float64(tensor.Data[float32](arrays["loudest/"+name])[0]); math.Abs(s.Loudest()-want) > 1e-5 {
			t.Errorf("%s: loudest %v, want %v", name, s.Loudest(), want)
		}
		mel := arrays["mel/"+name]
		values, n := tensor.Data[float32](mel), mel.Shape()[1]
		var most float64
		for i := range n {
			from := max(0, i*every-2000) // so that windows begin anywhere
			got := window(t, s, from, 3000)
			for m := range 80 {
				most = math.Max(most, math.Abs(float64(got[m*3000+i*every-from]-values[m*n+i])))
			}
			if i == n-1 {
				for m := range 80 {
					for f := s.Frames() - from; f < 3000; f++ {
						if got[m*3000+f] != 0 {
							t.Fatalf("%s: %v behind the end", name, got[m*3000+f])
						}
					}
				}
			}
		}
		t.Logf("%s: %.2g apart", name, most)
		if most > 1e-4 {
			t.Errorf("%s: %g apart", name, most)
		}
		if name == "silence" && window(t, s, 0, 3000)[0] != -1.5 {
			t.Error("silence is not -1.5")
		}
	}
}

// How a sound is cut into writes changes no bit, and neither does the first pass.
func TestSpectrogramPieces(t *testing.T) {
	t.Parallel()
	samples := longSound()[7:130000]
	samples[129000] = 1.5
	whole := spectrogram(t, samples, len(samples))
	want := window(t, whole, 100, 650)
	for _, pieces := range [][]int{{1}, {159, 160, 161}, {200}, {201}, {7, 20011, 333}} {
		s := spectrogram(t, samples, pieces...)
		if s.Frames() != whole.Frames() || s.Loudest() != whole.Loudest() {
			t.Errorf("pieces of %v: %d frames, loudest %v", pieces, s.Frames(), s.Loudest())
		}
		for i, v := range window(t, s, 100, 650) {
			if v != want[i] {
				t.Fatalf("pieces of %v: value %d is %v, want %v", pieces, i, v, want[i])
			}
		}
	}
	e, err := audio.NewExtractor(nil)
	if err != nil {
		t.Fatal(err)
	}
	loudest, seconds, err := e.Loudest(t.Context(), &pieces{samples, 777})
	if err != nil || loudest != whole.Loudest() || seconds != float64(len(samples))/16000 {
		t.Errorf("first pass: %v, %v s, %v; want %v", loudest, seconds, err, whole.Loudest())
	}
	// With the loudest known, a window before it is as it is afterwards.
	early := e.NewSpectrogram()
	early.SetLoudest(loudest)
	early.Write(samples[:100000])
	for i, v := range window(t, early, 100, 500) {
		if i%3000 < 500 && v != want[i] {
			t.Fatalf("before the end: value %d is %v, want %v", i, v, want[i])
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := e.Loudest(ctx, &pieces{samples, 777}); !errors.Is(err, context.Canceled) {
		t.Errorf("a stopped first pass: %v", err)
	}
	if _, _, err := e.Loudest(t.Context(), &pieces{samples, 0}); !errors.Is(err, io.ErrNoProgress) {
		t.Errorf("a reader that gives nothing: %v", err)
	}
}

// pieces gives samples out, so many at a time.
type pieces struct {
	rest []float32
	size int
}

func (p *pieces) Read(dst []float32) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(dst[:min(len(dst), p.size)], p.rest)
	p.rest = p.rest[n:]
	return n, nil
}

// Forgotten frames are refused, those that are kept stay; and no window is cut from what is not there.
func TestSpectrogramDrop(t *testing.T) {
	t.Parallel()
	e, err := audio.NewExtractor(nil)
	if err != nil {
		t.Fatal(err)
	}
	s := e.NewSpectrogram()
	second := longSound()[:16000]
	for range 120 {
		s.Write(second)
		s.Drop(s.Frames() - 1000)
	}
	if s.Frames() < 11900 {
		t.Fatal(s.Frames())
	}
	got := window(t, s, s.Frames()-1000, 3000)
	if got[0] == 0 || got[999] == 0 || got[1000] != 0 {
		t.Error("the last 1000 frames:", got[0], got[999], got[1000])
	}
	for _, c := range [][2]int{{0, 100}, {s.Frames() - 2000, 100}, {-1, 100}, {s.Frames() + 1, 1}, {s.Frames(), -1}} {
		if w, err := s.Window(c[0], c[1]); !errors.Is(err, audio.ErrSound) {
			t.Errorf("frames from %d, %d of them: %v, %v", c[0], c[1], w, err)
		}
	}
	for _, v := range window(t, s, s.Frames(), 3000) {
		if v != 0 {
			t.Fatal("frames behind the last are not zero")
		}
	}
	empty := spectrogram(t, nil)
	if empty.Frames() != 0 || empty.Loudest() != -10 || window(t, empty, 0, 3000)[0] != 0 {
		t.Error("a sound without samples:", empty.Frames(), empty.Loudest())
	}
	normal, err := audio.NewExtractor([]byte(`{"do_normalize": true}`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := normal.NewSpectrogram().Window(0, 1); !errors.Is(err, audio.ErrSound) {
		t.Errorf("do_normalize: %v", err)
	}
	if _, _, err := normal.Loudest(t.Context(), &pieces{second, 100}); !errors.Is(err, audio.ErrSound) {
		t.Errorf("do_normalize, first pass: %v", err)
	}
}

// Frames of other lengths and hops are those of Features, where a sound is not reflected at its end.
func TestSpectrogramOtherFrames(t *testing.T) {
	t.Parallel()
	for _, config := range []string{
		`{"n_fft": 512, "hop_length": 128, "feature_size": 20}`, `{"n_fft": 401, "hop_length": 401}`, `{"n_fft": 2, "hop_length": 1}`,
	} {
		e, err := audio.NewExtractor([]byte(config))
		if err != nil {
			t.Fatal(err)
		}
		samples := append(longSound()[:3*1024:3*1024], make([]float32, 1024)...)
		features, err := e.Features(t.Context(), samples)
		if err != nil {
			t.Fatal(err)
		}
		s := e.NewSpectrogram()
		for i := range 64 {
			s.Write(samples[i*64 : (i+1)*64])
		}
		s.Close()
		w, err := s.Window(0, s.Frames())
		if err != nil {
			t.Fatal(err)
		}
		frames, columns := features.Shape()[1], w.Shape()[2]
		for i, v := range tensor.Data[float32](features) {
			if got := tensor.Data[float32](w)[i/frames*columns+i%frames]; got != v {
				t.Fatalf("%s: band %d, frame %d: %v, want %v", config, i/frames, i%frames, got, v)
			}
		}
	}
}

func BenchmarkSpectrogram(b *testing.B) {
	e, err := audio.NewExtractor(nil)
	if err != nil {
		b.Fatal(err)
	}
	samples := longSound()[:30*16000]
	for b.Loop() {
		s := e.NewSpectrogram()
		s.Write(samples)
		s.Close()
		if _, err := s.Window(0, 3000); err != nil {
			b.Fatal(err)
		}
	}
}
