package main

import (
	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/decode"
	"github.com/spf13/cobra"
)

// generationOptions are the flags that steer decoding. Only those given on the
// command line change what the model's generation_config.json says.
type generationOptions struct {
	changes []pipeline.GenerateOption
}

// addFlags adds one flag for each parameter, with transformers' names.
func (o *generationOptions) addFlags(cmd *cobra.Command) {
	intFlag(o, cmd, "max-new-tokens", "longest text, in tokens", func(g *pipeline.Generation) *int { return &g.MaxNewTokens })
	intFlag(o, cmd, "min-new-tokens", "shortest text, in tokens", func(g *pipeline.Generation) *int { return &g.MinNewTokens })
	intFlag(o, cmd, "min-length", "shortest text, in tokens, the prompt's counted in", func(g *pipeline.Generation) *int { return &g.MinLength })
	intFlag(o, cmd, "num-beams", "beams of beam search; 1: none", func(g *pipeline.Generation) *int { return &g.NumBeams })
	floatFlag(o, cmd, "length-penalty", "beam scores are divided by length to this power", func(g *pipeline.Generation) *float64 { return &g.LengthPenalty })
	stringFlag(o, cmd, "early-stopping", "when beam search ends: false, true or never", func(g *pipeline.Generation, v string) { g.EarlyStopping = earlyStopping(v) })
	boolFlag(o, cmd, "do-sample", "draw tokens at random instead of taking the most probable", func(g *pipeline.Generation) *bool { return &g.DoSample })
	floatFlag(o, cmd, "temperature", "with --do-sample: above 1 more random, below 1 less", func(g *pipeline.Generation) *float64 { return &g.Temperature })
	intFlag(o, cmd, "top-k", "with --do-sample: keep the k most probable tokens; 0: all", func(g *pipeline.Generation) *int { return &g.TopK })
	floatFlag(o, cmd, "top-p", "with --do-sample: keep the fewest tokens with this probability in sum", func(g *pipeline.Generation) *float64 { return &g.TopP })
	floatFlag(o, cmd, "min-p", "with --do-sample: drop tokens below this share of the best one's probability", func(g *pipeline.Generation) *float64 { return &g.MinP })
	floatFlag(o, cmd, "typical-p", "with --do-sample: locally typical sampling", func(g *pipeline.Generation) *float64 { return &g.TypicalP })
	floatFlag(o, cmd, "repetition-penalty", "above 1: tokens seen already are less likely", func(g *pipeline.Generation) *float64 { return &g.RepetitionPenalty })
	intFlag(o, cmd, "no-repeat-ngram-size", "no sequence of this many tokens twice; 0: allowed", func(g *pipeline.Generation) *int { return &g.NoRepeatNgramSize })
	intFlag(o, cmd, "num-return-sequences", "texts for each picture or question", func(g *pipeline.Generation) *int { return &g.NumReturnSequences })
	bad := cmd.Flags().StringArray("bad-word", nil, "never write this word (repeat)")
	o.onChange(cmd, "bad-word", func(g *pipeline.Generation) { g.BadWords = *bad })
	stop := cmd.Flags().StringArray("stop", nil, "end the text where it holds this string (repeat)")
	o.onChange(cmd, "stop", func(g *pipeline.Generation) { g.StopStrings = *stop })
	seed := cmd.Flags().Uint64("seed", 0, "with --do-sample: same seed, same text")
	o.onChange(cmd, "seed", func(g *pipeline.Generation) { g.Seed = *seed })
}

// generation returns what the command line changes.
func (o *generationOptions) generation() []pipeline.GenerateOption { return o.changes }

// onChange applies change if the flag was given.
func (o *generationOptions) onChange(cmd *cobra.Command, flag string, change pipeline.GenerateOption) {
	o.changes = append(o.changes, func(g *pipeline.Generation) {
		if cmd.Flags().Changed(flag) {
			change(g)
		}
	})
}

func intFlag(o *generationOptions, cmd *cobra.Command, name, usage string, field func(*pipeline.Generation) *int) {
	v := cmd.Flags().Int(name, 0, usage)
	o.onChange(cmd, name, func(g *pipeline.Generation) { *field(g) = *v })
}

func floatFlag(o *generationOptions, cmd *cobra.Command, name, usage string, field func(*pipeline.Generation) *float64) {
	v := cmd.Flags().Float64(name, 0, usage)
	o.onChange(cmd, name, func(g *pipeline.Generation) { *field(g) = *v })
}

func boolFlag(o *generationOptions, cmd *cobra.Command, name, usage string, field func(*pipeline.Generation) *bool) {
	v := cmd.Flags().Bool(name, false, usage)
	o.onChange(cmd, name, func(g *pipeline.Generation) { *field(g) = *v })
}

func stringFlag(o *generationOptions, cmd *cobra.Command, name, usage string, set func(*pipeline.Generation, string)) {
	v := cmd.Flags().String(name, "", usage)
	o.onChange(cmd, name, func(g *pipeline.Generation) { set(g, *v) })
}

// earlyStopping reads the flag's value; another than it takes is refused with the other parameters.
func earlyStopping(text string) pipeline.EarlyStopping {
	value, err := decode.ParseEarlyStopping(text)
	if err != nil {
		return -1
	}
	return value
}
