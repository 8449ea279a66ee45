package main

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/crossattn/xpipe/api"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// documents are the repository's own pages, by their paths.
func documents(t *testing.T) map[string]string {
	t.Helper()
	pages := map[string]string{}
	for _, pattern := range []string{"*.md", "docs/*.md", "models/*.md", "models/mini/*.md", "tools/*/README.md",
		"testdata/*/README.md", "findings/README.md"} {
		paths, err := filepath.Glob("../../" + pattern)
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			pages[strings.TrimPrefix(path, "../../")] = strings.ReplaceAll(string(data), "\\\n", " ")
		}
	}
	return pages
}

var (
	codeLine = regexp.MustCompile("(?m)^    .*$")
	codeSpan = regexp.MustCompile("`([^`]+)`")
	fences   = regexp.MustCompile("(?s)```.*?\n```")
	redirect = regexp.MustCompile(`\s[12]?(?:<|>>?)\s?[^\s"']+`)
	makeLine = regexp.MustCompile(`\bmake ([a-z][a-z0-9-]*)`)
)

// Every command line in a document has verbs, flags and arguments that there are, and every target
// of make is in the Makefile.
func TestDocuments(t *testing.T) {
	t.Parallel()
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	lines := 0
	for page, text := range documents(t) {
		for _, line := range codeLine.FindAllString(text, -1) {
			line = strings.Replace(line, "go run ./cmd/xpipe ", "xpipe ", 1)
			for _, command := range commandsOf(line) {
				lines++
				if err := tryLine(command); err != nil {
					t.Errorf("%s: %s: %v", page, strings.Join(command, " "), err)
				}
			}
		}
		for _, span := range codeSpan.FindAllStringSubmatch(fences.ReplaceAllString(text, ""), -1) {
			for _, command := range commandsOf(strings.Join(strings.Fields(span[1]), " ")) {
				if slices.Contains(command, "...") || strings.ToUpper(command[1]) == command[1] {
					continue // a verb in general
				}
				lines++
				if err := tryFlags(command); err != nil {
					t.Errorf("%s: %s: %v", page, span[0], err)
				}
			}
		}
		for _, code := range slices.Concat(codeLine.FindAllString(text, -1), codeSpan.FindAllString(text, -1)) {
			for _, m := range makeLine.FindAllStringSubmatch(code, -1) {
				target := regexp.MustCompile(`(?m)^` + m[1] + `:`)
				if !target.Match(makefile) && !strings.HasPrefix(m[1], "train-") {
					t.Errorf("%s: there is no make %s", page, m[1])
				}
			}
		}
	}
	if lines < 55 {
		t.Errorf("%d command lines found", lines)
	}
}

// commandsOf are the calls of xpipe in a line for a shell, without what comes from the shell.
func commandsOf(line string) (commands [][]string) {
	var command []string
	add := func() {
		if len(command) > 1 && command[0] == "xpipe" {
			commands = append(commands, command)
		}
		command = nil
	}
	for _, word := range splitCommand(redirect.ReplaceAllString(line, "")) {
		switch word := strings.TrimPrefix(word, "$("); {
		case word == "#":
			add()
			return commands
		case slices.Contains([]string{"|", "&&", ";", "||", "&"}, word):
			add()
		case strings.HasSuffix(word, "xpipe") && !strings.Contains(word, "="):
			command = []string{"xpipe"}
		default:
			if word == "N" {
				word = "1"
			}
			command = append(command, word)
		}
	}
	add()
	return commands
}

// tryFlags reads a command line up to its arguments.
func tryFlags(words []string) error {
	_, _, err := parseLine(words)
	return err
}

// tryLine reads a whole command line.
func tryLine(words []string) error {
	cmd, args, err := parseLine(words)
	if err == nil {
		err = cmd.ValidateArgs(args)
	}
	if err == nil && cmd.PreRunE != nil {
		err = cmd.PreRunE(cmd, args)
	}
	return err
}

// parseLine finds a command line's verb, and reads its flags.
func parseLine(words []string) (cmd *cobra.Command, args []string, err error) {
	env, _, _ := testEnvironment()
	root := newRootCommand(env)
	root.InitDefaultVersionFlag()
	if cmd, args, err = root.Find(words[1:]); err != nil {
		return nil, nil, err
	}
	if cmd == root && len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		return nil, nil, api.Usagef("there is no verb %q", args[0])
	}
	if err = cmd.ParseFlags(args); errors.Is(err, pflag.ErrHelp) {
		err = nil
	}
	return cmd, cmd.Flags().Args(), err
}
