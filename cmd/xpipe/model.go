package main

import (
	"context"
	"os"
	"runtime"
	"runtime/debug"
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
	model        string
	variant      string
	noVerify     bool
	wholePrompts bool // prompts as long as the model takes
}

// addFlags adds the flags to a verb; byDefault is the embedded model that does its work.
func (o *modelOptions) addFlags(cmd *cobra.Command, byDefault string) {
	o.engineOptions.addFlags(cmd)
	addModelFlag(cmd, &o.model, byDefault)
	addVariantFlag(cmd, &o.variant)
	cmd.Flags().BoolVar(&o.noVerify, "no-verify", false,
		"do not compare the model's files with their sha256")
}

func addVariantFlag(cmd *cobra.Command, variant *string) {
	words := wordFlag{value: variant, what: "variant", words: append(models.Variants(), "q8"), list: true, pairs: true}
	cmd.Flags().Var(words, "variant", "graphs stored as "+strings.Join(models.Variants(), ", ")+
		", where the model has several; NAME,GRAPH=NAME for some")
}

// addModelFlag adds --model to a verb; byDefault is the embedded model that does its work.
func addModelFlag(cmd *cobra.Command, model *string, byDefault string) {
	cmd.Flags().StringVarP(model, "model", "m", byDefault, "an embedded model's name ("+
		strings.Join(mini.Names(), ", ")+"), a model's folder, or org/name of the hub's cache")
}

// modelGiven says whether --model is on the command line, and not a setting alone.
func (env *environment) modelGiven(cmd *cobra.Command) bool {
	return cmd.Flags().Changed("model") && !env.settings["model"]
}

// modelArgument takes the model from --model or from a verb's first argument, what in words.
func (env *environment) modelArgument(
	cmd *cobra.Command, model *string, what string, args []string,
) error {
	switch {
	case env.modelGiven(cmd) && len(args) > 0:
		return usageOf(cmd, "--model and %q name two things; give one", args[0])
	case len(args) > 0:
		*model = args[0]
	case *model == "":
		return usageOf(cmd, "%s needs %s, or --model NAME|DIR", verbOf(cmd), what)
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

// open opens the engine and the model, with options that come before the flags' own.
func (o *modelOptions) open(
	ctx context.Context, env *environment, opts ...pipeline.Option,
) (*pipeline.Pipeline, error) {
	eng, err := o.engineOptions.open(env)
	if err != nil {
		return nil, err
	}
	return o.openWith(ctx, env, append(opts, pipeline.WithEngine(eng))...)
}

// openWith opens the model, with options that come before the flags' own.
func (o *modelOptions) openWith(
	ctx context.Context, env *environment, opts ...pipeline.Option,
) (*pipeline.Pipeline, error) {
	// A user at a terminal can interrupt, and a long batch must not be cut: no bound on time.
	o.note = env.noteEngine
	limits := pipeline.Limits{Time: -1}
	if o.wholePrompts {
		limits.PromptTokens = -1
	}
	opts = append(opts, pipeline.WithEngineOptions(o.options()), pipeline.WithVariant(o.variant),
		pipeline.WithLimits(limits))
	if o.noVerify {
		opts = append(opts, pipeline.WithoutVerification())
	}
	model, err := api.Find(o.model)
	if err != nil {
		return nil, err
	}
	env.verbosef("model: %v", model)
	p, err := model.Open(ctx, opts...)
	if err == nil && env.alone && os.Getenv("GOGC") == "" {
		forget()
	}
	return p, err
}

// opened is how much garbage may gather beside an open model, in percent of the memory in use.
const opened = 25

// forget gives back the memory that only opening a model took: of a tokenizer of 150,000 tokens and
// their merges some 70 MB of garbage are left, a fifth of what a language model of 500 million
// parameters takes in 4 bits, which lies in its mapped file and not on the collector's heap.
func forget() {
	debug.SetGCPercent(opened)
	var m runtime.MemStats
	if runtime.ReadMemStats(&m); m.HeapSys-m.HeapReleased > 64<<20 {
		debug.FreeOSMemory()
	}
}
