package main

import (
	"errors"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// usageArgs turns what an argument check says into a usage error in the user's words: which of the
// arguments that the verb's Use line names is missing, or which one is too many.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		err := check(cmd, args)
		if err == nil {
			return nil
		}
		for n := len(args) - 1; n >= 0; n-- {
			if check(cmd, args[:n]) != nil {
				continue
			}
			if n == 0 {
				return usageOf(cmd, "%s takes no arguments, and %q is one", verbOf(cmd), args[0])
			}
			return usageOf(cmd, "%s: %q is an argument too many", verbOf(cmd), args[n])
		}
		names := argumentNames(cmd)
		for n := range names { // how many are missing, the last ones
			if check(cmd, make([]string, len(args)+n+1)) == nil {
				missing := strings.Join(names[len(names)-n-1:], " and ")
				return usageOf(cmd, "%s needs %s", verbOf(cmd), missing)
			}
		}
		return usageOf(cmd, "%w", err)
	}
}

// argumentNames are what the Use line calls the arguments that a verb needs, in order.
func argumentNames(cmd *cobra.Command) []string {
	var names []string
	for _, word := range strings.Fields(cmd.Use)[1:] {
		if strings.HasPrefix(word, "-") || strings.HasPrefix(word, "[") || word == "|" {
			break
		}
		if name := strings.TrimSuffix(word, "..."); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// verbOf is a verb's name as a user writes it behind xpipe.
func verbOf(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

// usageOf is a usage error that leads to the verb's help.
func usageOf(cmd *cobra.Command, format string, args ...any) error {
	return api.Usagef(format+" (see: %s --help)", append(args, cmd.CommandPath())...)
}

// verbsOnly is the argument check of a command that has verbs below it.
func verbsOnly(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usageOf(cmd, "there is no verb %q%s", args[0], api.DidYouMean(args[0], verbNames(cmd)))
}

// verbNames are the verbs below a command that a user may see.
func verbNames(cmd *cobra.Command) []string {
	var names []string
	for _, verb := range cmd.Commands() {
		if !verb.Hidden {
			names = append(names, verb.Name())
		}
	}
	return names
}

// flagError says in the user's words what is wrong with a flag.
func flagError(cmd *cobra.Command, err error) error {
	if cmd.HasSubCommands() && cmd.Flags().NArg() > 0 { // flags of a verb that is misspelt
		return verbsOnly(cmd, cmd.Flags().Args())
	}
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		name := unknown.GetSpecifiedName()
		if unknown.GetSpecifiedShortnames() != "" {
			return usageOf(cmd, "%s has no flag -%s", verbOf(cmd), name)
		}
		near := ""
		if nearest := api.Nearest(name, flagNames(cmd)); nearest != "" {
			near = "; did you mean --" + nearest + "?"
		}
		return usageOf(cmd, "%s has no flag --%s%s", verbOf(cmd), name, near)
	}
	if without, ok := errors.AsType[*pflag.ValueRequiredError](err); ok {
		return usageOf(cmd, "--%s needs a value", without.GetFlag().Name)
	}
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		return usageOf(cmd, "%w", valueError(
			"--"+invalid.GetFlag().Name, invalid.GetFlag(), invalid.GetValue(), invalid.Unwrap()))
	}
	return usageOf(cmd, "%w", err)
}

// valueError says why a value does not suit a flag; where is what gave it.
func valueError(where string, flag *pflag.Flag, value string, err error) error {
	what := map[string]string{
		"int": "a whole number", "float64": "a number", "bool": "true or false",
		"uint64": "a whole number of 0 or more", "count": "a whole number of 0 or more",
	}[flag.Value.Type()]
	if what == "" { // a flag of this program, whose errors name the value
		return api.Usagef("%s: %w", where, err)
	}
	return api.Usagef("%s takes %s, not %q", where, what, value)
}

// flagNames are the flags that a verb's help shows.
func flagNames(cmd *cobra.Command) []string {
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden {
			names = append(names, f.Name)
		}
	})
	slices.Sort(names)
	return names
}
