package main

import (
	"context"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/api"
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

// addFlags adds the flags to a verb; byDefault is the embedded model that does its work.
func (o *modelOptions) addFlags(cmd *cobra.Command, byDefault string) {
	o.engineOptions.addFlags(cmd)
	f := cmd.Flags()
	f.StringVarP(&o.model, "model", "m", byDefault,
		"an embedded model's name ("+strings.Join(mini.Names(), ", ")+") or a bundle's folder")
	addVariantFlag(cmd, &o.variant)
	f.BoolVar(&o.noVerify, "no-verify", false, "do not compare the model's files with their sha256")
}

func addVariantFlag(cmd *cobra.Command, variant *string) {
	cmd.Flags().StringVar(variant, "variant", "",
		"graphs stored as "+strings.Join(models.Variants(), ", ")+", where the model has several")
}

// checkVariant refuses a --variant that no model has.
func checkVariant(variant string) error {
	if all := models.Variants(); variant != "" && !slices.Contains(all, variant) {
		return api.Usagef("--variant is one of %s, not %q", strings.Join(all, ", "), variant)
	}
	return nil
}

// settings are what the flags change of a model's results.
func (o *modelOptions) settings() api.Settings {
	settings := api.Settings{}
	if o.variant != "" {
		settings["variant"] = o.variant
	}
	return settings
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
func (o *modelOptions) openWith(
	ctx context.Context, env *environment, opts ...pipeline.Option,
) (*pipeline.Pipeline, error) {
	if err := checkVariant(o.variant); err != nil {
		return nil, err
	}
	// A user at a terminal can interrupt, and a long batch must not be cut: no bound on time.
	opts = append(opts, pipeline.WithEngineOptions(o.options()), pipeline.WithVariant(o.variant),
		pipeline.WithLimits(pipeline.Limits{Time: -1}))
	if o.noVerify {
		opts = append(opts, pipeline.WithoutVerification())
	}
	model, err := api.Find(o.model)
	if err != nil {
		return nil, err
	}
	env.verbosef("model: %v", model)
	return model.Open(ctx, opts...)
}
