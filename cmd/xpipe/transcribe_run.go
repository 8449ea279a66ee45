package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
)

func runTranscribe(
	ctx context.Context, env *environment, o transcribeOptions, args []string,
) error {
	h := &hearing{options: o}
	if form, ok := o.form(); ok {
		h.file, h.form = o.out, form
		o.out = "" // which holds lines of JSON
	}
	found, err := o.findSounds(env, args)
	if err != nil {
		return err
	}
	h.live = len(args) == 1 && args[0] == "-" && len(o.lists) == 0
	if err := h.check(env, found); err != nil {
		return err
	}
	p, err := o.openHearing(ctx, env, pipeline.WithVoiceModel(o.voice))
	if err != nil {
		return err
	}
	defer p.Close()
	if h.hearer, h.rate = env.hearer, p.HearingRate(); h.hearer == nil {
		h.hearer = p
	}
	if o.sidecar {
		h.sidecars = &api.Sidecars{Overwrite: o.overwrite}
		for name := range strings.SplitSeq(o.formats, ",") {
			h.sidecars.Suffixes = append(h.sidecars.Suffixes, "."+name)
		}
		found.pictures = h.sidecars.Wanted(found.pictures, o.out != "")
	}
	settings := o.settings()
	used := o.transcription()
	settings.SetTranscription(used)
	if o.voice != "" {
		settings["voice_model"] = o.voice
	}
	if o.raw != nil {
		settings["raw"] = rawFlag{&o.raw}.String()
	}
	if h.output, err = o.newOutput(env, found, p, settings); err != nil {
		return err
	}
	if err := h.openResults(api.ResultsOptions{Key: "segments"}); err != nil {
		return err
	}
	if h.file != "" && !o.quiet {
		h.progress = newProgress(env, h.file, found.count)
		h.progress.whole = true
	}
	terminal := isTerminal(env.stdout)
	h.timed = used.Words || terminal && !used.WithoutTimes
	h.asHeard = !h.printsLines() && h.file == "" && (h.single || terminal || used.Words)
	if h.live && env.interrupts != nil && !isRegular(h.stdin) {
		var stop func()
		ctx, stop = h.untilInterrupted(ctx, env)
		defer stop()
	}
	err = runAll(ctx, h.output, api.Runner[*pipeline.Transcript]{Load: loadSound, Task: h.hear}, h.write)
	if err == nil && h.sidecars != nil && h.sidecars.Kept() > 0 {
		env.warnf("%d transcripts were there already and are kept; --overwrite replaces them",
			h.sidecars.Kept())
	}
	return h.finish(err)
}

// openHearing opens the model. The embedded one may not be there.
func (o *modelOptions) openHearing(
	ctx context.Context, env *environment, opts ...pipeline.Option,
) (*pipeline.Pipeline, error) {
	if _, err := api.Find(o.model); err != nil && o.model == hearingModel {
		return nil, fmt.Errorf("%w: %s is not part of this xpipe; give a model that hears with --model "+
			"DIR, or --model org/name after \"xpipe pull org/name\"", api.ErrNoModel, hearingModel)
	}
	eng, err := o.engineOptions.open(env)
	if err != nil {
		return nil, err
	}
	p, err := o.openWith(ctx, env, append(opts, pipeline.WithEngine(eng))...)
	if err == nil && env.hearer == nil && !p.Abilities().Transcribe {
		err = instead(fmt.Errorf("%w: model %s, of family %s, does not hear",
			pipeline.ErrUnsupported, p.Bundle().Name, p.Bundle().Family), p)
		p.Close()
	}
	return p, err
}

// loadSound says why there is no such file. Sounds are read as they are heard.
func loadSound(_ context.Context, p api.Picture) (media.Item, error) {
	_, err := p.Load()
	return nil, err
}

// hearing is one run of transcribe.
type hearing struct {
	*output
	options  transcribeOptions
	hearer   transcriber
	rate     int           // samples a second that it hears
	sidecars *api.Sidecars // nil without --sidecar

	file string // of --out, where it is a transcript; "" otherwise
	form api.TranscriptForm

	live    bool // standard input alone is heard
	asHeard bool // text is printed as it is heard
	timed   bool // behind its time
	stdin   io.Reader
	before  float64 // seconds heard of the sounds before
}

// check refuses what cannot be written to, before a model is opened for it.
func (h *hearing) check(env *environment, found found) error {
	if isTerminal(env.stdin) && h.live {
		return api.Usagef("- is what comes from a pipe or a file, and standard input is a terminal")
	}
	h.stdin = env.stdin
	if h.file == "" {
		return nil
	}
	if found.count != 1 {
		return api.Usagef("--out %s holds the transcript of one sound; for several write --out "+
			"FILE.jsonl, or beside them with --sidecar --format %s", h.file, h.form.Name)
	}
	info, err := os.Stat(h.file)
	switch {
	case err == nil && info.IsDir():
		return api.Usagef("--out %s is a folder; name a file in it", h.file)
	case err == nil && info.Mode().IsRegular() && info.Size() > 0 && !h.options.overwrite:
		return api.Usagef("%s is there already; --overwrite replaces it", h.file)
	}
	return nil
}

// hear writes down one sound.
func (h *hearing) hear(
	ctx context.Context, batch []api.Loaded,
) ([]*pipeline.Transcript, error) {
	name, file := batch[0].Name, batch[0].File
	var printing error
	begun := false
	opts := append(h.options.changes[:len(h.options.changes):len(h.options.changes)],
		func(t *pipeline.Transcription) {
			if h.asHeard {
				t.Emit = func(s pipeline.Segment) bool {
					if !begun && !h.single {
						_, printing = fmt.Fprintf(h.env.stdout, "%s:\n", api.Visible(name))
					}
					begun = true
					printing = errors.Join(printing, h.print(s))
					return printing == nil
				}
			}
			if h.progress != nil {
				t.Progress = func(seconds float64) { h.progress.hear(h.before + seconds) }
			}
		})
	heard, err := h.open(ctx, file, opts)
	if printing != nil {
		return nil, printing
	}
	if err != nil {
		return nil, err
	}
	h.before += heard.Seconds
	if h.progress != nil {
		h.progress.hear(h.before)
	}
	return []*pipeline.Transcript{heard}, nil
}

// open hears a file, or with "" standard input.
func (h *hearing) open(
	ctx context.Context, file string, opts []pipeline.TranscribeOption,
) (*pipeline.Transcript, error) {
	var how []audio.Option
	if h.options.raw != nil {
		how = append(how, audio.WithRaw(*h.options.raw))
	}
	how = append(how, audio.WithFFmpeg("")) // one on PATH
	opts = append(opts, func(t *pipeline.Transcription) { t.Sound = how })
	if file != "" {
		heard, err := h.hearer.TranscribeFile(ctx, file, opts...)
		if suffix := strings.ToLower(filepath.Ext(file)); errors.Is(err, audio.ErrSound) &&
			slices.Contains(vision.Suffixes(), suffix) {
			err = fmt.Errorf("%w; to describe a picture: xpipe caption %s", err, file)
		}
		return heard, err
	}
	if !isRegular(h.env.stdin) {
		opts = append(opts, func(t *pipeline.Transcription) { t.Live = t.Batched == 0 })
	}
	stream, err := audio.Open(ctx, h.stdin, append(how, audio.WithRate(h.rate))...)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	defer stream.Close()
	heard, err := h.hearer.TranscribeStream(ctx, stream, opts...)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return heard, nil
}

// isRegular says whether r is a file whose end is known, and no pipe.
func isRegular(r io.Reader) bool {
	f, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := f.Stat()
	return err == nil && info.Mode().IsRegular()
}

// print prints a piece of a text, or its words, a line each.
func (h *hearing) print(s pipeline.Segment) error {
	line := func(start, end float64, text string) error {
		text = api.Printable(strings.TrimSpace(text))
		if h.timed {
			text = fmt.Sprintf("[%s --> %s]  %s", api.Clock(start), api.Clock(end), text)
		}
		_, err := fmt.Fprintln(h.env.stdout, text)
		return err
	}
	if len(s.Words) == 0 {
		return line(s.Start, s.End, s.Text)
	}
	for _, w := range s.Words {
		if err := line(w.Start, w.End, w.Text); err != nil {
			return err
		}
	}
	return nil
}

// write writes the transcript of a sound.
func (h *hearing) write(f api.Finished[*pipeline.Transcript]) error {
	heard := f.Value
	h.env.verbosef("%s: %.1f s of sound in %.1f s, language %q, no speech %.2f",
		f.Name, heard.Seconds, f.Seconds, heard.Language, heard.NoSpeech)
	if h.sidecars != nil {
		// Before the line: --resume passes over a sound that has one.
		if err := h.writeBeside(f.File, heard); err != nil {
			return err
		}
	}
	if h.file != "" {
		err := writeFile(h.file, func(w io.Writer) error {
			return h.form.Write(w, heard, h.options.subtitles)
		})
		if err != nil {
			return err
		}
	}
	if h.printsLines() {
		line := api.NewAudioTranscript(f.Name, heard, f.Seconds)
		line.Origin = h.origin
		return h.output.write(f.Name, line)
	}
	text := strings.TrimSpace(heard.Text)
	if text == "" {
		h.env.warnf("%s: nothing is said in it, as far as the model hears", f.Name)
	}
	if h.asHeard || h.file != "" {
		return nil
	}
	_, err := fmt.Fprintln(h.env.stdout, h.title(f.Name)+api.Printable(text))
	return err
}

// writeBeside writes a transcript beside its sound in all forms.
func (h *hearing) writeBeside(sound string, heard *pipeline.Transcript) error {
	for name := range strings.SplitSeq(h.options.formats, ",") {
		form, _ := api.TranscriptFormOf(name)
		var data bytes.Buffer
		if err := form.Write(&data, heard, h.options.subtitles); err != nil {
			return err
		}
		if err := h.sidecars.WriteAs(sound, form.Suffix(), data.Bytes()); err != nil {
			return err
		}
	}
	return nil
}
