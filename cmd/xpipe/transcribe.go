package main

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/audio"
	_ "github.com/crossattn/xpipe/audio/codecs" // the command reads FLAC, MP3, Vorbis and Opus, too
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/speech"
	"github.com/spf13/cobra"
)

// hearingModel is the embedded model that hears.
const hearingModel = mini.Whisper

// transcriber is what the verb uses of a pipeline.
type transcriber interface {
	TranscribeFile(
		ctx context.Context, path string, opts ...pipeline.TranscribeOption,
	) (*pipeline.Transcript, error)
	TranscribeStream(
		ctx context.Context, sound *audio.Stream, opts ...pipeline.TranscribeOption,
	) (*pipeline.Transcript, error)
}

type transcribeOptions struct {
	modelOptions
	batchOptions
	subtitles api.SubtitleOptions

	changes   []pipeline.TranscribeOption // of the flags that are given
	voice     string                      // a voice model's path; "": audio.Voice
	raw       *audio.Raw                  // of sounds without a head; nil: they have one
	formats   string
	sidecar   bool
	overwrite bool
}

func newTranscribeCommand(env *environment) *cobra.Command {
	o := &transcribeOptions{}
	cmd := &cobra.Command{
		Use:   "transcribe AUDIO|DIR|GLOB|- ...",
		Short: "Write down what is said in sounds",
		Example: `  xpipe transcribe interview.mp3
  xpipe transcribe talk.flac --words -o talk.srt
  arecord -q -t raw -f S16_LE -r 16000 | xpipe transcribe - --raw 16000`,
		Long: `Writes down what is said in sounds of any length: WAV, FLAC, MP3, Ogg Vorbis, Ogg
Opus, and whatever else an ffmpeg on PATH reads, such as M4A and films.

On a terminal each piece of the text is a line with its time, as it is heard:

  [00:00.000 --> 00:04.120]  And so my fellow Americans

Elsewhere the text stands alone: a line a piece of the one sound that is named, or
one line a sound, its name in front. --words gives each word a line with its time.

The language is heard in the first 30 seconds unless --language says it, by its code
or name. --task translate writes English. A text that repeats itself or is unlikely
is tried again at the next --temperature, as by openai-whisper.

  DIR   every sound in and below a folder, links followed
  GLOB  a pattern with * ? [ ], or ** for any folders between
  {000..999} and {a,b} in a name stand for several, as in a shell
  -     standard input: a sound, which is written down as it comes, at most 3
        seconds behind; Ctrl-C ends the sound, and a second one all. --raw says
        what samples without a head are

A list, --list FILE, has one of the above but - on each line. Sounds of formats that
are not read, folders that cannot be listed and broken links are counted and told at
the end; --strict makes them an error.

--out writes one sound to FILE.srt, .vtt, .tsv or .txt, as openai-whisper has them,
or any number as JSON lines to FILE.jsonl. --sidecar writes the transcript of
talk.mp3 beside it, to talk.srt or what --format says. A file that is there is kept,
and the sound passed over, unless --overwrite is given.

With --json each sound is one line {"audio","language","text","segments":[{"start",
"end","text","words":[{"start","end","text","probability"}],...}],
"no_speech_probability","audio_seconds","seconds","ids"}, or {"audio","error"}.

` + resultsHelp + `

` + exitHelp,
		Args: func(cmd *cobra.Command, args []string) error {
			if i := slices.IndexFunc(args, isNumber); i >= 0 && cmd.Flags().Changed("batched") {
				return usageOf(cmd, "for %s windows at once give --batched=%s", args[i], args[i])
			}
			return o.needs(0)(cmd, args)
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := o.checkFlags(cmd); err != nil {
				return err
			}
			return runTranscribe(cmd.Context(), env, *o, args)
		},
	}
	o.batch, o.jobs = 1, 1
	o.modelOptions.addFlags(cmd, hearingModel)
	o.addListFlags(cmd, "sounds", "transcripts")
	o.addTranscriptionFlags(cmd)
	f := cmd.Flags()
	f.Var(rawFlag{&o.raw}, "raw", "the sound is samples without a head: RATE[xCHANNELS][:FORMAT], "+
		"such as 16000 or 44100x2:f32le; one channel of s16le unless it says more (also "+
		"u8, mulaw, alaw)")
	f.BoolVar(&o.sidecar, "sidecar", false,
		"write each transcript to a file beside its sound, too")
	names := make([]string, len(api.TranscriptForms))
	for i, form := range api.TranscriptForms {
		names[i] = form.Name
	}
	f.Var(wordFlag{value: &o.formats, what: "format", words: names, list: true}, "format",
		"with --sidecar: what to write, of "+strings.Join(names, ", ")+" (default srt)")
	f.BoolVar(&o.overwrite, "overwrite", false, "replace a transcript that is there")
	f.IntVar(&o.subtitles.LineWidth, "max-line-width", 0,
		"most characters of a line in .srt and .vtt; takes --words along")
	f.IntVar(&o.subtitles.LineCount, "max-line-count", 0,
		"with --max-line-width: most lines at once, whatever the pieces of the text are")
	f.IntVar(&o.subtitles.WordsPerLine, "max-words-per-line", 0,
		"most words of a line in .srt and .vtt; takes --words along")
	f.BoolVar(&o.subtitles.Highlight, "highlight-words", false,
		"underline each word as it is said in .srt and .vtt; takes --words along")
	f.BoolVarP(&o.quiet, "quiet", "q", false, "tell nothing of how far a run is")
	return cmd
}

// form is the form of transcript that --out has by its suffix; false where it has lines of JSON.
func (o *transcribeOptions) form() (api.TranscriptForm, bool) {
	return api.TranscriptFormOf(strings.TrimPrefix(strings.ToLower(filepath.Ext(o.out)), "."))
}

// forms are all that transcripts are written as.
func (o *transcribeOptions) forms() []api.TranscriptForm {
	var forms []api.TranscriptForm
	if form, ok := o.form(); ok {
		forms = append(forms, form)
	}
	if o.sidecar {
		for name := range strings.SplitSeq(o.formats, ",") {
			form, _ := api.TranscriptFormOf(name)
			forms = append(forms, form)
		}
	}
	return forms
}

// checkFlags refuses flags that contradict each other or have no effect.
func (o *transcribeOptions) checkFlags(cmd *cobra.Command) error {
	lines := o.batchOptions
	if _, ok := o.form(); ok {
		lines.out = ""
	}
	if err := lines.check(); err != nil {
		return err
	}
	if o.formats != "" && !o.sidecar {
		return api.Usagef("--format needs --sidecar; --out has the form that its suffix says")
	}
	if o.formats == "" {
		o.formats = "srt"
	}
	is := func(has func(api.TranscriptForm) bool) bool { return slices.ContainsFunc(o.forms(), has) }
	suffix := strings.ToLower(filepath.Ext(lines.out))
	s := o.subtitles
	used := o.transcription()
	switch {
	case suffix != "" && suffix != ".jsonl" && suffix != ".json":
		return api.Usagef("--out %s: its suffix says what is written: .srt, .vtt, .tsv, .txt, or "+
			".jsonl for lines of JSON", o.out)
	case o.overwrite && len(o.forms()) == 0:
		return api.Usagef("--overwrite needs --sidecar, or --out FILE.srt, .vtt, .tsv or .txt")
	case min(s.LineWidth, s.LineCount, s.WordsPerLine) < 0:
		return api.Usagef("--max-line-width, --max-line-count and --max-words-per-line are 1 or more")
	case s.LineCount > 0 && s.LineWidth == 0:
		return api.Usagef("--max-line-count has no effect without --max-line-width")
	case s.LineWidth > 0 && s.WordsPerLine > 0:
		return api.Usagef("--max-line-width and --max-words-per-line exclude each other")
	case s != api.SubtitleOptions{} && !is(func(f api.TranscriptForm) bool { return f.Cues }):
		return api.Usagef("%s lays out .srt and .vtt, and none is written: give --out FILE.srt, or "+
			"--sidecar", o.layoutFlag(cmd))
	case s != api.SubtitleOptions{} && !used.Words:
		o.changes = append(o.changes, pipeline.WithWords())
	case o.voice != "" && used.Everything && used.Batched == 0:
		return api.Usagef("--voice-model has no effect with --no-voice-check but for --batched")
	case used.WithoutTimes && !used.Words && is(func(f api.TranscriptForm) bool { return f.Timed }):
		return api.Usagef("--no-timestamps leaves out what .srt, .vtt and .tsv are made of; " +
			"write .txt or .jsonl")
	}
	if err := o.checkTemperatures(cmd, used.Temperatures); err != nil {
		return err
	}
	return used.Check()
}

// checkTemperatures refuses flags that have no effect at the temperatures.
func (o *transcribeOptions) checkTemperatures(cmd *cobra.Command, temperatures []float64) error {
	warm := slices.ContainsFunc(temperatures, func(t float64) bool { return t > 0 })
	for flag, needs := range map[string]struct {
		there bool
		what  string
	}{
		"seed": {warm, "above 0"}, "best-of": {warm, "above 0"},
		"num-beams": {slices.Contains(temperatures, 0), "of 0"},
	} {
		if cmd.Flags().Changed(flag) && !needs.there {
			return usageOf(cmd, "--%s has no effect without a --temperature %s", flag, needs.what)
		}
	}
	return nil
}

// isNumber says whether an argument is a number, and no file.
func isNumber(arg string) bool {
	_, err := strconv.Atoi(arg)
	_, none := os.Lstat(arg)
	return err == nil && none != nil
}

// layoutFlag is the first flag given that lays out subtitles.
func (o *transcribeOptions) layoutFlag(cmd *cobra.Command) string {
	for _, name := range []string{"max-line-width", "max-line-count", "max-words-per-line"} {
		if cmd.Flags().Changed(name) {
			return "--" + name
		}
	}
	return "--highlight-words"
}

// transcription is what the flags ask for.
func (o *transcribeOptions) transcription() pipeline.Transcription {
	t := speech.DefaultOptions()
	for _, change := range o.changes {
		change(&t)
	}
	return t
}
