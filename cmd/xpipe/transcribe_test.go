package main

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/speech"
)

// tinyHearer writes down sounds, without sense.
const tinyHearer = "../../testdata/families/whisper/bundle"

// counting hears in each second of a sound its number.
type counting struct{}

var spokenNumbers = []string{"zero", "one", "two", "three", "four"}

func (c counting) TranscribeFile(
	ctx context.Context, path string, opts ...pipeline.TranscribeOption,
) (*pipeline.Transcript, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var o pipeline.Transcription
	for _, opt := range opts {
		opt(&o)
	}
	s, err := audio.Open(ctx, f, append(o.Sound, audio.WithRate(16000), audio.WithoutFFmpeg())...)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	defer s.Close()
	t, err := c.TranscribeStream(ctx, s, opts...)
	if err != nil {
		err = fmt.Errorf("%s: %w", path, err)
	}
	return t, err
}

func (c counting) TranscribeStream(
	ctx context.Context, s *audio.Stream, opts ...pipeline.TranscribeOption,
) (*pipeline.Transcript, error) {
	o := speech.DefaultOptions()
	for _, opt := range opts {
		opt(&o)
	}
	if o.Language == "xx" {
		return nil, fmt.Errorf("%w: language %q is none of the model's: en, fr", pipeline.ErrOption, o.Language)
	}
	heard := &pipeline.Transcript{Language: "en", NoSpeech: math.NaN(), Segments: []pipeline.Segment{}}
	second := make([]float32, s.Rate())
	for going := true; going; {
		n := 0
		var err error
		for n < len(second) && err == nil {
			var more int
			more, err = s.Read(second[n:])
			n += more
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, err
		}
		going = err == nil
		if n < len(second)/2 {
			heard.Seconds += float64(n) / float64(s.Rate())
			break
		}
		segment := pipeline.Segment{
			Start: heard.Seconds, End: heard.Seconds + 1, Text: " " + spokenNumbers[len(heard.Segments)%len(spokenNumbers)],
			IDs: []int64{int64(len(heard.Segments))}, LogProb: math.Inf(-1),
		}
		if o.Words {
			segment.Words = []pipeline.SpokenWord{{Start: segment.Start + 0.25, End: segment.End, Text: segment.Text, Probability: 0.5}}
		}
		heard.Seconds++
		heard.Text += segment.Text
		heard.IDs = append(heard.IDs, segment.IDs...)
		heard.Segments = append(heard.Segments, segment)
		if o.Progress != nil {
			o.Progress(heard.Seconds)
		}
		if o.Emit != nil && !o.Emit(segment) {
			break
		}
	}
	return heard, nil
}

// transcribe runs the verb with what counts.
func transcribe(
	t *testing.T, stdin io.Reader, args ...string,
) (code int, stdout, stderr string) {
	t.Helper()
	env, out, errs := testEnvironment()
	env.stdin, env.hearer = stdin, counting{}
	args = append([]string{"transcribe", "--engine", "go", "-m", tinyHearer}, args...)
	code = execute(t.Context(), env, args)
	return code, out.String(), errs.String()
}

// samples are s16le of so many seconds at 16,000 a second.
func samples(seconds float64) []byte {
	data := make([]byte, 2*int(16000*seconds))
	for i := 0; i < len(data); i += 2 {
		binary.LittleEndian.PutUint16(data[i:], uint16(3000*(i/2%7)))
	}
	return data
}

// wave is a WAV of so many seconds.
func wave(seconds float64) []byte {
	data := samples(seconds)
	head := []byte("RIFF\x00\x00\x00\x00WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00\x80\x3e\x00\x00\x00\x7d\x00\x00\x02\x00\x10\x00data")
	binary.LittleEndian.PutUint32(head[4:], uint32(36+len(data)))
	return append(binary.LittleEndian.AppendUint32(head, uint32(len(data))), data...)
}

// sounds writes files into a folder.
func sounds(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, data := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestTranscribeText(t *testing.T) {
	t.Parallel()
	dir := sounds(t, map[string][]byte{"a.wav": wave(2), "b/c.WAV": wave(1), "b/notes.txt": []byte("x")})
	a, c := filepath.Join(dir, "a.wav"), filepath.Join(dir, "b/c.WAV")
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{a}, "zero\none\n"},
		{[]string{a, "--words"}, "[00:00.250 --> 00:01.000]  zero\n[00:01.250 --> 00:02.000]  one\n"},
		{[]string{dir}, a + ": zero one\n" + c + ": zero\n"},
		{[]string{a, c, "--words"}, a + ":\n[00:00.250 --> 00:01.000]  zero\n[00:01.250 --> 00:02.000]  one\n" +
			c + ":\n[00:00.250 --> 00:01.000]  zero\n"},
		{[]string{dir + "/{a,none}.wav"}, a + ": zero one\n"},
	} {
		code, stdout, stderr := transcribe(t, nil, test.args...)
		if stdout != test.want || code != api.ExitOK && !strings.Contains(test.args[0], "none") {
			t.Errorf("%v: exit %d, %q, %s", test.args, code, stdout, stderr)
		}
	}
	code, _, stderr := transcribe(t, nil, dir, t.TempDir(), "--strict")
	if code != api.ExitOther || !strings.Contains(stderr, "1 skipped: 1 folder without sounds") {
		t.Errorf("--strict: exit %d, %s", code, stderr)
	}
}

func TestTranscribeStandardInput(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		stdin []byte
		args  []string
		want  string
	}{
		{wave(3), []string{"-"}, "zero\none\ntwo\n"},
		{samples(2), []string{"-", "--raw", "16000"}, "zero\none\n"},
		{samples(2), []string{"-", "--raw", "8000x2:s16le"}, "zero\none\n"},
		{samples(2), []string{"-", "--raw", "64000:mulaw"}, "zero\n"},
	} {
		code, stdout, stderr := transcribe(t, bytes.NewReader(test.stdin), test.args...)
		if code != 0 || stdout != test.want {
			t.Errorf("%v: exit %d, %q, %s", test.args, code, stdout, stderr)
		}
	}
	raw := filepath.Join(sounds(t, map[string][]byte{"x.pcm": samples(1)}), "x.pcm")
	if code, stdout, stderr := transcribe(t, nil, raw, "--raw", "16000"); stdout != "zero\n" {
		t.Errorf("samples in a file: exit %d, %q, %s", code, stdout, stderr)
	}
}

func TestTranscribeFiles(t *testing.T) {
	t.Parallel()
	dir := sounds(t, map[string][]byte{"a.wav": wave(2), "b.wav": wave(1), "full.srt": []byte("mine")})
	a := filepath.Join(dir, "a.wav")
	out := func(name string) string { return filepath.Join(dir, name) }
	for name, want := range map[string]string{
		"a.srt": "1\n00:00:00,000 --> 00:00:01,000\nzero\n\n2\n00:00:01,000 --> 00:00:02,000\none\n\n",
		"a.vtt": "WEBVTT\n\n00:00.000 --> 00:01.000\nzero\n\n00:01.000 --> 00:02.000\none\n\n",
		"a.tsv": "start\tend\ttext\n0\t1000\tzero\n1000\t2000\tone\n",
		"a.TXT": "zero\none\n",
	} {
		code, stdout, stderr := transcribe(t, nil, a, "-o", out(name))
		got, _ := os.ReadFile(out(name))
		if code != 0 || stdout != "" || string(got) != want || !strings.Contains(stderr, "1 of 1 done, 0 failed, in") ||
			strings.Contains(stderr, "--resume") {
			t.Errorf("%s: exit %d, %q, %s\n%s", name, code, stdout, stderr, got)
		}
	}
	_, _, stderr := transcribe(t, nil, a, "-o", out("b.srt"), "--highlight-words", "--quiet")
	got, _ := os.ReadFile(out("b.srt"))
	if !strings.Contains(string(got), "<u>zero</u>") || stderr != "" {
		t.Errorf("%s\n%s", stderr, got)
	}
	code, _, stderr := transcribe(t, nil, a, "-o", out("full.srt"))
	if got, _ := os.ReadFile(out("full.srt")); code != api.ExitUsage || string(got) != "mine" ||
		!strings.Contains(stderr, "--overwrite") {
		t.Errorf("exit %d, %s, %s", code, stderr, got)
	}
	if code, _, stderr := transcribe(t, nil, a, "-o", out("full.srt"), "--overwrite"); code != 0 {
		t.Errorf("exit %d, %s", code, stderr)
	}
}

func TestTranscribeSidecars(t *testing.T) {
	t.Parallel()
	dir := sounds(t, map[string][]byte{"a.wav": wave(2), "b.wav": wave(1), "b.srt": []byte("mine")})
	code, stdout, stderr := transcribe(t, nil, dir, "--sidecar", "--format", "srt,txt")
	for name, want := range map[string]string{"a.txt": "zero\none\n", "b.txt": "zero\n", "b.srt": "mine"} {
		if got, err := os.ReadFile(filepath.Join(dir, name)); string(got) != want {
			t.Errorf("%s: %q, %v", name, got, err)
		}
	}
	if code != 0 || strings.Count(stdout, "\n") != 2 {
		t.Errorf("exit %d, %q, %s", code, stdout, stderr)
	}
	code, stdout, stderr = transcribe(t, nil, dir, "--sidecar")
	if code != 0 || stdout != "" || !strings.Contains(stderr, "2 transcripts were there already") {
		t.Errorf("again: exit %d, %q, %s", code, stdout, stderr)
	}
}

func TestTranscribeJSON(t *testing.T) {
	t.Parallel()
	root := loadSchema(t)
	dir := sounds(t, map[string][]byte{"a.wav": wave(2), "bad.wav": []byte("no sound at all")})
	a := filepath.Join(dir, "a.wav")
	code, stdout, stderr := transcribe(t, nil, "--json", "--words", a, filepath.Join(dir, "bad.wav"))
	first, second, _ := strings.Cut(stdout, "\n")
	if code != api.ExitOther {
		t.Errorf("exit %d, %s", code, stderr)
	}
	checkLines(t, root, "transcript", "of two", first)
	checkLines(t, root, "sound_failure", "of two", second)
	var line api.AudioTranscript
	if err := json.Unmarshal([]byte(first), &line); err != nil {
		t.Fatal(err)
	}
	if line.Text != "zero one" || line.AudioSeconds != 2 || len(line.Segments) != 2 || line.Segments[1].Text != "one" ||
		line.Segments[1].Words[0].Start != 1.25 || !slices.Equal(line.IDs, []int64{0, 1}) ||
		line.Settings["word_timestamps"] != true || len(line.Settings) != 1 {
		t.Errorf("%s", first)
	}
}

// A run goes on where one ended: what is done stays, what failed is tried again, and other settings are
// refused.
func TestTranscribeResume(t *testing.T) {
	t.Parallel()
	dir := sounds(t, map[string][]byte{"in/a.wav": wave(2), "in/b.wav": []byte("RIFF"), "in/c.wav": wave(1)})
	in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out.jsonl")
	code, _, stderr := transcribe(t, nil, in, "-o", out)
	if code != api.ExitOther || !strings.Contains(stderr, ", 3s heard") ||
		!strings.Contains(stderr, "1 of 3 sounds failed") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	before, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	if code, _, stderr := transcribe(t, nil, in, "-o", out); code != api.ExitUsage {
		t.Errorf("without --resume: exit %d, %s", code, stderr)
	}
	for _, flags := range [][]string{{"--words"}, {"--temperature", "0"}, {"--language", "fr"}, {"--raw", "8000"}} {
		args := append([]string{in, "-o", out, "--resume"}, flags...)
		if code, _, stderr := transcribe(t, nil, args...); code != api.ExitUsage {
			t.Errorf("%v: exit %d, %s", flags, code, stderr)
		}
	}
	if err := os.WriteFile(filepath.Join(in, "b.wav"), wave(1), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(out, append(before, `{"audio":"in/`...), 0o666); err != nil { // a kill leaves half a line
		t.Fatal(err)
	}
	code, _, stderr = transcribe(t, nil, in, "-o", out, "--resume", "--best-of", "5")
	if code != 0 || !strings.Contains(stderr, ", 1s heard") {
		t.Errorf("exit %d, %s", code, stderr)
	}
	data, err := os.ReadFile(out)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, line := range lines(t, string(data)) {
		names = append(names, filepath.Base(line["audio"].(string)))
	}
	if !slices.Equal(names, []string{"a.wav", "c.wav", "b.wav"}) {
		t.Errorf("%v\n%s", names, data)
	}
}

func TestTranscribeRefuses(t *testing.T) {
	t.Parallel()
	dir := sounds(t, map[string][]byte{
		"a.wav": wave(1), "text.wav": []byte("a text\n"), "empty.wav": nil, "head.wav": wave(1)[:44], "cut.wav": wave(1)[:20],
		"p.png": []byte("\x89PNG\r\n\x1a\nrest"), "silent/x.txt": nil, "b.wav": wave(1), "s.tar": make([]byte, 1024),
		"d.srt": wave(1),
	})
	a := filepath.Join(dir, "a.wav")
	for _, test := range []struct {
		args string
		code int
		says string
	}{
		{"", api.ExitUsage, "transcribe needs AUDIO"},
		{"DIR/none.wav", api.ExitInput, "none.wav"},
		{"DIR/text.wav", api.ExitInput, "text.wav"},
		{"DIR/empty.wav", api.ExitInput, "empty"},
		{"DIR/cut.wav", api.ExitInput, "cut.wav"},
		{"DIR/p.png", api.ExitInput, "xpipe caption"},
		{"DIR/s.tar", api.ExitInput, "unpack it"},
		{"DIR/silent", api.ExitInput, "no sounds in it (.wav"},
		{"DIR/*.flac", api.ExitInput, "no file matches"},
		{"https://x.org/a.mp3", api.ExitInput, "xpipe transcribe -"},
		{"--list A", api.ExitInput, "a sound, not a list of sounds"},
		{"A --language xx", api.ExitUsage, "none of the model's"},
		{"DIR/a.wav DIR/b.wav --language xx", api.ExitUsage, "none of the model's"},
		{"A --task translat", api.ExitUsage, `did you mean "translate"?`},
		{"A --temperature hot", api.ExitUsage, "0,0.2,0.4"},
		{"A --temperature -1", api.ExitUsage, "0 or more"},
		{"A --no-speech-threshold x", api.ExitUsage, "nor none"},
		{"A --num-beams 0", api.ExitUsage, "num_beams must be 1 or more"},
		{"A --raw 16k", api.ExitUsage, "44100x2:f32le"},
		{"A --raw 16000:s16", api.ExitUsage, `did you mean "s16le"?`},
		{"A --temperature 0 --seed 1", api.ExitUsage, "--seed has no effect without a --temperature above 0"},
		{"A --temperature 0.5 --num-beams 2", api.ExitUsage, "without a --temperature of 0"},
		{"A --batched 4", api.ExitUsage, "--batched=4"},
		{"A --batched=-1", api.ExitUsage, "batched"},
		{"A --max-line-count 2 -o x.srt", api.ExitUsage, "without --max-line-width"},
		{"A --max-line-width 20", api.ExitUsage, "give --out FILE.srt"},
		{"A --max-line-width 20 -o x.txt", api.ExitUsage, "give --out FILE.srt"},
		{"A --max-line-width 20 --max-words-per-line 3 -o x.srt", api.ExitUsage, "exclude"},
		{"A --max-line-width -3 -o x.srt", api.ExitUsage, "1 or more"},
		{"A --no-timestamps -o x.srt", api.ExitUsage, "--no-timestamps"},
		{"A --format vtt", api.ExitUsage, "--format needs --sidecar"},
		{"A --sidecar --format lrc", api.ExitUsage, "srt, vtt, tsv or txt"},
		{"A --overwrite", api.ExitUsage, "--overwrite needs"},
		{"A -o x.lrc", api.ExitUsage, ".srt, .vtt"},
		{"A --voice-model x --no-voice-check", api.ExitUsage, "no effect with --no-voice-check"},
		{"A --voice-model DIR", api.ExitModel, "silero_vad.onnx"},
		{"A -o x.srt --resume", api.ExitUsage, "--resume needs"},
		{"DIR -o x.srt", api.ExitUsage, "--sidecar --format srt"},
		{"- --sidecar", api.ExitInput, "no place for a .srt"},
		{"DIR/d.srt --sidecar", api.ExitInput, "over itself"},
		{"A --wrods", api.ExitUsage, "did you mean --words?"},
	} {
		var args []string
		for _, arg := range strings.Fields(test.args) {
			arg = strings.Replace(arg, "DIR", dir, 1)
			if arg == "A" {
				arg = a
			}
			args = append(args, arg)
		}
		code, stdout, stderr := transcribe(t, strings.NewReader(""), args...)
		if code != test.code || !strings.Contains(stderr, test.says) || strings.Count(stderr, "\n") != 1 {
			t.Errorf("%s: exit %d, %q, %s", test.args, code, stdout, stderr)
		}
	}
	// Models that do not hear, and one that is not there.
	for _, test := range []struct {
		args []string
		code int
		says string
	}{
		{[]string{"-m", tinyWriter, a}, api.ExitModel, "does not hear; there are xpipe caption"},
		{[]string{"-m", "none/none", a}, api.ExitModel, "cache of the hub"},
	} {
		code, _, stderr := xpipe(t, "", append([]string{"transcribe", "--engine", "go"}, test.args...)...)
		if code != test.code || !strings.Contains(stderr, test.says) {
			t.Errorf("%v: exit %d, %s", test.args, code, stderr)
		}
	}
}

// caption and ask say which verb hears.
func TestSoundsOfOtherVerbs(t *testing.T) {
	t.Parallel()
	a := filepath.Join(sounds(t, map[string][]byte{"a.wav": wave(1)}), "a.wav")
	for _, args := range [][]string{{"caption", a}, {"ask", a, "what is said?"}} {
		code, _, stderr := xpipe(t, "", append(args, "--engine", "go", "-m", tinyWriter)...)
		if code != api.ExitInput || !strings.Contains(stderr, "xpipe transcribe "+a) {
			t.Errorf("%v: exit %d, %s", args, code, stderr)
		}
	}
}

// A sound that comes is written down as it does, the user's signal ends it, and what was said before
// is kept.
func TestTranscribeLive(t *testing.T) {
	t.Parallel()
	in, sound := io.Pipe()
	env, _, errs := testEnvironment()
	shown := make(chan string, 10)
	env.stdin, env.hearer, env.stdout = in, counting{}, toChannel(shown)
	signals := make(chan os.Signal, 1)
	env.interrupts = func() (<-chan os.Signal, func()) { return signals, func() {} }
	done := make(chan int)
	go func() {
		done <- execute(t.Context(), env, []string{
			"transcribe", "--engine", "go", "-m", tinyHearer, "-", "--raw", "16000"})
	}()
	for i := range 3 {
		if _, err := sound.Write(samples(1.25)); err != nil {
			t.Fatal(err)
		}
		if got := <-shown; got != spokenNumbers[i]+"\n" { // while the sound goes on
			t.Errorf("%q", got)
		}
	}
	signals <- os.Interrupt
	if code := <-done; code != api.ExitOK {
		t.Errorf("exit %d, %s", code, errs.String())
	}
	if got := <-shown; got != "three\n" { // the rest, of three quarters of a second
		t.Errorf("%q", got)
	}
}

type toChannel chan string

func (c toChannel) Write(data []byte) (int, error) {
	c <- string(data)
	return len(data), nil
}

// A second signal ends all, also while a pipe is silent.
func TestTranscribeInterrupted(t *testing.T) {
	t.Parallel()
	in, _ := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	e := newEndable(ctx, in)
	cancel()
	if n, err := e.Read(make([]byte, 10)); n != 0 || !errors.Is(err, context.Canceled) {
		t.Errorf("%d, %v", n, err)
	}
	// A pipe that never ends is not heard for ever.
	e = newEndable(t.Context(), endless{})
	e.end()
	if n, err := io.Copy(io.Discard, e); err != nil || n > stillHeard {
		t.Errorf("%d, %v", n, err)
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// A model that hears in pieces writes down a sound, too, and says what it does not do.
func TestTranscribePieces(t *testing.T) {
	t.Parallel()
	const model, sound = "../../testdata/layouts/moonshine-transformersjs", "../../testdata/speech/jfk.flac"
	args := []string{"transcribe", "--engine", "go", "-m", model, sound}
	code, stdout, stderr := xpipe(t, "", append(args, "--json")...)
	var line struct {
		Text     string
		Segments []struct{ Start, End float64 }
	}
	if err := json.Unmarshal([]byte(stdout), &line); err != nil || code != api.ExitOK || line.Text == "" || len(line.Segments) != 1 {
		t.Fatalf("exit %d, %q, %s", code, stdout, stderr)
	}
	if s := line.Segments[0]; s.Start > 1 || s.End < 10 || s.End > 11 {
		t.Errorf("from %.2f s to %.2f s", s.Start, s.End)
	}
	code, _, stderr = xpipe(t, "", append(args, "--words")...)
	if code == api.ExitOK || !strings.Contains(stderr, "words: this model has no such option") {
		t.Errorf("--words: exit %d, %s", code, stderr)
	}
}
