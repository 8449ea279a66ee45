package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/vision"
)

// This file is ask and caption without a picture: language models read text alone, and a prompt as it
// stands need not have a picture in it.

// readsTextAlone reports whether the model takes no picture, by its configuration.
func (o *modelOptions) readsTextAlone() bool {
	model, err := api.Find(o.model)
	return err == nil && model.ReadsTextAlone(models.WithVariant(o.variant))
}

// unseen reports whether there is no picture: none is given though the questions are, by flags, or the
// model takes none, so that all arguments are questions.
func (o *askOptions) unseen(args []string) bool {
	if o.questions != "" || o.regions != "" || len(o.lists) > 0 || len(o.shots) > 0 || o.shotsFile != "" {
		return false
	}
	if _, err := api.Find(o.model); err != nil && len(args) == 1 {
		return true // that there is no such model says more than that a picture is missing
	}
	if o.sound.path != "" && len(args) > 0 && !namesPictures(args) {
		return true // the questions are about the sound
	}
	return len(o.asked)+len(o.raw) > 0 && len(args) == 0 || o.readsTextAlone()
}

// unseen reports whether there is a prompt alone.
func (o *captionOptions) unseen(args []string) bool {
	return o.raw != "" && len(args) == 0 && len(o.lists) == 0
}

// checkUnseen refuses flags and arguments about pictures.
func (o *modelOptions) checkUnseen(batch *batchOptions, overlay *overlayOption, args []string) error {
	if _, err := api.Find(o.model); err != nil {
		return err
	}
	if len(args) > 0 && namesPictures(args) {
		return fmt.Errorf("%w: model %s reads text alone; leave %s out",
			pipeline.ErrUnsupported, o.model, args[0])
	}
	if batch.out != "" || overlay.path != "" {
		return api.Usagef("--out and --overlay are for pictures, and there is none; --json prints lines")
	}
	return nil
}

// namesPictures reports whether the first of ask's arguments is no word of a question but says which
// pictures it is about: a file, standard input, a folder before a question, or what has a picture's suffix,
// whether it is there or not.
func namesPictures(args []string) bool {
	first := args[0]
	if first == "-" || !strings.Contains(first, " ") && slices.Contains(vision.Suffixes(), strings.ToLower(filepath.Ext(first))) {
		return true
	}
	info, err := os.Stat(first)
	asked := len(args) > 1 && strings.Contains(args[1], " ")
	return err == nil && (!info.IsDir() || asked)
}

// runUnseen answers questions without a picture.
func (o askOptions) runUnseen(ctx context.Context, env *environment, args []string) error {
	if err := o.checkUnseen(&o.batchOptions, &o.overlay, args); err != nil {
		return err
	}
	if len(o.choices) > 0 {
		return api.Usagef("--choices picks among answers about a picture, and there is none")
	}
	a := &asker{options: o, all: o.asked}
	if len(a.all) == 0 {
		if err := checkTexts("ask", "question", args); err != nil {
			return err
		}
		a.all = env.questionsOf(args)
	} else if len(args) > 0 {
		return fmt.Errorf("%w: model %s reads text alone; leave %q out", pipeline.ErrUnsupported, o.model, args[0])
	}
	var err error
	if a.pipeline, err = o.open(ctx, env); err != nil {
		return err
	}
	defer a.pipeline.Close()
	if a.sound, err = o.sound.load(ctx, a.pipeline); err != nil {
		return err
	}
	settings, err := a.settings()
	if err != nil {
		return err
	}
	requests := a.requests(api.Loaded{})
	return writeUnseen(ctx, env, a.pipeline, requests, settings, o.generation(),
		func(i int, texts []*pipeline.Text, seconds float64, origin *api.Origin) any {
			answer := api.NewAnswer(api.Question{Question: a.all[i]}, texts, seconds)
			answer.Origin = origin
			return answer
		})
}

// runUnseen goes on from a prompt without a picture.
func (o captionOptions) runUnseen(ctx context.Context, env *environment) error {
	if err := o.checkUnseen(&o.batchOptions, &o.overlay, nil); err != nil {
		return err
	}
	if o.sidecar {
		return api.Usagef("--sidecar writes beside a picture, and there is none")
	}
	p, err := o.open(ctx, env)
	if err != nil {
		return err
	}
	defer p.Close()
	sound, err := o.sound.load(ctx, p)
	if err != nil {
		return err
	}
	settings := o.settings()
	settings["raw_prompt"] = o.raw
	o.sound.set(settings)
	if err := settings.SetGeneration(p, o.generation()); err != nil {
		return err
	}
	return writeUnseen(ctx, env, p, []pipeline.Request{{Prompt: o.raw, Sound: sound}}, settings, o.generation(),
		func(_ int, texts []*pipeline.Text, seconds float64, origin *api.Origin) any {
			line := api.NewCaption("", texts, nil, seconds)
			line.Origin = origin
			return line
		})
}

// writeUnseen writes the texts for requests: with --json the lines that line makes of them.
func writeUnseen(
	ctx context.Context, env *environment, p *pipeline.Pipeline, requests []pipeline.Request,
	settings api.Settings, generation []pipeline.GenerateOption,
	line func(i int, texts []*pipeline.Text, seconds float64, origin *api.Origin) any,
) error {
	if len(requests) == 1 && !env.json && isTerminal(env.stdout) {
		return env.printStream(p.Stream(ctx, requests[0], generation...))
	}
	var origin *api.Origin
	if env.json {
		var err error
		if origin, err = api.NewOrigin(p, version(), settings); err != nil {
			return err
		}
	}
	start := time.Now()
	texts, err := p.Generate(ctx, requests, generation...)
	if err != nil {
		return err
	}
	env.verboseStats("text", texts[0][0])
	seconds := time.Since(start).Seconds() / float64(len(requests))
	for i, some := range texts {
		if env.json {
			if err := env.printJSON(line(i, some, seconds, origin)); err != nil {
				return err
			}
			continue
		}
		for _, t := range some {
			if _, err := fmt.Fprintln(env.stdout, api.Printable(t.Text)); err != nil {
				return err
			}
		}
	}
	return nil
}
