package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"text/tabwriter"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/engine"
	"github.com/crossattn/xpipe/ort"
	"github.com/crossattn/xpipe/ort/ortlib"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

func newRuntimeCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "runtime",
		Short: "Install and manage the ONNX Runtime library",
		Example: `  xpipe runtime install --from pip
  xpipe runtime list
  xpipe runtime remove --all`,
		Long: `The engine ` + ort.Name + ` needs the shared library of ONNX Runtime, ` + ortlib.MinVersion + ` or newer. These
commands keep one in the user's cache, where xpipe looks after --` + libraryFlagName(ort.Name) + ` and
` + ortlib.Env + `, and before the system and Python. Nothing else is changed, and
xpipe works without it: the Go engine needs no library.

` + exitHelp,
		Args: verbsOnly,
		RunE: func(cmd *cobra.Command, _ []string) error { return env.printHelp(cmd) },
	}
	cmd.AddCommand(
		newRuntimeInstallCommand(env),
		newRuntimeListCommand(env),
		newRuntimePathCommand(env),
		newRuntimeRemoveCommand(env),
		newRuntimeProbeCommand(env),
	)
	return cmd
}

func newRuntimeInstallCommand(env *environment) *cobra.Command {
	var o ortlib.InstallOptions
	cmd := &cobra.Command{
		Use:   "install",
		Short: "Put an ONNX Runtime library into the cache",
		Example: `  xpipe runtime install --from pip
  xpipe runtime install --from /usr/lib/libonnxruntime.so
  xpipe runtime install --from onnxruntime-linux-x64.tgz`,
		Long: `Installs the library from one of these:

  --from FILE.whl        a wheel, as "pip download --no-deps onnxruntime" brings
  --from FILE.tgz|.zip   an archive of the project's release page
  --from FILE|DIR        a library, or a folder that holds one
  --from https://...     any of the archives above, fetched
  --from pip             the wheel, fetched by the pip of the python3 on PATH
  (nothing)              the archive for this machine, from the release page

What is fetched must have a SHA-256 known beforehand. Those of the libraries in
the wheels of ` + ortlib.DefaultVersion + ` are pinned in xpipe; for anything else give --sha256, as the
place you trust publishes it. Files on this machine are taken as they are unless
--sha256 is given. Only the library, and those of its providers, is unpacked.

` + exitHelp,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runRuntimeInstall(cmd.Context(), env, o)
		},
	}
	cmd.Flags().StringVar(&o.From, "from", "",
		"wheel, archive, folder, library, https address, or pip (default: the release page)")
	cmd.Flags().StringVar(&o.Version, "version", ortlib.DefaultVersion, "release to fetch")
	cmd.Flags().StringVar(&o.SHA256, "sha256", "", "SHA-256 that the file must have")
	return cmd
}

func runRuntimeInstall(ctx context.Context, env *environment, o ortlib.InstallOptions) error {
	if isTerminal(env.stderr) && !env.json {
		var bar *progressbar.ProgressBar
		o.Progress = func(done, total int64) {
			if bar == nil {
				bar = progressbar.NewOptions64(total,
					progressbar.OptionSetWriter(env.stderr),
					progressbar.OptionSetDescription("downloading"),
					progressbar.OptionShowBytes(true), progressbar.OptionSetPredictTime(true),
					progressbar.OptionClearOnFinish())
			}
			bar.Set64(done)
		}
		defer func() {
			if bar != nil {
				bar.Finish()
			}
		}()
	}
	installed, err := ortlib.Install(ctx, o)
	switch {
	case errors.Is(err, fs.ErrNotExist) && o.From != "":
		return api.WithKind(err, api.KindInput)
	case err != nil:
		return libraryError(err)
	}
	if env.json {
		return env.printJSON(installed)
	}
	_, err = fmt.Fprintf(env.stdout, "installed ONNX Runtime %s from %s at %s\n",
		installed.Version, installed.Source, installed.Path)
	return err
}

// libraryError makes a missing or bad library the engine's fault.
func libraryError(err error) error { return fmt.Errorf("%w: %w", engine.ErrEngine, err) }

func newRuntimeListCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "list",
		Short: "Show the libraries in the cache",
		Example: `  xpipe runtime list
  xpipe runtime list --json
  xpipe runtime list --json | jq -r .path`,
		Long: `Shows the libraries in the cache, the newest first; each is compared with what
was installed. With --json each is one line
{"path","version","found","source","problem"}.

` + exitHelp,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return runRuntimeList(env) },
	}
}

func runRuntimeList(env *environment) error {
	list, err := ortlib.List()
	if err != nil {
		return libraryError(err)
	}
	table := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	for _, lib := range list {
		if env.json {
			if err := env.printJSON(lib); err != nil {
				return err
			}
			continue
		}
		state := "ok"
		if lib.Problem != "" {
			state = lib.Problem
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", lib.Version, lib.Path, state)
	}
	return table.Flush()
}

func newRuntimePathCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "path",
		Short: "Print the path of the library that xpipe would load",
		Example: `  xpipe runtime path
  xpipe runtime path -v
  xpipe runtime path --json`,
		Long: `Prints the path of the library that xpipe finds; -v says how it was found. With
--json it is {"path","version","found"}.

` + exitHelp,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error { return runRuntimePath(env) },
	}
}

func runRuntimePath(env *environment) error {
	lib, err := ortlib.Find("", nil)
	if err != nil {
		return libraryError(err)
	}
	if env.json {
		return env.printJSON(lib)
	}
	env.verbosef("%v", lib)
	_, err = fmt.Fprintln(env.stdout, lib.Path)
	return err
}

func newRuntimeRemoveCommand(env *environment) *cobra.Command {
	var all bool
	cmd := &cobra.Command{
		Use:   "remove VERSION ... | --all",
		Short: "Remove libraries from the cache",
		Example: `  xpipe runtime remove 1.24.4
  xpipe runtime remove 1.24.3 1.24.4
  xpipe runtime remove --all`,
		Long: "Removes the versions from the cache.\n\n" + exitHelp,
		RunE: func(_ *cobra.Command, versions []string) error {
			return runRuntimeRemove(env, versions, all)
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "remove every version")
	return cmd
}

func runRuntimeRemove(env *environment, versions []string, all bool) error {
	if all == (len(versions) > 0) {
		return api.Usagef("runtime remove takes versions or --all (see: xpipe runtime remove --help)")
	}
	if all {
		list, err := ortlib.List()
		if err != nil {
			return libraryError(err)
		}
		for _, lib := range list {
			versions = append(versions, lib.Version)
		}
	}
	for _, version := range versions {
		if err := ortlib.Remove(version); err != nil {
			return libraryError(err)
		}
		env.verbosef("removed %s", version)
	}
	return nil
}
