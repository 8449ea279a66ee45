package main

import (
	"context"
	"fmt"

	"github.com/crossattn/xpipe/api"
	"github.com/crossattn/xpipe/models/hub"
	"github.com/crossattn/xpipe/models/hub/fetch"
	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
)

func newPullCommand(env *environment) *cobra.Command {
	var p api.Pull
	cmd := &cobra.Command{
		Use:   "pull ORG/NAME[@REVISION]",
		Short: "Fetch a model from Hugging Face's hub",
		Long: `Fetches the files of a model that xpipe needs, those of one variant, into the
cache that huggingface_hub and transformers use; --model ORG/NAME then opens it,
without a network. What is there already is not fetched again, and what broke off
goes on. Every file has to have the size and hash that the hub's listing gives.

The environment is read as huggingface_hub reads it: HF_HOME or HF_HUB_CACHE (where
the cache is), HF_TOKEN (for models that need it), HF_ENDPOINT (a mirror),
HF_HUB_OFFLINE.

With --json it prints {"model","revision","commit","dir","files","bytes","licence"}.

` + exitHelp,
		Example: `  xpipe pull Xenova/clip-vit-base-patch32
  xpipe pull onnx-community/siglip-base-patch16-224 --variant fp16
  xpipe pull org/name@v1.0 --include 'onnx/model_q4.onnx*'`,
		Args: usageArgs(cobra.ExactArgs(1)),
		RunE: func(cmd *cobra.Command, args []string) (err error) {
			if p.Ref, err = hub.ParseRef(args[0]); err != nil {
				return err
			}
			return runPull(cmd.Context(), env, p)
		},
	}
	addVariantFlag(cmd, &p.Variant)
	cmd.Flags().StringArrayVar(&p.Include, "include", nil,
		"also fetch files whose path or name fits this pattern (repeat for more)")
	return cmd
}

func runPull(ctx context.Context, env *environment, p api.Pull) (err error) {
	if p.Settings, err = api.HubSettings(); err != nil {
		return err
	}
	env.verbosef("hub %s, cache %s", p.Settings.Endpoint, p.Settings.Cache)
	if isTerminal(env.stderr) && !env.json {
		var bar *progressbar.ProgressBar
		p.Progress = func(at fetch.Progress) {
			if bar == nil {
				bar = progressbar.NewOptions64(at.Total, progressbar.OptionSetWriter(env.stderr),
					progressbar.OptionSetDescription(p.Ref.String()), progressbar.OptionShowBytes(true),
					progressbar.OptionSetPredictTime(true), progressbar.OptionClearOnFinish())
			}
			bar.Set64(at.Done)
		}
	}
	done, err := p.Do(ctx)
	if err != nil {
		return err
	}
	if env.json {
		return env.printJSON(done)
	}
	licence := done.Licence
	if licence == "" {
		licence = "not stated"
	}
	_, err = fmt.Fprintf(env.stdout, "%s: %d files, %.1f MB, licence %s\n%s\n",
		p.Ref, len(done.Files), float64(done.Bytes)/1e6, licence, done.Dir)
	return err
}
