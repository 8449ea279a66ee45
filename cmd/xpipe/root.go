package main

import (
	"context"
	"io"
	"runtime/debug"

	"github.com/crossattn/xpipe/api"
	"github.com/spf13/cobra"
)

// environment is what a verb sees of the world, so that tests can give it another one.
type environment struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	json           bool // --json
	verbose        bool // -v

	executable string // of this program; "" where it cannot be started again
	alone      bool   // nothing else runs in this process, so that its collector may be set
}

// execute runs one command line and returns the exit code.
func execute(ctx context.Context, env *environment, args []string) int {
	root := newRootCommand(env)
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err != nil {
		env.report(err)
	}
	return api.KindOf(err).Exit
}

func newRootCommand(env *environment) *cobra.Command {
	root := &cobra.Command{
		Use:   "xpipe",
		Short: "Captions pictures and answers questions about them",
		Long: `xpipe runs cross-attention vision-language models: it captions pictures,
answers questions about them, and shows what the models and engines do.

` + exitHelp,
		Version:       version(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          usageArgs(cobra.NoArgs),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(env.stdin)
	root.SetOut(env.stdout)
	root.SetErr(env.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return api.Usagef("%w (see: %s --help)", err, cmd.CommandPath())
	})
	f := root.PersistentFlags()
	f.BoolVar(&env.json, "json", false, "print results and errors as JSON")
	f.BoolVarP(&env.verbose, "verbose", "v", false, "say on stderr how things are done")
	root.AddCommand(
		newCaptionCommand(env),
		newAskCommand(env),
		newMatchCommand(env),
		newClassifyCommand(env),
		newEmbedCommand(env),
		newAttendCommand(env),
		newRunCommand(env),
		newInspectCommand(env),
		newVerifyCommand(env),
		newPreprocessCommand(env),
		newBenchCommand(env),
		newTokenizeCommand(env),
		newDoctorCommand(env),
		newRuntimeCommand(env),
	)
	return root
}

// usageArgs turns what an argument check says into a usage error.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return api.Usagef("%w (see: %s --help)", err, cmd.CommandPath())
		}
		return nil
	}
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
