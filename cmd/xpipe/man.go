package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func newManCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:    "man DIR",
		Short:  "Write the manual pages into a folder",
		Hidden: true, // who packages xpipe needs it
		Long: `Writes xpipe.1 and a page for each verb, such as xpipe-caption.1, into a folder,
which is made if it is missing. They say what --help says.

` + exitHelp,
		Example: `  xpipe man build/man
  xpipe man ~/.local/share/man/man1
  xpipe man /tmp/man && man /tmp/man/xpipe-caption.1`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := os.MkdirAll(args[0], 0o777); err != nil {
				return err
			}
			return writePages(env, cmd.Root(), args[0])
		},
	}
}

// writePages writes the page of a verb and those of the verbs below it.
func writePages(env *environment, cmd *cobra.Command, dir string) error {
	name := strings.ReplaceAll(cmd.CommandPath(), " ", "-")
	path := filepath.Join(dir, name+".1")
	if err := os.WriteFile(path, []byte(manPage(cmd, name)), 0o666); err != nil {
		return err
	}
	env.verbosef("wrote %s", path)
	for _, verb := range cmd.Commands() {
		if verb.IsAvailableCommand() {
			if err := writePages(env, verb, dir); err != nil {
				return err
			}
		}
	}
	return nil
}

// manPage is the manual page of a verb, in the macros of man(7).
func manPage(cmd *cobra.Command, name string) string {
	var b strings.Builder
	section := func(title string) { fmt.Fprintf(&b, ".SH %s\n", title) }
	asIs := func(text string) { fmt.Fprintf(&b, ".nf\n%s\n.fi\n", roff(text)) }
	fmt.Fprintf(&b, ".TH %s 1 \"\" \"xpipe %s\" \"xpipe manual\"\n",
		strings.ToUpper(roff(name)), roff(version()))
	section("NAME")
	fmt.Fprintf(&b, "%s \\- %s\n", roff(name), roff(cmd.Short))
	section("SYNOPSIS")
	fmt.Fprintf(&b, ".B %s\n", roff(usageLine(cmd)))
	section("DESCRIPTION")
	for i, paragraph := range strings.Split(description(cmd), "\n\n") {
		if i > 0 {
			b.WriteString(".PP\n")
		}
		if strings.HasPrefix(paragraph, " ") {
			asIs(paragraph)
		} else {
			b.WriteString(roff(paragraph) + "\n")
		}
	}
	if cmd.Example != "" {
		section("EXAMPLES")
		asIs(cmd.Example)
	}
	if cmd.HasAvailableSubCommands() {
		section("VERBS")
		for _, verb := range cmd.Commands() {
			if verb.IsAvailableCommand() {
				fmt.Fprintf(&b, ".TP\n.BR %s\\-%s (1)\n%s\n",
					roff(name), roff(verb.Name()), roff(verb.Short))
			}
		}
	}
	groups := groupedFlags(cmd)
	for _, group := range flagGroups {
		if groups[group] == nil {
			continue
		}
		section(`"` + group + `"`)
		groups[group].VisitAll(func(f *pflag.Flag) { b.WriteString(manFlag(f)) })
	}
	section(`"EXIT STATUS"`)
	_, codes, _ := strings.Cut(exitHelp, "\n")
	asIs(codes)
	if cmd.HasParent() {
		section(`"SEE ALSO"`)
		fmt.Fprintf(&b, ".BR %s (1)\n",
			roff(strings.ReplaceAll(cmd.Parent().CommandPath(), " ", "-")))
	}
	return b.String()
}

// manFlag is a flag in a manual page.
func manFlag(f *pflag.Flag) string {
	head := `\fB` + roff("--"+f.Name) + `\fR`
	if f.Shorthand != "" {
		head = `\fB` + roff("-"+f.Shorthand) + `\fR, ` + head
	}
	value, usage := pflag.UnquoteUsage(f)
	if value != "" {
		head += ` \fI` + roff(value) + `\fR`
	}
	if f.DefValue != "" && f.DefValue != "0" && f.DefValue != "false" {
		usage += " (default " + f.DefValue + ")"
	}
	return ".TP\n" + head + "\n" + roff(usage) + "\n"
}

// roff is text as troff prints it.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}
