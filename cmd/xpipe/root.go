package main

import (
	"context"
	"errors"
	"fmt"
	"image/color"
	"io"
	"os"
	"runtime/debug"
	"slices"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/engine"
	"github.com/spf13/cobra"
)

// environment is what a verb sees of the world, so that tests can give it another one.
type environment struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	json           bool // --json
	verbose        bool // -v

	executable string              // of this program; "" where it cannot be started again
	getenv     func(string) string // nil: no variable is set
	environ    []string            // all variables, as os.Environ has them
	background *color.RGBA         // --background
	config     string              // path of the configuration file; "" for none
	settings   map[string]bool     // flags that variables and that file set
	alone      bool                // in this process, whose collector may be set
	hearer     transcriber         // in the place of transcribe's model; nil: the model
	// interrupts gives the signals of the user from now on, until stop; nil: there is only the context.
	interrupts func() (signals <-chan os.Signal, stop func())
}

// enoughMemory is a --memory-limit under which most models run.
const enoughMemory = "4G"

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, env *environment, args []string) int {
	root := newRootCommand(env)
	root.SetArgs(args)
	root.InitDefaultCompletionCmd()
	if completion, _, err := root.Find([]string{"completion"}); err == nil {
		completion.Args, completion.RunE = verbsOnly, root.RunE // cobra's shows help for any word
	}
	err := root.ExecuteContext(ctx)
	if errors.Is(err, engine.ErrMemory) {
		err = fmt.Errorf("a run of the model needs more memory than --memory-limit allows; "+
			"give more, such as --memory-limit %s (%w)", enoughMemory, err)
	}
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = context.Cause(ctx) // the signal, not the part of a model that it stopped
	}
	if err != nil {
		env.json = env.json || asksJSON(args)
		env.report(err)
	}
	return api.KindOf(err).Exit
}

// asksJSON reports whether --json is among the flags of a command line, also behind one that cannot
// be read.
func asksJSON(args []string) bool {
	if i := slices.Index(args, "--"); i >= 0 {
		args = args[:i]
	}
	return slices.Contains(args, "--json")
}

func newRootCommand(env *environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "xpipe",
		Short: "Captions pictures, answers questions about them, writes down speech",
		Long: `xpipe runs cross-attention models of vision, speech and language: it captions
pictures, answers questions about them, writes down what is said in sounds, and shows
what the models and engines do.

` + configHelp,
		Example: `  xpipe caption photo.jpg
  xpipe ask photo.jpg "what color is the car?"
  xpipe classify photo.jpg cat dog bird`,
		Version: version(),
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			return env.configure(cmd)
		},
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          verbsOnly,
		RunE:          func(cmd *cobra.Command, _ []string) error { return env.printHelp(cmd) },
	}
	root.SetIn(env.stdin)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	root.SetFlagErrorFunc(flagError)
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) { env.printHelp(cmd) })
	root.SetHelpCommand(newHelpCommand(env))
	f := root.PersistentFlags()
	f.BoolVar(&env.json, "json", false, "print results and errors as JSON")
	f.BoolVarP(&env.verbose, "verbose", "v", false, "say on stderr how things are done")
	seeing := []*cobra.Command{
		newCaptionCommand(env),
		newAskCommand(env),
		newChatCommand(env),
		newMatchCommand(env),
		newClassifyCommand(env),
		newEmbedCommand(env),
		newReadCommand(env),
		newIndexCommand(env),
		newFindCommand(env),
		newAttendCommand(env),
		newVerifyCommand(env),
		newPreprocessCommand(env),
	}
	env.addPictureFlags(seeing...)
	root.AddCommand(seeing...)
	root.AddCommand(
		newTranscribeCommand(env),
		newServeCommand(env),
		newStudioCommand(env),
		newMCPCommand(env),
		newRunCommand(env),
		newInspectCommand(env),
		newBenchCommand(env),
		newTokenizeCommand(env),
		newDoctorCommand(env),
		newPullCommand(env),
		newRuntimeCommand(env),
		newModelsCommand(env),
		newVersionCommand(env),
		newManCommand(env),
	)
	return root
}

// stamp is the version where the build gives one:
// go build -ldflags "-X main.stamp=v1.2.3".
var stamp string

// version is the stamp, or else what the Go tool knows: the module's version, or the revision that
// was checked out.
func version() string {
	info, ok := debug.ReadBuildInfo()
	switch {
	case stamp != "":
		return stamp
	case !ok:
		return "(devel)"
	}
	return versionOf(info)
}

func versionOf(info *debug.BuildInfo) string {
	if v := info.Main.Version; v != "" && v != "(devel)" {
		return v
	}
	settings := map[string]string{}
	for _, s := range info.Settings {
		settings[s.Key] = s.Value
	}
	version := "(devel)"
	if revision := settings["vcs.revision"]; revision != "" {
		version = "devel-" + revision[:min(12, len(revision))]
		if settings["vcs.modified"] == "true" {
			version += "+dirty"
		}
	}
	return version
}
