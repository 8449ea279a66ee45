package api

import (
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/pipeline"
	"github.com/crossattn/xpipe/pipeline/decode"
)

// Parameter is one of decoding, by the name that the command's flag and the server's field have.
type Parameter[T any] struct {
	Name, Usage string
	Field       func(*pipeline.Generation) *T
}

type generation = pipeline.Generation

// The parameters of decoding that users set, but for early-stopping.
var (
	IntParameters = []Parameter[int]{
		{"max-new-tokens", "longest text, in tokens",
			func(g *generation) *int { return &g.MaxNewTokens }},
		{"min-new-tokens", "shortest text, in tokens",
			func(g *generation) *int { return &g.MinNewTokens }},
		{"min-length", "shortest text, in tokens, the prompt's counted in",
			func(g *generation) *int { return &g.MinLength }},
		{"num-beams", "beams of beam search; 1: none",
			func(g *generation) *int { return &g.NumBeams }},
		{"top-k", "with --do-sample: keep the k most probable tokens; 0: all",
			func(g *generation) *int { return &g.TopK }},
		{"no-repeat-ngram-size", "no sequence of this many tokens twice; 0: allowed",
			func(g *generation) *int { return &g.NoRepeatNgramSize }},
		{"num-return-sequences", "texts for each picture or question",
			func(g *generation) *int { return &g.NumReturnSequences }},
	}
	FloatParameters = []Parameter[float64]{
		{"length-penalty", "beam scores are divided by length to this power",
			func(g *generation) *float64 { return &g.LengthPenalty }},
		{"temperature", "with --do-sample: above 1 more random, below 1 less",
			func(g *generation) *float64 { return &g.Temperature }},
		{"top-p", "with --do-sample: keep the fewest tokens with this probability in sum",
			func(g *generation) *float64 { return &g.TopP }},
		{"min-p", "with --do-sample: drop tokens below this share of the best one's probability",
			func(g *generation) *float64 { return &g.MinP }},
		{"typical-p", "with --do-sample: locally typical sampling",
			func(g *generation) *float64 { return &g.TypicalP }},
		{"repetition-penalty", "above 1: tokens seen already are less likely",
			func(g *generation) *float64 { return &g.RepetitionPenalty }},
	}
	StringsParameters = []Parameter[[]string]{
		{"bad-word", "never write this word (repeat)",
			func(g *generation) *[]string { return &g.BadWords }},
		{"stop", "end the text where it holds this string (repeat)",
			func(g *generation) *[]string { return &g.StopStrings }},
	}
	SampleParameter = Parameter[bool]{
		"do-sample", "draw tokens at random instead of taking the most probable",
		func(g *generation) *bool { return &g.DoSample }}
	SeedParameter = Parameter[uint64]{
		"seed", "with --do-sample: same seed, same text",
		func(g *generation) *uint64 { return &g.Seed }}
)

// The name of the parameter that says when beam search ends, and its use. Its value is what
// decode.ParseEarlyStopping reads.
const (
	EarlyStopping      = "early-stopping"
	EarlyStoppingUsage = "when beam search ends: false, true or never"
)

// GenerationNames lists the names of all parameters.
func GenerationNames() []string {
	names := []string{SampleParameter.Name, SeedParameter.Name, EarlyStopping}
	names = append(names, namesOf(IntParameters)...)
	names = append(names, namesOf(FloatParameters)...)
	return append(names, namesOf(StringsParameters)...)
}

func namesOf[T any](list []Parameter[T]) (names []string) {
	for _, p := range list {
		names = append(names, p.Name)
	}
	return names
}

// without are parameters that do nothing without another one.
var without = []struct {
	names []string
	needs string
	given func(doSample bool, numBeams int) bool // the other one
}{
	{[]string{"temperature", "top-k", "top-p", "min-p", "typical-p", "seed"}, "--do-sample",
		func(doSample bool, _ int) bool { return doSample }},
	{[]string{"length-penalty", EarlyStopping}, "--num-beams N of 2 or more",
		func(_ bool, numBeams int) bool { return numBeams > 1 }},
}

// WithoutEffect returns the first of the parameters given that does nothing beside the others, and what
// it needs; "" where there is none.
func WithoutEffect(given func(name string) bool, doSample bool, numBeams int) (name, needs string) {
	for _, w := range without {
		for _, name := range w.names {
			if given(name) && !w.given(doSample, numBeams) {
				return name, w.needs
			}
		}
	}
	return "", ""
}

// ParseGeneration reads parameters of decoding from texts by their names, as a form has them. Names of
// other things are passed over. Errors are of KindUsage: texts that are no such value, and parameters
// without effect.
func ParseGeneration(values map[string][]string) ([]pipeline.GenerateOption, error) {
	var c changes
	parseAll(&c, values, IntParameters, "a whole number", strconv.Atoi)
	parseAll(&c, values, FloatParameters, "a number", func(s string) (float64, error) { return strconv.ParseFloat(s, 64) })
	parseAll(&c, values, []Parameter[bool]{SampleParameter}, "true or false", strconv.ParseBool)
	parseAll(&c, values, []Parameter[uint64]{SeedParameter}, "a whole number of 0 or more",
		func(s string) (uint64, error) { return strconv.ParseUint(s, 10, 64) })
	for _, p := range StringsParameters {
		if list := values[p.Name]; len(list) > 0 {
			c.list = append(c.list, func(g *generation) { *p.Field(g) = list })
		}
	}
	if len(values["max-new-tokens"]) > 0 { // the model's max_length would stand in for 0
		c.list = append(c.list, func(g *generation) { g.MaxLength = 0 })
	}
	if list := values[EarlyStopping]; len(list) > 0 {
		when, err := decode.ParseEarlyStopping(list[len(list)-1])
		if err != nil && c.err == nil {
			c.err = err
		}
		c.list = append(c.list, func(g *generation) { g.EarlyStopping = when })
	}
	if c.err != nil {
		return nil, c.err
	}
	var g generation
	for _, change := range c.list {
		change(&g)
	}
	given := func(name string) bool { return len(values[name]) > 0 }
	if name, needs := WithoutEffect(given, g.DoSample, g.NumBeams); name != "" {
		return nil, Usagef("%s has no effect without %s", name, strings.TrimPrefix(needs, "--"))
	}
	return c.list, nil
}

// changes gathers what texts change, and the first error.
type changes struct {
	list []pipeline.GenerateOption
	err  error
}

// parseAll reads the parameters of one type.
func parseAll[T any](
	c *changes, values map[string][]string, parameters []Parameter[T], what string, parse func(string) (T, error),
) {
	for _, p := range parameters {
		list := values[p.Name]
		if len(list) == 0 || c.err != nil {
			continue
		}
		v, err := parse(strings.TrimSpace(list[len(list)-1])) // the last counts, as of flags
		if err != nil {
			c.err = Usagef("%s is %q; it is %s", p.Name, list[len(list)-1], what)
		}
		c.list = append(c.list, func(g *generation) { *p.Field(g) = v })
	}
}
