package main

import (
	"github.com/crossattn/xpipe/engine"
	"github.com/spf13/cobra"
)

// engineOptions are the flags of every verb that runs graphs.
type engineOptions struct {
	name            string
	library         string
	provider        string
	providerOptions map[string]string
	threads         int
	noFusion        bool
}

// addFlags adds the flags to cmd.
func (o *engineOptions) addFlags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.StringVar(&o.name, "engine", "auto", "engine: go (pure Go), ort (ONNX Runtime), or auto: ort where its library is there")
	f.StringVar(&o.library, "ort-lib", "", "path of the ONNX Runtime library (default: searched for, see doctor)")
	f.StringVar(&o.provider, "provider", "cpu", "where ONNX Runtime computes: cpu, cuda, tensorrt, openvino, coreml, directml")
	f.StringToStringVar(&o.providerOptions, "provider-option", nil, "option for the provider, such as device_id=1")
	f.IntVar(&o.threads, "threads", 0, "cores to use (0: all)")
	f.BoolVar(&o.noFusion, "no-fusion", false, "run graphs operator by operator, as written")
}

func (o *engineOptions) options() engine.Options {
	return engine.Options{Threads: o.threads, Provider: o.provider, ProviderOptions: o.providerOptions, NoFusion: o.noFusion}
}
