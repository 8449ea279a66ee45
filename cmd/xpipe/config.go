package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

const configHelp = `What is the same every time can be set once: in the environment as XPIPE_MODEL,
XPIPE_ENGINE, XPIPE_THREADS and so on, or in a file, xpipe/config in the user's
folder of configurations (` + "`xpipe doctor`" + ` says where), by the names of flags:

  engine = go
  threads = 4
  memory-limit = 4G
  [caption]                 # for one verb, any of its flags
  model = "~/models/blip2"
  num-beams = 3

A flag counts before a variable, a variable before the file.`

// configKeys are the flags that can be set for all verbs. A verb without one passes over it.
func configKeys() []string {
	keys := slices.Concat(namedGroups[groupModel],
		[]string{"background", "batch", "jobs", "json", "verbose"})
	for _, row := range api.Engines {
		if row.Library != "" {
			keys = append(keys, libraryFlagName(row.Name))
		}
	}
	return keys
}

// variablePrefix begins the names of xpipe's variables.
const variablePrefix = "XPIPE_"

// variableOf is the variable of the environment that stands for a flag.
func variableOf(flag string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// configLine is a line of the configuration file.
type configLine struct {
	verb, key, value string // verb is "" above the first [verb]
	where            string // file and line
}

// userConfig is the path of the configuration file, "" where the system has no place for it.
func userConfig() string {
	dir, err := os.UserConfigDir()
	if err != nil {
		return ""
	}
	return filepath.Join(dir, "xpipe", "config")
}

// configure sets the flags of a verb that the command line does not.
func (env *environment) configure(cmd *cobra.Command) error {
	verb := topVerb(cmd).Name()
	if slices.Contains([]string{"help", "completion", "man", "version"}, verb) ||
		strings.HasPrefix(verb, "__") { // what a shell calls to complete a word
		return nil
	}
	lines, err := env.configured(cmd.Root())
	if err != nil {
		return err
	}
	if !cmd.Hidden { // such as the process that tries a library
		env.warnVariables(cmd.Root())
	}
	env.settings = map[string]bool{}
	for _, line := range lines {
		flag := cmd.Flags().Lookup(line.key)
		if flag == nil || flag.Changed || line.verb != "" && line.verb != verb {
			continue
		}
		if err := setFlag(cmd, flag, line, line.where+": "); err != nil {
			return err
		}
		env.settings[line.key] = true
		env.verbosef("setting: %s = %s, from %s", line.key, line.value, line.where)
	}
	return nil
}

// setFlag sets a flag of a verb to what a line of the configuration says; where begins the error.
func setFlag(cmd *cobra.Command, flag *pflag.Flag, line configLine, where string) error {
	err := cmd.Flags().Set(line.key, line.value)
	if err == nil {
		return nil
	}
	if invalid, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		err = invalid.Unwrap()
	}
	return valueError(where+line.key, flag, line.value, err)
}

// setOf tries a line of the configuration on the verb that it is for, or on the first that has the
// flag: in a process that runs no such verb.
func setOf(root *cobra.Command, line configLine) error {
	for _, cmd := range root.Commands() {
		flag := cmd.Flags().Lookup(line.key)
		if flag != nil && (line.verb == "" || line.verb == cmd.Name()) {
			return setFlag(cmd, flag, line, "")
		}
	}
	return nil
}

// configured are the settings of the environment and of the configuration file: those that count
// first come first.
func (env *environment) configured(root *cobra.Command) ([]configLine, error) {
	lines, err := readConfig(env.config, root)
	if err != nil {
		return nil, err
	}
	// A variable takes the file's place. Those of libraries are read by the engines themselves.
	lines = slices.DeleteFunc(lines, func(l configLine) bool { return env.variable(l.key) != "" })
	// Those for a verb count before those for all.
	slices.SortStableFunc(lines, func(a, b configLine) int { return strings.Compare(b.verb, a.verb) })
	var variables []configLine
	for _, key := range configKeys() {
		if value := env.variable(key); value != "" && !strings.HasSuffix(key, "-lib") {
			variables = append(variables, configLine{"", key, value, variableOf(key)})
		}
	}
	return append(variables, lines...), nil
}

// warnVariables tells of variables of the environment that look like settings and are none: a
// misspelt one would be passed over without a word. Names that are like none, such as those of a
// user's own scripts, are left alone.
func (env *environment) warnVariables(root *cobra.Command) {
	known := []string{"XPIPE_KERNELS"} // the Go engine reads it
	for _, key := range configKeys() {
		known = append(known, variableOf(key))
	}
	for _, variable := range env.environ {
		name, _, _ := strings.Cut(variable, "=")
		if runtime.GOOS == "windows" { // where the case of names does not count
			name = strings.ToUpper(name)
		}
		key, ours := strings.CutPrefix(name, variablePrefix)
		if !ours || slices.Contains(known, name) {
			continue
		}
		flag := strings.ToLower(strings.ReplaceAll(key, "_", "-"))
		if verb := verbWith(root, flag); verb != "" && !slices.Contains(configKeys(), flag) {
			env.warnf("%s sets nothing: --%s is a flag of some verbs, which the configuration file "+
				"sets below a line such as [%s]", name, flag, verb)
		} else if near := nearestVariable(name, known); near != "" {
			env.warnf("there is no setting %s; did you mean %s?", name, near)
		}
	}
}

// nearestVariable is the one of known that a name was probably meant to be, or "". The prefix that
// all have does not count.
func nearestVariable(name string, known []string) string {
	keys := make([]string, len(known))
	for i, k := range known {
		keys[i] = strings.TrimPrefix(k, variablePrefix)
	}
	if key := api.Nearest(strings.TrimPrefix(name, variablePrefix), keys); key != "" {
		return variablePrefix + key
	}
	return ""
}

// topVerb is the verb right below xpipe that a command belongs to.
func topVerb(cmd *cobra.Command) *cobra.Command {
	for cmd.HasParent() && cmd.Parent().HasParent() {
		cmd = cmd.Parent()
	}
	return cmd
}

// variable is the value of a flag's variable.
func (env *environment) variable(flag string) string {
	if env.getenv == nil {
		return ""
	}
	return env.getenv(variableOf(flag))
}

// readConfig reads the configuration file. It is empty where there is none.
func readConfig(path string, root *cobra.Command) ([]configLine, error) {
	data, err := os.ReadFile(path)
	if path == "" || errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, api.Usagef("the configuration: %w", err)
	}
	var lines []configLine
	verb, keys := "", configKeys()
	n := 0
	for text := range strings.Lines(strings.TrimPrefix(string(data), "\ufeff")) {
		n++
		text = strings.TrimSpace(text)
		where := fmt.Sprintf("%s:%d", path, n)
		if text == "" || text[0] == '#' {
			continue
		}
		if head := uncomment(text); head[0] == '[' && head[len(head)-1] == ']' {
			verb = strings.TrimSpace(head[1 : len(head)-1])
			i := slices.IndexFunc(root.Commands(), func(c *cobra.Command) bool {
				return c.Name() == verb
			})
			if i < 0 {
				return nil, api.Usagef("%s: there is no verb %q%s", where, verb,
					api.DidYouMean(verb, verbNames(root)))
			}
			keys = flagNames(root.Commands()[i])
			continue
		}
		key, value, ok := strings.Cut(text, "=")
		if key = strings.TrimSpace(key); !ok {
			return nil, api.Usagef("%s: %q is neither NAME = VALUE nor [VERB]", where, text)
		}
		if !slices.Contains(keys, key) {
			what, near := "setting", api.DidYouMean(key, keys)
			if verb != "" {
				what = "flag of " + verb
			} else if of := verbWith(root, key); of != "" {
				near = fmt.Sprintf("; for one verb it stands below a line such as [%s]", of)
			}
			return nil, api.Usagef("%s: there is no %s %q%s", where, what, key, near)
		}
		if i := slices.IndexFunc(lines, func(l configLine) bool {
			return l.verb == verb && l.key == key
		}); i >= 0 {
			return nil, api.Usagef("%s: %s is set already, at %s", where, key, lines[i].where)
		}
		if value, err = configValue(value); err != nil {
			return nil, api.Usagef("%s: the value of %s: %w", where, key, err)
		}
		lines = append(lines, configLine{verb, key, value, where})
	}
	return lines, nil
}

// verbWith is the first verb that has a flag, or "".
func verbWith(root *cobra.Command, flag string) string {
	for _, cmd := range root.Commands() {
		if slices.Contains(flagNames(cmd), flag) {
			return cmd.Name()
		}
	}
	return ""
}

// uncomment cuts what stands behind a # at the end of a line.
func uncomment(text string) string {
	if i := strings.Index(text, " #"); i >= 0 {
		text = text[:i]
	}
	return strings.TrimSpace(text)
}

// configValue is a value as a flag takes it: without quotes, and with ~ for the user's folder.
func configValue(text string) (string, error) {
	text = strings.TrimSpace(text)
	if strings.HasPrefix(text, `"`) {
		quoted, err := strconv.QuotedPrefix(text)
		if err != nil {
			return "", errors.New("a quotation mark is missing")
		}
		if rest := strings.TrimSpace(text[len(quoted):]); rest != "" && rest[0] != '#' {
			return "", fmt.Errorf("%q stands behind it", rest)
		}
		if text, err = strconv.Unquote(quoted); err != nil {
			return "", errors.New("its escapes are no text")
		}
	} else {
		text = uncomment(text)
	}
	if rest, ok := strings.CutPrefix(text, "~/"); ok {
		if home, err := os.UserHomeDir(); err == nil {
			text = filepath.Join(home, rest)
		}
	}
	return text, nil
}
