package audio_test

import (
	"archive/zip"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/crossattn/xpipe/audio"
	_ "github.com/crossattn/xpipe/audio/codecs"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/tensor"
)

const soundsDir = "../testdata/audio"

// golden reads what the references make of the files of soundsDir; make golden-audio makes it.
func golden(t *testing.T) map[string]*tensor.Tensor {
	t.Helper()
	return readArrays(t, filepath.Join(soundsDir, "golden.npz"))
}

func readArrays(t *testing.T, path string) map[string]*tensor.Tensor {
	t.Helper()
	file, err := zip.OpenReader(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	arrays := map[string]*tensor.Tensor{}
	for _, member := range file.File {
		r, err := member.Open()
		if err != nil {
			t.Fatal(err)
		}
		arrays[strings.TrimSuffix(member.Name, ".npy")], err = tensor.ReadNpy(r)
		if err = errors.Join(err, r.Close()); err != nil {
			t.Fatal(err)
		}
	}
	return arrays
}

// apart returns the greatest difference of two sounds, infinite where one is longer.
func apart(got []float32, want *tensor.Tensor) float64 {
	w := tensor.Data[float32](want)
	if len(got) != len(w) {
		return math.Inf(1)
	}
	var most float64
	for i, v := range got {
		most = math.Max(most, math.Abs(float64(v-w[i])))
	}
	return most
}

// Files of every format give libsndfile's samples, and at 16,000 a second soxr's: the first exactly
// where nothing is lost, the second to 5e-5; what is less exact says why.
func TestFilesEqualReferences(t *testing.T) {
	t.Parallel()
	arrays := golden(t)
	tolerances := map[string][2]float64{
		".wav": {0, 5e-5}, ".flac": {0, 2e-5}, ".ogg": {1e-6, 2e-5},
		".mp3":      {5e-4, 5e-4}, // decoded to 16 bits
		".opus":     {5e-6, 2e-5}, // music
		"mulaw.wav": {0, 2e-3},    // from 8,000 a second the bands of the two filters differ above 3,650 Hz
		"alaw.wav":  {0, 2e-3},    //
	}
	files, err := filepath.Glob(filepath.Join(soundsDir, "*.[wfmo]*"))
	if err != nil || len(files) < 19 {
		t.Fatal(len(files), "files", err)
	}
	for _, file := range files {
		name := filepath.Base(file)
		if name == "voice.opus" {
			continue // TestVoiceOpus
		}
		tolerance, ok := tolerances[name]
		if !ok {
			tolerance = tolerances[filepath.Ext(name)]
		}
		for i, prefix := range []string{"", "16k/"} {
			opts := []audio.Option{audio.WithoutFFmpeg()}
			if prefix != "" {
				opts = append(opts, audio.WithRate(16000))
			}
			sound, err := audio.DecodeFile(t.Context(), file, opts...)
			if err != nil {
				t.Error(err)
				continue
			}
			want := arrays[prefix+name]
			if d := apart(sound.Samples, want); d > tolerance[i] {
				t.Errorf("%s%s: %g apart, at most %g; %d samples, %v", prefix, name, d, tolerance[i], len(sound.Samples), want)
			}
		}
	}
}

// Opus of speech has the features of FFmpeg's decoder, nearly: the decoder's resampler, which Opus
// leaves to each, comes up to 4 samples of 48,000 a second early.
func TestVoiceOpus(t *testing.T) {
	t.Parallel()
	sound, err := audio.DecodeFile(t.Context(), filepath.Join(soundsDir, "voice.opus"), audio.WithRate(16000), audio.WithoutFFmpeg())
	if err != nil {
		t.Fatal(err)
	}
	e, err := audio.NewExtractor(nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.Features(t.Context(), sound.Samples)
	if err != nil {
		t.Fatal(err)
	}
	want, err := e.Features(t.Context(), tensor.Data[float32](golden(t)["16k/voice.opus"]))
	if err != nil {
		t.Fatal(err)
	}
	var sum, most float64
	for i, w := range tensor.Data[float32](want) {
		d := math.Abs(float64(tensor.Data[float32](got)[i] - w))
		sum, most = sum+d, math.Max(most, d)
	}
	t.Log(sum/float64(want.Len()), most)
	if mean := sum / float64(want.Len()); mean > 0.01 || most > 0.3 {
		t.Errorf("features are %.3g apart on average, at most %.3g", mean, most)
	}
}

// The features are those of WhisperFeatureExtractor, for a window and for the sound as it is.
func TestFeaturesEqualTransformers(t *testing.T) {
	t.Parallel()
	arrays := golden(t)
	sound, err := audio.DecodeFile(t.Context(), filepath.Join(soundsDir, "16.wav"))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ config, mels string }{
		{`{}`, "mel/80"},
		{`{"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 128}`, "mel/128"},
	} {
		e, err := audio.NewExtractor([]byte(c.config))
		if err != nil {
			t.Fatal(err)
		}
		prepared, err := e.Prepare(t.Context(), []media.Item{sound, sound})
		if err != nil {
			t.Fatal(err)
		}
		got := prepared.Tensors["input_features"]
		frames := got.Shape()[2]
		if frames != 3000 || prepared.Rows[1] != [2]int{1, 2} {
			t.Fatal(got, prepared.Rows)
		}
		values := tensor.Data[float32](got)[e.Mels()*frames:]
		compare := func(name string, values []float32, frames, from int) {
			t.Helper()
			want := arrays[name]
			n := want.Shape()[1]
			for b := range e.Mels() {
				row := tensor.Data[float32](want)[b*n : (b+1)*n]
				for i, w := range row {
					if v := values[b*frames+from+i]; math.Abs(float64(v-w)) > 1e-5 {
						t.Fatalf("%s: band %d, frame %d: %v, want %v", name, b, from+i, v, w)
					}
				}
			}
		}
		compare(c.mels, values, frames, 0)
		compare(c.mels+"/last", values, frames, frames-2)
		bare, err := e.Features(t.Context(), sound.Samples)
		if err != nil {
			t.Fatal(err)
		}
		compare(c.mels+"/bare", tensor.Data[float32](bare), bare.Shape()[1], 0)
	}
}

// A stream gives the same whatever blocks are read, and a resampler whatever blocks are written.
func TestBlocks(t *testing.T) {
	t.Parallel()
	path := filepath.Join(soundsDir, "24.wav")
	whole, err := audio.DecodeFile(t.Context(), path, audio.WithRate(16000))
	if err != nil {
		t.Fatal(err)
	}
	for _, block := range []int{1, 7, 1000, 100000} {
		f, err := os.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		s, err := audio.Open(t.Context(), f, audio.WithRate(16000))
		if err != nil {
			t.Fatal(err)
		}
		var all []float32
		buffer := make([]float32, block)
		for {
			n, err := s.Read(buffer)
			all = append(all, buffer[:n]...)
			if err != nil {
				break
			}
		}
		if want := tensor.Must(tensor.New([]int{len(whole.Samples)}, whole.Samples)); apart(all, want) != 0 {
			t.Errorf("blocks of %d give another sound", block)
		}
		s.Close()
		f.Close()
	}
	native, err := audio.DecodeFile(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	r := audio.NewResampler(native.Rate, 16000)
	var pieces []float32
	for at := 0; at < len(native.Samples); at += 37 {
		pieces = r.Write(pieces, native.Samples[at:min(at+37, len(native.Samples))])
	}
	pieces = r.Close(pieces)
	if want := tensor.Must(tensor.New([]int{len(whole.Samples)}, whole.Samples)); apart(pieces, want) != 0 {
		t.Error("a resampler written piece by piece gives another sound")
	}
}

// What a file holds is found by its bytes, and what cannot be read is told.
func TestBadSounds(t *testing.T) {
	t.Parallel()
	good := func(name string) string {
		data, err := os.ReadFile(filepath.Join(soundsDir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	wav := good("16.wav")
	nan := "RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00\x03\x00\x01\x00\x80\x3e\x00\x00\x00\xfa\x00\x00\x04\x00\x20\x00" +
		"data\xff\xff\xff\xff" + "\x00\x00\xc0\x7f" + "\x00\x00\x80\x7f" + "\x00\x00\x80\x3f"
	for _, c := range []struct{ name, data, says string }{
		{"empty", "", "empty"},
		{"text", "hello, this is no sound at all", "not known"},
		{"M4A", "\x00\x00\x00\x20ftypM4A \x00\x00\x00\x00", "MP4 or M4A is not read"},
		{"MP3 of MPEG-2.5", "\xff\xe3\x18\xc4" + strings.Repeat("\x00", 60), "MPEG-2.5"},
		{"RIFF of a film", "RIFF\x10\x00\x00\x00AVI LIST", "not a WAVE"},
		{"no data", wav[:36], "no chunk of data"},
		{"data before the format", wav[:12] + wav[36:44], "before their format"},
		{"no channels", wav[:22] + "\x00\x00" + wav[24:], "0 channels"},
		{"no rate", wav[:24] + "\x00\x00\x00\x00" + wav[28:], "0 samples"},
		{"lying rate", wav[:24] + "\xff\xff\xff\x7f" + wav[28:], "samples a second"},
		{"many channels", wav[:22] + "\xff\xff" + wav[24:], "channels"},
		{"compressed WAV", wav[:20] + "\x55\x00" + wav[22:], "0x55"},
		{"only a FLAC's magic", "fLaC", "FLAC"},
		{"a FLAC cut in its head", good("16.flac")[:20], "FLAC"},
		{"an Ogg of nothing", "OggS" + strings.Repeat("\x00", 80), "neither Vorbis nor Opus"},
		{"an Ogg cut in its head", good("vorbis.ogg")[:80], "vorbis"},
		{"an Opus cut in its head", good("opus.opus")[:30], "Ogg"},
		{"an ID3 tag that is cut off", "ID3\x03\x00\x00\x00\x00\x7f\x7f" + "xx", "ID3"},
	} {
		_, err := audio.Decode(t.Context(), strings.NewReader(c.data), audio.WithoutFFmpeg())
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	for _, c := range []struct {
		name, data string
		least      int
	}{
		{"a WAV cut in its data", wav[:2001], 900},
		{"a FLAC cut in its data", good("16.flac")[:20000], 3000},
		{"an MP3 cut in its data", good("stereo.mp3")[:3000], 1000},
		{"a Vorbis cut in its data", good("vorbis.ogg")[:9000], 0},
		{"an Opus cut in its data", good("opus.opus")[:3000], 0},
	} {
		sound, err := audio.Decode(t.Context(), strings.NewReader(c.data), audio.WithoutFFmpeg())
		if err != nil || len(sound.Samples) < c.least {
			t.Errorf("%s: %v, %v", c.name, sound, err)
		}
	}
	sound, err := audio.Decode(t.Context(), strings.NewReader(nan))
	if err != nil || len(sound.Samples) != 3 || sound.Samples[0] != 0 || sound.Samples[1] != 0 || sound.Samples[2] != 1 {
		t.Errorf("samples that are no numbers: %v, %v", sound, err)
	}
	_, err = audio.Decode(t.Context(), strings.NewReader(wav), audio.WithLimits(audio.Limits{Seconds: 0.1}))
	if err == nil || !strings.Contains(err.Error(), "0 s") {
		t.Errorf("a limit of time: %v", err)
	}
}

// A block of a file that claims a rate far below the one asked for does not become a long one: a second of
// its samples would be 16,000.
func TestSlowSounds(t *testing.T) {
	t.Parallel()
	data, err := os.ReadFile(filepath.Join(soundsDir, "16.wav"))
	if err != nil {
		t.Fatal(err)
	}
	slow := string(data[:24]) + "\x01\x00\x00\x00" + string(data[28:])
	s, err := audio.Open(t.Context(), strings.NewReader(slow), audio.WithRate(16000))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	block, total := make([]float32, 1<<20), 0
	for total < 1<<20 {
		n, err := s.Read(block)
		if err != nil || n == 0 || n > 1<<17 {
			t.Fatalf("%d samples at once, %v", n, err)
		}
		total += n
	}
}

// Configurations whose features would be none, or take more memory than machines have, are refused.
func TestFeaturesOutOfBounds(t *testing.T) {
	t.Parallel()
	for _, config := range []string{
		`{"chunk_length":1,"sampling_rate":1000,"hop_length":2000,"n_fft":4000}`,
		`{"chunk_length":3600,"hop_length":1,"feature_size":1024}`,
		`{"chunk_length":3600,"sampling_rate":768000}`,
	} {
		if _, err := audio.NewExtractor([]byte(config)); !errors.Is(err, audio.ErrSound) {
			t.Errorf("%s: %v", config, err)
		}
	}
	if _, err := audio.NewExtractor([]byte(`{"chunk_length":3600,"feature_size":128}`)); err != nil {
		t.Error(err)
	}
}

// What this package does not read goes through ffmpeg, whose WAV is read as it comes.
func TestFFmpeg(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("the ffmpeg of this test is a shell script")
	}
	wav, err := filepath.Abs(filepath.Join(soundsDir, "float.wav"))
	if err != nil {
		t.Fatal(err)
	}
	fake := func(body string) audio.Option {
		path := filepath.Join(t.TempDir(), "ffmpeg")
		if err := os.WriteFile(path, []byte("#!/bin/sh\n"+body+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
		return audio.WithFFmpeg(path)
	}
	m4a := "\x00\x00\x00\x20ftypM4A " + strings.Repeat("\x00", 200_000)
	sound, err := audio.Decode(t.Context(), strings.NewReader(m4a), fake("cat >/dev/null; cat '"+wav+"'"))
	if err != nil || apart(sound.Samples, golden(t)["float.wav"]) != 0 {
		t.Errorf("%v, %v", sound, err)
	}
	_, err = audio.Decode(t.Context(), strings.NewReader(m4a), fake("echo no sound in it >&2; exit 1"))
	if err == nil || !strings.Contains(err.Error(), "no sound in it") {
		t.Errorf("a failing ffmpeg: %v", err)
	}
	_, err = audio.Decode(t.Context(), strings.NewReader(m4a), fake("cat '"+wav+"'; echo lost the rest >&2; exit 1"))
	if err == nil || !strings.Contains(err.Error(), "lost the rest") {
		t.Errorf("an ffmpeg that fails at its end: %v", err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	if _, err = audio.Decode(ctx, strings.NewReader(m4a), fake("exec sleep 60")); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a stopped one: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	files, _ := filepath.Glob(filepath.Join(soundsDir, "*.[wfmo]*"))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data[:min(len(data), 4000)])
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		_, _ = audio.Decode(t.Context(), strings.NewReader(string(data)), audio.WithoutFFmpeg(), audio.WithRate(16000),
			audio.WithLimits(audio.Limits{Seconds: 60, Channels: 8, Rate: 96000}))
	})
}

func BenchmarkFeatures(b *testing.B) {
	e, err := audio.NewExtractor([]byte(`{}`))
	if err != nil {
		b.Fatal(err)
	}
	samples := make([]float32, e.Window())
	for i := range samples {
		samples[i] = float32(math.Sin(float64(i)*0.05) * math.Sin(float64(i)*0.0007))
	}
	for b.Loop() {
		if _, err := e.Features(b.Context(), samples); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkResample(b *testing.B) {
	samples := make([]float32, 44100)
	out := make([]float32, 0, 17000)
	for b.Loop() {
		r := audio.NewResampler(44100, 16000)
		r.Close(r.Write(out, samples))
	}
}
