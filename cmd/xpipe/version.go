package main

import (
	"fmt"
	"strings"

	"github.com/crossattn/xpipe/api"
	"github.com/spf13/cobra"
)

func newVersionCommand(env *environment) *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Show which xpipe this is",
		Long: `Shows the version, the commit if the build knows it, the Go that built it, and the
engines it has. "xpipe doctor" tries the engines.

With --json it is one object {"version","commit","go","os","arch","engines"}.

` + exitHelp,
		Example: `  xpipe version
  xpipe version --json
  xpipe version --json | jq -r .version`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(*cobra.Command, []string) error {
			v := api.NewVersion(version())
			if env.json {
				return env.printJSON(v)
			}
			commit := ""
			if v.Commit != "" {
				commit = ", commit " + v.Commit
			}
			_, err := fmt.Fprintf(env.stdout, "xpipe %s%s\nbuilt with %s for %s/%s\nengines %s\n",
				v.Version, commit, v.Go, v.OS, v.Arch, strings.Join(v.Engines, ", "))
			return err
		},
	}
}
