package main

import (
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/spf13/cobra"
)

// generationOptions are the flags that steer decoding. Only those given on the command line change
// what the model's generation_config.json says.
type generationOptions struct {
	changes []pipeline.GenerateOption
}

// generation returns what the command line changes.
func (o *generationOptions) generation() []pipeline.GenerateOption { return o.changes }

// parameter is a flag for one field of the settings, with transformers' name.
type parameter[T any] struct {
	name, usage string
	field       func(*settings) *T
}

type settings = pipeline.Generation

var (
	intParameters = []parameter[int]{
		{"max-new-tokens", "longest text, in tokens",
			func(g *settings) *int { return &g.MaxNewTokens }},
		{"min-new-tokens", "shortest text, in tokens",
			func(g *settings) *int { return &g.MinNewTokens }},
		{"min-length", "shortest text, in tokens, the prompt's counted in",
			func(g *settings) *int { return &g.MinLength }},
		{"num-beams", "beams of beam search; 1: none",
			func(g *settings) *int { return &g.NumBeams }},
		{"top-k", "with --do-sample: keep the k most probable tokens; 0: all",
			func(g *settings) *int { return &g.TopK }},
		{"no-repeat-ngram-size", "no sequence of this many tokens twice; 0: allowed",
			func(g *settings) *int { return &g.NoRepeatNgramSize }},
		{"num-return-sequences", "texts for each picture or question",
			func(g *settings) *int { return &g.NumReturnSequences }},
	}
	floatParameters = []parameter[float64]{
		{"length-penalty", "beam scores are divided by length to this power",
			func(g *settings) *float64 { return &g.LengthPenalty }},
		{"temperature", "with --do-sample: above 1 more random, below 1 less",
			func(g *settings) *float64 { return &g.Temperature }},
		{"top-p", "with --do-sample: keep the fewest tokens with this probability in sum",
			func(g *settings) *float64 { return &g.TopP }},
		{"min-p", "with --do-sample: drop tokens below this share of the best one's probability",
			func(g *settings) *float64 { return &g.MinP }},
		{"typical-p", "with --do-sample: locally typical sampling",
			func(g *settings) *float64 { return &g.TypicalP }},
		{"repetition-penalty", "above 1: tokens seen already are less likely",
			func(g *settings) *float64 { return &g.RepetitionPenalty }},
	}
	stringsParameters = []parameter[[]string]{
		{"bad-word", "never write this word (repeat)",
			func(g *settings) *[]string { return &g.BadWords }},
		{"stop", "end the text where it holds this string (repeat)",
			func(g *settings) *[]string { return &g.StopStrings }},
	}
)

// generationFlags are the names of the flags that addFlags adds.
func generationFlags() []string {
	names := []string{"do-sample", "seed", "early-stopping"}
	for _, p := range intParameters {
		names = append(names, p.name)
	}
	for _, p := range floatParameters {
		names = append(names, p.name)
	}
	for _, p := range stringsParameters {
		names = append(names, p.name)
	}
	return names
}

// addFlags adds one flag for each parameter.
func (o *generationOptions) addFlags(cmd *cobra.Command) {
	cmd.PreRunE = checkEffect
	f := cmd.Flags()
	for _, p := range intParameters {
		p.change(o, cmd, f.Int(p.name, 0, p.usage))
	}
	// The model's max_length would stand in for 0.
	o.onChange(cmd, "max-new-tokens", func(g *settings) { g.MaxLength = 0 })
	for _, p := range floatParameters {
		p.change(o, cmd, f.Float64(p.name, 0, p.usage))
	}
	for _, p := range stringsParameters {
		p.change(o, cmd, f.StringArray(p.name, nil, p.usage))
	}
	sample := parameter[bool]{
		"do-sample", "draw tokens at random instead of taking the most probable",
		func(g *settings) *bool { return &g.DoSample }}
	sample.change(o, cmd, f.Bool(sample.name, false, sample.usage))
	seed := parameter[uint64]{"seed", "with --do-sample: same seed, same text",
		func(g *settings) *uint64 { return &g.Seed }}
	seed.change(o, cmd, f.Uint64(seed.name, 0, seed.usage))
	early := f.String("early-stopping", "", "when beam search ends: false, true or never")
	o.onChange(cmd, "early-stopping", func(g *settings) {
		var err error
		if g.EarlyStopping, err = decode.ParseEarlyStopping(*early); err != nil {
			g.EarlyStopping = -1 // refused with the other parameters
		}
	})
}

// without are flags that do nothing without another one.
var without = []struct {
	flags []string
	needs string
	given func(cmd *cobra.Command) bool // the other one
}{
	{[]string{"temperature", "top-k", "top-p", "min-p", "typical-p", "seed"}, "--do-sample",
		func(cmd *cobra.Command) bool { on, _ := cmd.Flags().GetBool("do-sample"); return on }},
	{[]string{"length-penalty", "early-stopping"}, "--num-beams N of 2 or more",
		func(cmd *cobra.Command) bool { n, _ := cmd.Flags().GetInt("num-beams"); return n > 1 }},
}

// checkEffect refuses flags without effect.
func checkEffect(cmd *cobra.Command, _ []string) error {
	for _, w := range without {
		for _, name := range w.flags {
			if cmd.Flags().Changed(name) && !w.given(cmd) {
				return usageOf(cmd, "--%s has no effect without %s", name, w.needs)
			}
		}
	}
	return nil
}

// checkNothingWritten refuses flags of decoding on a command line that has the model write nothing
// of its own, because of another flag.
func (env *environment) checkNothingWritten(cmd *cobra.Command, because string) error {
	for _, name := range generationFlags() {
		if cmd.Flags().Changed(name) && !env.settings[name] {
			return usageOf(cmd, "--%s has no effect with %s", name, because)
		}
	}
	return nil
}

// change sets the field to the flag's value if the flag was given.
func (p parameter[T]) change(o *generationOptions, cmd *cobra.Command, value *T) {
	o.onChange(cmd, p.name, func(g *settings) { *p.field(g) = *value })
}

// onChange applies change if the flag was given.
func (o *generationOptions) onChange(
	cmd *cobra.Command, flag string, change pipeline.GenerateOption,
) {
	o.changes = append(o.changes, func(g *settings) {
		if cmd.Flags().Changed(flag) {
			change(g)
		}
	})
}
