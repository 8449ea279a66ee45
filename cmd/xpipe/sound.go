package main

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/audio"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/spf13/cobra"
)

// soundOption is a sound that the model hears beside each picture, or in a picture's place.
type soundOption struct{ path string }

func (o *soundOption) addFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.path, "audio", "", "a sound beside the picture, for models that see and hear")
}

// set notes the sound among what changes the results.
func (o *soundOption) set(settings api.Settings) {
	if o.path != "" {
		settings["audio"] = o.path
	}
}

// load decodes the sound and has the model encode it, once for all pictures; nil where there is none.
func (o *soundOption) load(ctx context.Context, p *pipeline.Pipeline) (media.Item, error) {
	if o.path == "" {
		return nil, nil
	}
	sound, err := loadHeard(ctx, p, o.path)
	if err != nil {
		return nil, err
	}
	encoded, err := p.Encode(ctx, sound)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", o.path, err)
	}
	return encoded[0], nil
}

// loadHeard decodes a sound for a model that answers about sounds.
func loadHeard(ctx context.Context, p *pipeline.Pipeline, path string) (*audio.Sound, error) {
	if err := hearsNothing(p); err != nil {
		return nil, err
	}
	if path == "-" {
		return nil, api.Inputf("a sound comes from a file, not from standard input")
	}
	return audio.DecodeFile(ctx, path, audio.WithRate(p.HearingRate()), audio.WithFFmpeg(""))
}

// hearsNothing says what a model takes that cannot be asked about sounds.
func hearsNothing(p *pipeline.Pipeline) error {
	bundle, can := p.Bundle(), p.Abilities()
	if can.Takes(media.Sounds) && !can.Transcribe && p.HearingRate() > 0 {
		return nil
	}
	does := "hears nothing; it takes text alone"
	switch {
	case can.Takes(media.Sounds) && can.Transcribe:
		does = "writes down sounds and answers no questions: xpipe transcribe"
	case can.Takes(media.Sounds):
		does = "has no preprocessor_config.json that says how it hears"
	case can.Takes(media.Pictures):
		does = "hears nothing; it takes text and pictures"
	}
	return fmt.Errorf("%w: model %s, of family %s, %s", pipeline.ErrUnsupported, bundle.Name, bundle.Family, does)
}
