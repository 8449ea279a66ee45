package main

import (
	"context"
	"fmt"
	"image"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/models"
	"github.com/crossattn/xpipe/models/mini"
	"github.com/crossattn/xpipe/pipeline"
	"github.com/spf13/cobra"
)

// modelOptions are the flags of every verb that uses a model.
type modelOptions struct {
	engineOptions
	model    string
	variant  string
	noVerify bool
}

// addFlags adds the flags to a verb whose work byDefault, an embedded model, does.
func (o *modelOptions) addFlags(cmd *cobra.Command, byDefault string) {
	o.engineOptions.addFlags(cmd)
	cmd.Flags().StringVarP(&o.model, "model", "m", byDefault, "an embedded model's name ("+strings.Join(mini.Names(), ", ")+") or a bundle's folder")
	addVariantFlag(cmd, &o.variant)
	cmd.Flags().BoolVar(&o.noVerify, "no-verify", false, "do not compare the model's files with their sha256")
}

func addVariantFlag(cmd *cobra.Command, variant *string) {
	cmd.Flags().StringVar(variant, "variant", "", "graphs stored as "+strings.Join(models.Variants(), ", ")+", where the model has several")
}

// checkVariant refuses a --variant that no model has.
func checkVariant(variant string) error {
	if variant != "" && !slices.Contains(models.Variants(), variant) {
		return usagef("--variant is one of %s, not %q", strings.Join(models.Variants(), ", "), variant)
	}
	return nil
}

// open opens the engine and the model.
func (o *modelOptions) open(ctx context.Context, env *environment) (*pipeline.Pipeline, error) {
	eng, err := o.engineOptions.open(env)
	if err != nil {
		return nil, err
	}
	return o.openWith(ctx, env, pipeline.WithEngine(eng))
}

// openWith opens the model, with options that come before the flags' own.
func (o *modelOptions) openWith(ctx context.Context, env *environment, opts ...pipeline.Option) (*pipeline.Pipeline, error) {
	if err := checkVariant(o.variant); err != nil {
		return nil, err
	}
	// Whoever waits at a terminal can interrupt; no time bound cuts a long batch.
	opts = append(opts, pipeline.WithEngineOptions(o.options()), pipeline.WithVariant(o.variant), pipeline.WithLimits(pipeline.Limits{Time: -1}))
	if o.noVerify {
		opts = append(opts, pipeline.WithoutVerification())
	}
	embedded, err := findModel(o.model)
	switch {
	case err != nil:
		return nil, err
	case embedded != nil:
		env.verbosef("model: %s (embedded)", o.model)
		return pipeline.OpenFS(ctx, embedded, opts...)
	}
	env.verbosef("model: %s", o.model)
	return pipeline.Open(ctx, o.model, opts...)
}

// findModel returns the embedded model of a name, and nil where the name is that
// of a file or folder.
func findModel(name string) (fs.FS, error) {
	if embedded, err := mini.FS(name); err == nil {
		return embedded, nil
	}
	if _, err := os.Stat(name); err != nil {
		return nil, fmt.Errorf("%w: there is no embedded model and no file or folder named %q; embedded are %v", models.ErrBundle, name, mini.Names())
	}
	return nil, nil
}

// openBundle opens a bundle by folder or by the name of an embedded model.
func openBundle(name string, opts ...models.Option) (*models.Bundle, error) {
	embedded, err := findModel(name)
	switch {
	case err != nil:
		return nil, err
	case embedded != nil:
		return models.OpenFS(embedded, opts...)
	}
	return models.Open(name, opts...)
}

// loadPicture decodes the picture at path; "-" is standard input.
func (env *environment) loadPicture(path string) (image.Image, error) {
	if path == "-" {
		return decodeReader("standard input", env.stdin)
	}
	return decodeFile(path)
}
