package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/pipeline"
)

// attendSound writes a page of a sound's words, each over the sound it came from.
func attendSound(ctx context.Context, env *environment, o attendOptions, args []string) error {
	switch {
	case len(args) > 1:
		return api.Usagef("a sound is asked nothing: give it alone")
	case o.text != "" || o.regions != "" || o.rollout || len(o.picks) > 0:
		return api.Usagef("--text, --regions, --pick and --rollout are for pictures")
	}
	p, err := o.openHearing(ctx, env)
	if err != nil {
		return err
	}
	defer p.Close()
	sound, err := audio.DecodeFile(ctx, args[0], audio.WithRate(p.HearingRate()),
		audio.WithLimits(audio.Limits{Seconds: api.HearingPageSeconds}))
	if errors.Is(err, audio.ErrLimit) {
		err = fmt.Errorf("%w; a page holds %d minutes at most: cut it", err, api.HearingPageSeconds/60)
	}
	if err != nil {
		return err
	}
	heard, err := p.Transcribe(ctx, sound, pipeline.WithWords())
	if err != nil {
		return err
	}
	v := &api.HearingView{
		Name: args[0], Sound: sound, Transcript: heard,
		MadeBy: api.MadeBy{Model: p.Bundle().Name, Engine: p.Engine().Name(), Version: version()},
	}
	if err := writeFile(o.out, v.WriteHTML); err != nil {
		return err
	}
	if !env.json {
		fmt.Fprintf(env.stderr, "wrote %s: what %s heard for %q\n", api.Visible(o.out), v.MadeBy.Model, heard.Text)
	}
	return nil
}
