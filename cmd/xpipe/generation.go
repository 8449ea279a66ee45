package main

import (
	"github.com/crossattn/xpipe/api"
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

type settings = pipeline.Generation

// addFlags adds one flag for each parameter.
func (o *generationOptions) addFlags(cmd *cobra.Command) {
	cmd.PreRunE = checkEffect
	f := cmd.Flags()
	for _, p := range api.IntParameters {
		change(o, cmd, p, f.Int(p.Name, 0, p.Usage))
	}
	// The model's max_length would stand in for 0.
	o.onChange(cmd, "max-new-tokens", func(g *settings) { g.MaxLength = 0 })
	for _, p := range api.FloatParameters {
		change(o, cmd, p, f.Float64(p.Name, 0, p.Usage))
	}
	for _, p := range api.StringsParameters {
		change(o, cmd, p, f.StringArray(p.Name, nil, p.Usage))
	}
	change(o, cmd, api.SampleParameter, f.Bool(api.SampleParameter.Name, false, api.SampleParameter.Usage))
	change(o, cmd, api.SeedParameter, f.Uint64(api.SeedParameter.Name, 0, api.SeedParameter.Usage))
	early := f.String(api.EarlyStopping, "", api.EarlyStoppingUsage)
	o.onChange(cmd, api.EarlyStopping, func(g *settings) {
		var err error
		if g.EarlyStopping, err = decode.ParseEarlyStopping(*early); err != nil {
			g.EarlyStopping = -1 // refused with the other parameters
		}
	})
}

// checkEffect refuses flags without effect.
func checkEffect(cmd *cobra.Command, _ []string) error {
	doSample, _ := cmd.Flags().GetBool(api.SampleParameter.Name)
	numBeams, _ := cmd.Flags().GetInt("num-beams")
	if name, needs := api.WithoutEffect(cmd.Flags().Changed, doSample, numBeams); name != "" {
		return usageOf(cmd, "--%s has no effect without %s", name, needs)
	}
	return nil
}

// checkNothingWritten refuses flags of decoding on a command line that has the model write nothing
// of its own, because of another flag.
func (env *environment) checkNothingWritten(cmd *cobra.Command, because string) error {
	for _, name := range api.GenerationNames() {
		if cmd.Flags().Changed(name) && !env.settings[name] {
			return usageOf(cmd, "--%s has no effect with %s", name, because)
		}
	}
	return nil
}

// change sets the field to the flag's value if the flag was given.
func change[T any](o *generationOptions, cmd *cobra.Command, p api.Parameter[T], value *T) {
	o.onChange(cmd, p.Name, func(g *settings) { *p.Field(g) = *value })
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
