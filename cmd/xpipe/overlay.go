package main

import (
	"context"
	"fmt"
	"image"
	"io"
	"path/filepath"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/media"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/spf13/cobra"
)

// overlayOption is the flag of the verbs whose answers may name places in a picture.
type overlayOption struct {
	path  string
	shown image.Image // the picture, once it was loaded
}

func (o *overlayOption) addFlag(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.path, "overlay", "",
		"draw the places that the answer names over the picture, to FILE.png")
}

// check refuses files of other kinds, several pictures, and models that name no places.
func (o *overlayOption) check(found found) error {
	switch {
	case o.path == "":
	case strings.ToLower(filepath.Ext(o.path)) != ".png":
		return api.Usagef("--overlay %s: the file ends in .png", o.path)
	case !found.single:
		return api.Usagef("--overlay takes one picture, and no --out")
	}
	return nil
}

// checkModel refuses models that name no places.
func (o *overlayOption) checkModel(p *pipeline.Pipeline) error {
	if o.path == "" || p.Abilities().Find {
		return nil
	}
	bundle := p.Bundle()
	return fmt.Errorf("%w: model %s, of family %s, names no places to draw, as Florence-2 does; xpipe "+
		"attend draws where a model looked", pipeline.ErrUnsupported, bundle.Name, bundle.Family)
}

// load is api.LoadFor, and keeps the picture.
func (o *overlayOption) load(
	p *pipeline.Pipeline,
) func(context.Context, api.Picture) (media.Item, error) {
	if o.path == "" {
		return api.LoadFor(p)
	}
	return func(ctx context.Context, picture api.Picture) (media.Item, error) {
		img, err := picture.Load()
		if err != nil {
			return nil, err
		}
		o.shown = img
		return p.Prepare(ctx, img)
	}
}

// write draws the places of an answer over the picture of a name.
func (o *overlayOption) write(
	env *environment, p *pipeline.Pipeline, name string, places []pipeline.Place,
) error {
	if o.path == "" {
		return nil
	}
	made := api.MadeBy{Model: p.Bundle().Name, Engine: p.Engine().Name(), Version: version()}
	err := writeFile(o.path, func(w io.Writer) error {
		return api.WritePlaces(w, o.shown, places, name, made.String())
	})
	switch {
	case err != nil:
		return err
	case len(places) == 0:
		env.warnf("the answer names no places; %s is the picture alone", o.path)
	case !env.json:
		fmt.Fprintf(env.stderr, "wrote %s: %d places\n", api.Visible(o.path), len(places))
	}
	return nil
}

// placesOf are the places that a text, written for a request, names; none where the model names none.
func placesOf(p *pipeline.Pipeline, request pipeline.Request, text string) ([]pipeline.Place, error) {
	if !p.Abilities().Find {
		return nil, nil
	}
	found, err := p.Find(request, text)
	return found.Places, err
}
