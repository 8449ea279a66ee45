package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"text/tabwriter"

	"github.com/crossattn/xpipe/api"
	"github.com/spf13/cobra"
)

func newModelsCommand(env *environment) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "models [DIR]",
		Short: "List models and what they can do",
		Long: `Lists the embedded models and those of the hub's cache (xpipe pull), or those in
the folders of DIR: name, family, tasks, size and licence. A name, or the path that stands here for one, is what --model
takes. Tasks are the verbs that a model serves; "shots" is ask --shot, and
"regions" is finding the objects that ask --regions asks about; "lines" is reading
those that the embedded model finds, with read.

With --json each model is one line {"name","family","tasks","bytes","licence",
"embedded","problem"}.

` + exitHelp,
		Example: `  xpipe models
  xpipe models ~/models --json
  xpipe models show clip-mini`,
		Args: usageArgs(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) error {
			return runModels(cmd.Context(), env, strings.Join(args, ""))
		},
	}
	var variant string
	show := &cobra.Command{
		Use:   "show NAME|DIR",
		Short: "Show what a model holds",
		Long: `Shows a model's family, prompts and graphs, as inspect does.

` + exitHelp,
		Example: `  xpipe models show clip-mini
  xpipe models show ~/models/blip2 --variant fp16
  xpipe models show clip-mini --json`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			if _, err := api.Find(args[0]); err != nil {
				return err
			}
			return runInspect(env, args[0], variant)
		},
	}
	addVariantFlag(show, &variant)
	remove := &cobra.Command{
		Use:     "rm ORG/NAME",
		Aliases: []string{"remove"},
		Short:   "Delete a model from the hub's cache",
		Long: `Deletes a model from the cache that huggingface_hub and xpipe pull share: all its
revisions, and the files that other programs fetched of it.

` + exitHelp,
		Example: `  xpipe models rm Xenova/clip-vit-base-patch32
  xpipe models remove Xenova/clip-vit-base-patch32
  xpipe models rm Xenova/clip-vit-base-patch32 --json`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(_ *cobra.Command, args []string) error {
			if err := api.RemoveModel(args[0]); err != nil {
				return err
			}
			_, err := fmt.Fprintf(env.stdout, "removed %s\n", args[0])
			return err
		},
	}
	cmd.AddCommand(show, remove)
	return cmd
}

func runModels(ctx context.Context, env *environment, dir string) error {
	list, err := api.ListModels(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w%s", err, api.DidYouMean(dir, []string{"show"}))
	}
	if err != nil {
		return err
	}
	if len(list) == 0 {
		return api.Inputf("%s: no models in its folders", dir)
	}
	w := tabwriter.NewWriter(env.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "NAME\tFAMILY\tTASKS\tMB\tLICENCE\n")
	for _, m := range list {
		if env.json {
			if err := env.printJSON(m); err != nil {
				return err
			}
			continue
		}
		tasks, licence := strings.Join(m.Tasks, ", "), m.Licence
		if m.Problem != "" {
			tasks = "not usable: " + m.Problem
		}
		if licence == "" {
			licence = "unknown"
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%.1f\t%s\n", api.Visible(m.Name), m.Family, tasks,
			float64(m.Bytes)/1e6, licence)
	}
	if env.json {
		return nil
	}
	return w.Flush()
}
