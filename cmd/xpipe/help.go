package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// The groups of flags in a verb's help, in order. Flags that groupOf does not know are the verb's
// own.
const (
	groupOwn        = "FLAGS"
	groupInput      = "INPUT"
	groupGeneration = "TEXT GENERATION"
	groupModel      = "MODEL AND ENGINE"
	groupOutput     = "OUTPUT"
)

var (
	flagGroups  = []string{groupOwn, groupInput, groupGeneration, groupModel, groupOutput}
	namedGroups = map[string][]string{
		groupInput: {"background", "list", "batch", "jobs", "strict", "image", "regions", "raw"},
		groupModel: {"model", "variant", "no-verify", "engine", "provider", "provider-option",
			"threads", "memory-limit", "precision", "no-fusion"},
		groupOutput: {"out", "resume", "json", "verbose", "help"},
	}
)

// groupOf is the group in which help shows a flag.
func groupOf(f *pflag.Flag) string {
	for _, group := range flagGroups {
		if slices.Contains(namedGroups[group], f.Name) {
			return group
		}
	}
	if slices.Contains(api.GenerationNames(), f.Name) {
		return groupGeneration
	}
	for _, row := range api.Engines {
		if row.Library != "" && f.Name == libraryFlagName(row.Name) {
			return groupModel
		}
	}
	return groupOwn
}

// groupedFlags are the flags that a verb's help shows, by their groups.
func groupedFlags(cmd *cobra.Command) map[string]*pflag.FlagSet {
	cmd.InitDefaultHelpFlag()
	cmd.InheritedFlags() // adds those of all verbs to cmd.Flags
	groups := map[string]*pflag.FlagSet{}
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		group := groupOf(f)
		if f.Hidden {
			return
		}
		if groups[group] == nil {
			groups[group] = pflag.NewFlagSet(group, pflag.ContinueOnError)
		}
		shown := *f
		shown.DefValue = strings.TrimPrefix(shown.DefValue, "[]")
		shown.Value = shownValue{f.Value, valueName(f)}
		groups[group].AddFlag(&shown)
	})
	return groups
}

// valueNames are what help calls the value of a flag, by the flag's name or else by its type.
var (
	valueNames = map[string]string{
		"model": "NAME|DIR", "out": "FILE", "list": "FILE", "regions": "FILE", "shots": "FILE",
		"questions": "FILE", "config": "FILE", "image": "FILE", "png": "FILE", "cpuprofile": "FILE",
		"tokenizer": "NAME|FILE|DIR", "shot": "IMAGE=TEXT", "input": "NAME=FILE.npy", "dim": "NAME=N",
		"provider-option": "KEY=VALUE", "pick": "LAYER/HEAD", "background": "COLOR",
		"choices": "A,B", "variant": "NAME", "from": "FILE|DIR|URL|pip", "output": "NAME",
		"overlay": "FILE", "audio": "FILE", "raw": "RATE", "language": "NAME",
	}
	typeNames = map[string]string{
		"int": "N", "uint64": "N", "count": "N", "float64": "X", "string": "TEXT",
		"stringArray": "TEXT", "stringSlice": "TEXT", "name": "NAME", "size": "SIZE", "bool": "bool",
		"temperatures": "X,X", "threshold": "X",
	}
)

func valueName(f *pflag.Flag) string {
	if name := valueNames[f.Name]; name != "" {
		return name
	}
	if _, ok := f.Value.(libraryFlag); ok {
		return "FILE"
	}
	return typeNames[f.Value.Type()]
}

// shownValue is the value of a flag under another name of its type.
type shownValue struct {
	pflag.Value
	name string
}

func (v shownValue) Type() string { return v.name }

// helpWidth is how wide lines of help about flags are at most.
const helpWidth = 100

// helpOf is what --help prints: what the verb does, how it is called, its flags in groups, and its
// exit codes.
func helpOf(cmd *cobra.Command, width int) string {
	var b strings.Builder
	b.WriteString(description(cmd))
	fmt.Fprintf(&b, "\n\nUSAGE\n  %s\n", usageLine(cmd))
	if cmd.Example != "" {
		fmt.Fprintf(&b, "\nEXAMPLES\n%s\n", cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		b.WriteString("\nVERBS\n")
		for _, verb := range cmd.Commands() {
			if verb.IsAvailableCommand() {
				fmt.Fprintf(&b, "  %-*s %s\n", cmd.NamePadding(), verb.Name(), verb.Short)
			}
		}
	}
	groups := groupedFlags(cmd)
	for _, group := range flagGroups {
		if flags := groups[group]; flags != nil {
			fmt.Fprintf(&b, "\n%s\n%s", group, flags.FlagUsagesWrapped(min(width, helpWidth)))
		}
	}
	fmt.Fprintf(&b, "\n%s\n", exitHelp)
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(&b, "\n\"%s VERB --help\" says more of a verb.\n", cmd.CommandPath())
	}
	return b.String()
}

// description is what a verb does, without its exit codes.
func description(cmd *cobra.Command) string {
	text := cmd.Long
	if text == "" {
		text = cmd.Short
	}
	return strings.TrimSpace(strings.TrimSuffix(text, exitHelp))
}

// usageLine is how a verb is called.
func usageLine(cmd *cobra.Command) string {
	arguments := strings.TrimPrefix(cmd.Use, cmd.Name())
	if arguments == "" && cmd.HasAvailableSubCommands() {
		arguments = " VERB"
	}
	return cmd.CommandPath() + arguments + " [FLAGS]"
}

func newHelpCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "help [VERB]",
		Short: "Show the help of a verb",
		Long:  "Shows the help of a verb, or without one that of xpipe.",
		Example: `  xpipe help
  xpipe help caption
  xpipe help runtime install`,
		RunE: func(cmd *cobra.Command, args []string) error {
			verb := cmd.Root()
			for _, name := range args {
				i := slices.IndexFunc(verb.Commands(), func(c *cobra.Command) bool {
					return c.Name() == name
				})
				if i < 0 {
					return verbsOnly(verb, []string{name})
				}
				verb = verb.Commands()[i]
			}
			return env.printHelp(verb)
		},
	}
}

func (env *environment) printHelp(cmd *cobra.Command) error {
	width := helpWidth
	if isTerminal(env.stdout) {
		width = terminalWidth(env.stdout)
	}
	_, err := fmt.Fprint(env.stdout, helpOf(cmd, width))
	return err
}
